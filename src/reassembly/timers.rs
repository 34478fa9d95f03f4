//! Flows in the order of their last segment, as far as anyone asks.
//!
//! A flow is heard of with every segment, and nearly always long before its timeout. So a segment only
//! sets the flow's own time; its entry here keeps the time that it was made with, and is put in its
//! true place when it comes to the front.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::model::Timestamp;

/// A flow, and when it was heard of last when the entry was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    /// Watermark at that segment.
    pub seen: Timestamp,
    /// The flow's slot.
    pub slot: u32,
    /// Which of the flows that were in the slot.
    pub generation: u32,
}

/// Entries, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Entries in the order of time. The watermark never falls, so most are made in it.
    rising: VecDeque<Entry>,
    /// All others.
    others: BinaryHeap<Reverse<Entry>>,
}

impl Timers {
    /// Adds an entry.
    pub(super) fn add(&mut self, entry: Entry) {
        if self.rising.back().is_none_or(|last| *last <= entry) {
            self.rising.push_back(entry);
        } else {
            self.others.push(Reverse(entry));
        }
    }

    /// The earliest entry.
    pub(super) fn first(&self) -> Option<Entry> {
        let other = self.others.peek().map(|Reverse(entry)| *entry);
        match (self.rising.front(), other) {
            (Some(&rising), Some(other)) => Some(rising.min(other)),
            (rising, other) => rising.copied().or(other),
        }
    }

    /// Takes the earliest entry out.
    pub(super) fn pop(&mut self) {
        if self.rising.front().copied() == self.first() {
            self.rising.pop_front();
        } else {
            self.others.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_out_in_order(times in prop::collection::vec((any::<bool>(), 0..20i64), 0..200)) {
            let mut timers = Timers::default();
            let mut plain = Vec::new();
            for (slot, (take, seen)) in (0..).zip(times) {
                if take {
                    plain.sort_unstable_by(|a: &Entry, b| b.cmp(a));
                    prop_assert_eq!(timers.first(), plain.pop());
                    timers.pop();
                } else {
                    let seen = Timestamp::from_ns(seen);
                    let entry = Entry { seen, slot, generation: 0 };
                    timers.add(entry);
                    plain.push(entry);
                }
            }
        }
    }
}
