//! Who wins where two segments carry the same stream offsets.

pub use crate::config::OverlapPolicy;

/// Stream offsets that a segment covers: first, and one past the last.
pub(super) type Bounds = (u64, u64);

impl OverlapPolicy {
    /// Whether the copy captured first stands whatever follows.
    pub(super) const fn keeps_first(self) -> bool {
        matches!(self, OverlapPolicy::First | OverlapPolicy::Vista)
    }

    /// Whether the rule compares the bounds of segments.
    pub(super) const fn compares_bounds(self) -> bool {
        !self.keeps_first() && !matches!(self, OverlapPolicy::Last)
    }

    /// Whether bytes stand once the receiver has acknowledged them.
    pub(super) const fn acknowledged_stands(self) -> bool {
        !matches!(self, OverlapPolicy::Last)
    }

    /// Whether the newer of two segments owns their common bytes, told by the bounds of both as they
    /// were sent (Novak and Sturges, "Target-Based TCP Stream Reassembly", 2007, in the reading of
    /// Suricata).
    pub(super) fn newer_wins(self, older: Bounds, newer: Bounds) -> bool {
        use OverlapPolicy::{Bsd, First, Last, Linux, OldLinux, Solaris, Vista, Windows};
        use std::cmp::Ordering::{Equal, Greater, Less};
        let end = newer.1.cmp(&older.1);
        match self {
            First | Vista => false,
            Last => true,
            Bsd | Windows => newer.0 < older.0,
            Linux => newer.0 < older.0 || (newer.0 == older.0 && end == Greater),
            OldLinux => newer.0 < older.0 || (newer.0 == older.0 && end != Less),
            Solaris => match newer.0.cmp(&older.0) {
                Less | Equal => end != Less,
                Greater => end == Greater,
            },
        }
    }
}

/// The differences of two copies of the same range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Difference {
    /// Bytes that differ.
    pub bytes: u64,
    /// First of them, from the start of the range.
    pub first: usize,
    /// One past the last of them.
    pub end: usize,
}

/// Where and how much two copies differ; `None` where they are the same.
pub(super) fn difference(kept: &[u8], other: &[u8]) -> Option<Difference> {
    if kept == other {
        return None;
    }
    let pairs = || kept.iter().zip(other);
    let first = pairs().position(|(a, b)| a != b)?;
    let end = pairs().rposition(|(a, b)| a != b)? + 1;
    let bytes = pairs().map(|(a, b)| u64::from(a != b)).sum();
    Some(Difference { bytes, first, end })
}
