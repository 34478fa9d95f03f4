//! The different encapsulations of a chunk, each kept once.

use std::collections::HashMap;
use std::fmt::Write;

use crate::config::Track;
use crate::model::{Encapsulation, FlowTag, Tunnel};

/// Encapsulations by index. Index 0 is the default: no VLAN tag, no tunnel.
#[derive(Clone, Debug)]
pub struct EncapsulationTable {
    track: Track,
    /// The tags of the entries; empty where nothing is tracked.
    tags: Vec<FlowTag>,
    entries: Vec<Encapsulation>,
    index: HashMap<Encapsulation, u32, foldhash::fast::RandomState>,
    last: u32,
}

impl Default for EncapsulationTable {
    fn default() -> EncapsulationTable {
        EncapsulationTable {
            track: Track::default(),
            tags: Vec::new(),
            entries: vec![Encapsulation::default()],
            index: HashMap::default(),
            last: 0,
        }
    }
}

impl EncapsulationTable {
    /// A table of the default alone.
    pub fn new(track: Track) -> EncapsulationTable {
        let mut table = EncapsulationTable {
            track,
            ..EncapsulationTable::default()
        };
        if track != Track::default() {
            table.tags.push(FlowTag::default());
        }
        table
    }

    /// What tells a flow with this encapsulation from others with the same ends.
    #[inline]
    pub fn tag(&self, index: u32) -> FlowTag {
        self.tags.get(index as usize).copied().unwrap_or_default()
    }

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
            if !self.tags.is_empty() {
                self.tags.push(flow_tag(wanted, self.track));
            }
            self.index.insert(wanted.clone(), new);
            new
        };
        self.last
    }
}

/// The tag of what is tracked of an encapsulation: the same for both directions of a flow.
fn flow_tag(encapsulation: &Encapsulation, track: Track) -> FlowTag {
    let mut text = String::new();
    if track.vlan {
        let ids = [encapsulation.vlan, encapsulation.inner_vlan];
        // Id 0 carries a priority and names no VLAN (IEEE 802.1Q, 9.6). One direction may have it
        // and the other none.
        for id in ids.into_iter().flatten().filter(|id| *id != 0) {
            // Writing to a string cannot fail.
            let _ = write!(text, "vlan:{id},");
        }
    }
    if track.tunnel {
        for tunnel in &encapsulation.tunnels {
            let _ = match tunnel {
                // The receiving end chooses the identifier (3GPP TS 29.281, 5.1): the two directions
                // of a flow have different ones.
                Tunnel::Gtp(_) => write!(text, "gtp,"),
                other => write!(text, "{other},"),
            };
        }
    }
    if text.is_empty() {
        FlowTag::default()
    } else {
        FlowTag::of(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(vlan: &[u16], tunnels: &[Tunnel]) -> Encapsulation {
        Encapsulation {
            vlan: vlan.first().copied(),
            inner_vlan: vlan.get(1).copied(),
            tunnels: tunnels.to_vec(),
        }
    }

    const BOTH: Track = Track {
        vlan: true,
        tunnel: true,
    };

    /// Each of these is a network of its own: pairwise different tags.
    #[test]
    fn different_networks_have_different_tags() {
        let all = [
            tagged(&[], &[]),
            tagged(&[1], &[]),
            tagged(&[2], &[]),
            tagged(&[1, 2], &[]),
            tagged(&[2, 1], &[]),
            tagged(&[12], &[]),
            tagged(&[], &[Tunnel::Vxlan(1)]),
            tagged(&[], &[Tunnel::Vxlan(2)]),
            tagged(&[], &[Tunnel::Geneve(1)]),
            tagged(&[1], &[Tunnel::Vxlan(1)]),
            tagged(&[], &[Tunnel::Vxlan(1), Tunnel::Vxlan(2)]),
            tagged(&[], &[Tunnel::Vxlan(2), Tunnel::Vxlan(1)]),
            tagged(&[], &[Tunnel::Vxlan(12)]),
            tagged(&[], &[Tunnel::Erspan(1)]),
            tagged(&[], &[Tunnel::Pbb(1)]),
            tagged(&[], &[Tunnel::Gre(None)]),
            tagged(&[], &[Tunnel::Gre(Some(0))]),
            tagged(&[], &[Tunnel::Gre(Some(1))]),
            tagged(&[], &[Tunnel::Gtp(1)]),
            tagged(&[], &[Tunnel::Ip4In4]),
            tagged(&[], &[Tunnel::Ip6In4]),
        ];
        let mut table = EncapsulationTable::new(BOTH);
        let tags: Vec<FlowTag> = all
            .iter()
            .map(|encapsulation| {
                let index = table.intern(encapsulation);
                table.tag(index)
            })
            .collect();
        for (at, tag) in tags.iter().enumerate() {
            assert!(!tags[..at].contains(tag), "{:?}", all[at]);
        }
        assert_eq!(tags[0], FlowTag::default());
    }

    #[test]
    fn what_differs_by_direction_is_no_part_of_a_tag() {
        let tag = |encapsulation| flow_tag(&encapsulation, BOTH);
        assert_eq!(
            tag(tagged(&[], &[Tunnel::Gtp(1)])),
            tag(tagged(&[], &[Tunnel::Gtp(2)]))
        );
        assert_eq!(tag(tagged(&[0], &[])), FlowTag::default());
        assert_eq!(tag(tagged(&[0, 5], &[])), tag(tagged(&[5], &[])));
    }

    #[test]
    fn only_what_is_asked_for_is_tracked() {
        let all = tagged(&[5], &[Tunnel::Vxlan(6)]);
        let (vlan, tunnel) = (
            Track {
                vlan: true,
                tunnel: false,
            },
            Track {
                vlan: false,
                tunnel: true,
            },
        );
        assert_eq!(flow_tag(&all, vlan), flow_tag(&tagged(&[5], &[]), BOTH));
        assert_eq!(
            flow_tag(&all, tunnel),
            flow_tag(&tagged(&[], &[Tunnel::Vxlan(6)]), BOTH)
        );
        let mut table = EncapsulationTable::default();
        let index = table.intern(&all);
        assert_eq!(table.tag(index), FlowTag::default());
        assert_eq!(table.tag(99), FlowTag::default());
    }

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
        tunnelled.tunnels.push(Tunnel::Gre(None));
        assert_eq!(table.intern(&tunnelled), 3);
        assert_eq!(table.intern(&vlan(7)), 1);
        assert_eq!(table.resolve(3), &tunnelled);
        assert_eq!(table.resolve(99), &Encapsulation::default());
    }
}
