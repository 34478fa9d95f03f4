//! The SYNs that one side sent, of which one began its sequence numbers.
//!
//! A capture may hold several with different numbers: old duplicates (RFC 9293, 3.5, figure 8), answers
//! of a host that lost its state, forged ones. What the peer acknowledges tells which one counts, and
//! where nothing of the peer was captured, what its own side sends next does.

use smallvec::SmallVec;

use super::seldom::Seldom;
use crate::model::SynFacts;
use crate::model::seq::distance;

/// SYNs with different numbers that are remembered of one side until one of them is acknowledged. A choice:
/// honest hosts send one or two.
const MOST_SYNS: usize = 8;

/// The SYNs of one side.
#[derive(Debug, Default)]
pub(super) struct Syns {
    /// The one that counts, until the handshake is over for the time being.
    chosen: Option<SynFacts>,
    /// It stands.
    settled: bool,
    /// The peer has acknowledged it.
    proven: bool,
    others: Seldom<SmallVec<[SynFacts; 1]>>,
}

/// The first sequence number behind a SYN.
pub(super) const fn first_of(syn: SynFacts) -> u32 {
    syn.isn.wrapping_add(1)
}

impl Syns {
    /// The one that counts, so far as is known.
    pub(super) const fn chosen(&self) -> Option<SynFacts> {
        self.chosen
    }

    /// Whether the chosen one stands.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether the peer has acknowledged the chosen one, or just what was sent behind it.
    pub(super) const fn is_proven(&self) -> bool {
        self.proven
    }

    /// The peer has acknowledged the chosen one.
    pub(super) const fn prove(&mut self) {
        self.proven = self.chosen.is_some();
    }

    /// Whether several may count.
    #[inline]
    pub(super) const fn has_others(&self) -> bool {
        self.others.is_changed()
    }

    /// Memory beyond the struct itself, bytes.
    pub(super) fn memory(&self) -> usize {
        self.others.memory()
            + self.others.changed().map_or(0, |others| {
                usize::from(others.spilled()) * others.capacity() * size_of::<SynFacts>()
            })
    }

    /// Takes one. Returns whether its number is new among them.
    pub(super) fn add(&mut self, syn: SynFacts) -> bool {
        if self.settled || self.has(syn.isn) {
            return false;
        }
        if self.chosen.is_none() {
            self.chosen = Some(syn);
            return true;
        }
        let others = self.others.get_mut();
        if others.len() + 1 >= MOST_SYNS {
            others.remove(0);
        }
        others.push(syn);
        true
    }

    /// Whether one that may count has this number.
    pub(super) fn has(&self, isn: u32) -> bool {
        self.all().any(|syn| syn.isn == isn)
    }

    /// All that may count.
    pub(super) fn all(&self) -> impl Iterator<Item = SynFacts> + '_ {
        let others = self.others.changed().into_iter().flatten();
        self.chosen.into_iter().chain(others.copied())
    }

    /// From now on this one counts; `None` where what the side sends belongs to none of them.
    pub(super) fn settle(&mut self, right: Option<SynFacts>, proven: bool) {
        self.chosen = right;
        self.proven = proven && right.is_some();
        self.settled = true;
        self.others = Seldom::default();
    }

    /// The one of which `ack` acknowledges the SYN, or what was sent behind it: `sent` tells how many bytes that
    /// is, by the first sequence number.
    pub(super) fn acknowledged(&self, ack: u32, sent: impl Fn(u32) -> u32) -> Option<SynFacts> {
        let exact = self.all().find(|&syn| first_of(syn) == ack);
        exact.or_else(|| {
            self.all().find(|&syn| {
                let first = first_of(syn);
                u32::try_from(distance(first, ack)).is_ok_and(|bytes| bytes <= sent(first))
            })
        })
    }

    /// The one behind which `seq` lies, at most `reach` bytes away: the nearest of several.
    pub(super) fn before(&self, seq: u32, reach: i64) -> Option<SynFacts> {
        self.all()
            .filter(|&syn| (0..=reach).contains(&i64::from(distance(first_of(syn), seq))))
            .min_by_key(|&syn| distance(first_of(syn), seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SynOptions;

    fn syn(isn: u32) -> SynFacts {
        SynFacts {
            isn,
            options: SynOptions::default(),
        }
    }

    fn of(isns: &[u32]) -> Syns {
        let mut syns = Syns::default();
        for &isn in isns {
            syns.add(syn(isn));
        }
        syns
    }

    #[test]
    fn what_is_acknowledged_exactly_goes_before_what_was_sent() {
        let syns = of(&[100, 90, u32::MAX]);
        let isn = |ack| syns.acknowledged(ack, |_| 12).map(|syn| syn.isn);
        assert_eq!(isn(101), Some(100));
        assert_eq!(isn(91), Some(90));
        assert_eq!(isn(0), Some(u32::MAX), "across the wrap");
        assert_eq!(isn(113), Some(100), "data behind the first of them");
        assert_eq!(isn(50), None);
    }

    #[test]
    fn the_oldest_of_many_is_forgotten_but_the_first_is_kept() {
        let isns: Vec<u32> = (0..20).collect();
        let syns = of(&isns);
        let kept: Vec<u32> = syns.all().map(|syn| syn.isn).collect();
        assert_eq!(kept.len(), MOST_SYNS);
        assert_eq!((kept[0], kept[MOST_SYNS - 1]), (0, 19));
    }

    #[test]
    fn nothing_changes_what_is_settled() {
        let mut syns = of(&[100, 200]);
        syns.settle(Some(syn(200)), true);
        assert!(!syns.add(syn(300)));
        assert_eq!(syns.chosen(), Some(syn(200)));
        assert_eq!(syns.before(250, 100).map(|syn| syn.isn), Some(200));
        assert!(syns.before(250, 10).is_none());
    }
}
