//! The different encapsulations of a chunk, each kept once.

use std::collections::HashMap;

use crate::model::Encapsulation;

/// Encapsulations by index. Index 0 is the default: no VLAN tag, no tunnel.
#[derive(Clone, Debug)]
pub struct EncapsulationTable {
    entries: Vec<Encapsulation>,
    index: HashMap<Encapsulation, u32, foldhash::fast::RandomState>,
    last: u32,
}

impl Default for EncapsulationTable {
    fn default() -> EncapsulationTable {
        EncapsulationTable {
            entries: vec![Encapsulation::default()],
            index: HashMap::default(),
            last: 0,
        }
    }
}

impl EncapsulationTable {
    /// The encapsulation with this index; the default one where there is none.
    pub fn resolve(&self, index: u32) -> &Encapsulation {
        static PLAIN: Encapsulation = Encapsulation {
            vlan: None,
            inner_vlan: None,
            tunnels: Vec::new(),
        };
        self.entries.get(index as usize).unwrap_or(&PLAIN)
    }

    /// All of them, by index.
    pub fn entries(&self) -> &[Encapsulation] {
        &self.entries
    }

    /// The index of an encapsulation, new or known. Frames of one flow follow one another, so the
    /// last one is tried first.
    pub fn intern(&mut self, wanted: &Encapsulation) -> u32 {
        if wanted.vlan.is_none() && wanted.tunnels.is_empty() && wanted.inner_vlan.is_none() {
            return 0;
        }
        if self.resolve(self.last) == wanted {
            return self.last;
        }
        self.last = if let Some(&known) = self.index.get(wanted) {
            known
        } else {
            // Unreachable: a chunk has fewer than 2³² frames.
            let new = u32::try_from(self.entries.len()).unwrap_or(0);
            self.entries.push(wanted.clone());
            self.index.insert(wanted.clone(), new);
            new
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tunnel;

    #[test]
    fn equal_encapsulations_share_an_index() {
        let vlan = |id| Encapsulation {
            vlan: Some(id),
            ..Encapsulation::default()
        };
        let mut table = EncapsulationTable::default();
        assert_eq!(table.intern(&Encapsulation::default()), 0);
        assert_eq!(table.intern(&vlan(7)), 1);
        assert_eq!(table.intern(&vlan(7)), 1);
        assert_eq!(table.intern(&vlan(8)), 2);
        let mut tunnelled = vlan(7);
        tunnelled.tunnels.push(Tunnel::Gre);
        assert_eq!(table.intern(&tunnelled), 3);
        assert_eq!(table.intern(&vlan(7)), 1);
        assert_eq!(table.resolve(3), &tunnelled);
        assert_eq!(table.resolve(99), &Encapsulation::default());
    }
}
