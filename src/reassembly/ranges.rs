//! Which stream offsets have been captured: ranges only, no bytes.

use std::collections::BTreeMap;

use super::seldom::Seldom;

/// A set of stream offsets.
///
/// Invariant: `prefix` is the end of the range that starts at 0; `islands` (start → end) are
/// disjoint, do not touch each other, and all start beyond `prefix`.
///
/// A stream without loss lives in `prefix` alone and costs no allocation. Islands stand in a tree
/// because a hostile capture can make as many as it has segments, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeSet {
    prefix: u64,
    islands: Seldom<BTreeMap<u64, u64>>,
}

/// What islands are where there are none.
static NO_ISLANDS: BTreeMap<u64, u64> = BTreeMap::new();

/// A part of an inserted range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Was not in the set: `start..end`.
    Fresh(u64, u64),
    /// Was in the set already: `start..end`.
    Seen(u64, u64),
}

impl RangeSet {
    /// Adds `start..end` and tells its parts in ascending order.
    pub(super) fn insert(&mut self, start: u64, end: u64, mut tell: impl FnMut(Part)) {
        if start >= end {
            return;
        }
        if start <= self.prefix && self.islands().is_empty() {
            if start < self.prefix {
                tell(Part::Seen(start, end.min(self.prefix)));
            }
            if end > self.prefix {
                tell(Part::Fresh(self.prefix, end));
                self.prefix = end;
            }
            return;
        }
        self.insert_among_islands(start, end, tell);
    }

    fn insert_among_islands(&mut self, start: u64, end: u64, mut tell: impl FnMut(Part)) {
        let islands = self.islands.get_mut();
        let (mut merged_start, mut merged_end) = (start, end);
        let mut at = start;
        if at < self.prefix {
            let seen = end.min(self.prefix);
            tell(Part::Seen(at, seen));
            at = seen;
        }
        // The only island that can start before `start` and still matter is the nearest one.
        if let Some((&s, &e)) = islands.range(..start).next_back()
            && e >= start
        {
            if e > at {
                tell(Part::Seen(at, end.min(e)));
                at = at.max(end.min(e));
            }
            merged_start = s;
            merged_end = merged_end.max(e);
            islands.remove(&s);
        }
        while let Some((&s, &e)) = islands.range(start..=end).next() {
            if s > at {
                tell(Part::Fresh(at, s));
                at = s;
            }
            if e.min(end) > at {
                tell(Part::Seen(at, e.min(end)));
                at = e.min(end);
            }
            merged_end = merged_end.max(e);
            islands.remove(&s);
        }
        if at < end {
            tell(Part::Fresh(at, end));
        }
        if merged_start <= self.prefix {
            self.prefix = self.prefix.max(merged_end);
        } else {
            islands.insert(merged_start, merged_end);
        }
    }

    /// End of the range that starts at 0.
    pub(super) const fn prefix(&self) -> u64 {
        self.prefix
    }

    /// The end of the last range; 0 for the empty set.
    pub(super) fn end(&self) -> u64 {
        self.islands()
            .last_key_value()
            .map_or(self.prefix, |(_, &end)| end)
    }

    /// Whether `at` is in the set.
    pub(super) fn contains(&self, at: u64) -> bool {
        at < self.prefix
            || self
                .islands()
                .range(..=at)
                .next_back()
                .is_some_and(|(_, &e)| e > at)
    }

    /// The holes within `from..to`, ascending.
    pub(super) fn holes(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = from.max(self.prefix);
        if let Some((_, &end)) = self.islands().range(..=at).next_back() {
            at = at.max(end);
        }
        let mut islands = self.islands().range(at.saturating_add(1)..);
        std::iter::from_fn(move || {
            if at >= to {
                return None;
            }
            let start = at;
            let (end, next) = islands.next().map_or((to, to), |(&s, &e)| (s.min(to), e));
            at = next;
            Some((start, end))
        })
    }

    /// Takes out everything from `end` on; returns how many offsets that were.
    pub(super) fn truncate(&mut self, end: u64) -> u64 {
        let mut gone = self.prefix.saturating_sub(end);
        self.prefix = self.prefix.min(end);
        if let Some(islands) = self.islands.changed_mut() {
            while let Some((start, stop)) = islands.pop_last() {
                gone += stop - start.max(end).min(stop);
                if start < end {
                    islands.insert(start, stop.min(end));
                    break;
                }
            }
        }
        gone
    }

    /// How many islands there are.
    pub(super) fn island_count(&self) -> usize {
        self.islands().len()
    }

    /// Bytes of memory beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.islands.changed().map_or(0, |islands| {
            size_of::<BTreeMap<u64, u64>>() + islands.len() * size_of::<(u64, u64)>()
        })
    }

    fn islands(&self) -> &BTreeMap<u64, u64> {
        self.islands.changed().unwrap_or(&NO_ISLANDS)
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers in tests are small"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn insert(set: &mut RangeSet, start: u64, end: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        set.insert(start, end, |part| parts.push(part));
        parts
    }

    #[test]
    fn in_order_stays_in_the_prefix() {
        let mut set = RangeSet::default();
        assert_eq!(insert(&mut set, 0, 5), [Part::Fresh(0, 5)]);
        assert_eq!(insert(&mut set, 5, 9), [Part::Fresh(5, 9)]);
        assert_eq!(
            insert(&mut set, 3, 11),
            [Part::Seen(3, 9), Part::Fresh(9, 11)]
        );
        assert_eq!((set.prefix(), set.island_count()), (11, 0));
    }

    #[test]
    fn a_range_over_several_islands_tells_every_part() {
        let mut set = RangeSet::default();
        insert(&mut set, 10, 12);
        insert(&mut set, 20, 22);
        assert_eq!(
            insert(&mut set, 5, 30),
            [
                Part::Fresh(5, 10),
                Part::Seen(10, 12),
                Part::Fresh(12, 20),
                Part::Seen(20, 22),
                Part::Fresh(22, 30)
            ]
        );
        assert_eq!(set.holes(0, 40).collect::<Vec<_>>(), [(0, 5), (30, 40)]);
        assert_eq!(set.holes(6, 30).count(), 0);
        assert_eq!(insert(&mut set, 0, 5), [Part::Fresh(0, 5)]);
        assert_eq!((set.prefix(), set.island_count()), (30, 0));
    }

    proptest! {
        /// The oracle: one bool per offset.
        #[test]
        fn agrees_with_a_bitmap(ranges in prop::collection::vec((0u64..200, 0u64..40), 0..60)) {
            let mut set = RangeSet::default();
            let mut bits = [false; 256];
            for (start, len) in ranges {
                let end = start + len;
                let mut next = start;
                for part in insert(&mut set, start, end) {
                    let (s, e, seen) = match part {
                        Part::Fresh(s, e) => (s, e, false),
                        Part::Seen(s, e) => (s, e, true),
                    };
                    prop_assert_eq!(s, next);
                    prop_assert!(e > s);
                    for bit in &mut bits[s as usize..e as usize] {
                        prop_assert_eq!(*bit, seen);
                        *bit = true;
                    }
                    next = e;
                }
                prop_assert_eq!(next, end.max(start));
                let mut held = [false; 256];
                held.fill(true);
                for (s, e) in set.holes(0, 256) {
                    prop_assert!(s < e);
                    held[s as usize..e as usize].fill(false);
                }
                prop_assert_eq!(held, bits);
                for at in 0..256 {
                    prop_assert_eq!(set.contains(at), bits[at as usize]);
                }
            }
        }
    }
}
