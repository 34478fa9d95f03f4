//! Who wins where two segments carry the same stream offsets.

/// An overlap policy: a named convention, not a claim about any host of today.
///
/// A further policy is a further variant here and its rule in [`OverlapPolicy::winner`], which is
/// the only place that the assembler asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OverlapPolicy {
    /// The copy captured first stands.
    #[default]
    First,
}

/// Which of two copies stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Winner {
    /// The one that was captured earlier.
    Older,
}

impl OverlapPolicy {
    /// Which copy of their common bytes stands. Both segments are given by their original bounds
    /// `(start, end)`, since rules compare those (Novak and Sturges, "Target-Based TCP Stream
    /// Reassembly", 2007).
    pub const fn winner(self, _older: (u64, u64), _newer: (u64, u64)) -> Winner {
        match self {
            OverlapPolicy::First => Winner::Older,
        }
    }
}

/// How many bytes of two copies of the same range differ.
pub(super) fn differing_bytes(kept: &[u8], other: &[u8]) -> u64 {
    if kept == other {
        return 0;
    }
    kept.iter().zip(other).map(|(a, b)| u64::from(a != b)).sum()
}
