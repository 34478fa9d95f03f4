//! Places the bytes of one half-stream: what is new, what was there, where it goes in the file.
//!
//! Payload is never held, only references to recent pieces of it, to compare later copies with.

use std::collections::VecDeque;

use super::layout::{Layout, Placed};
use super::overlap::{OverlapPolicy, Winner, differing_bytes};
use super::ranges::{Part, RangeSet};
use crate::model::{Payload, PayloadSource};

/// Pieces kept for comparison with later copies. A copy of something older still counts as
/// overlap, but as not verified. The number is a choice: at 1,460 bytes a segment it spans 370 KB,
/// more than a round trip's worth of most paths, and costs 12 KB for a busy half-stream.
pub(super) const HISTORY_PIECES: usize = 256;

/// Runs that may lie beyond the first hole. When there are more, that hole is final: no reordering
/// spans so many, and a capture that lacks a part of every segment would else need memory for all
/// of them. More than [`super::layout::WAITING_RUNS`], so that what such a hole means for the file is decided.
pub(super) const OPEN_HOLES: usize = 4096;

/// What became of the bytes of an inserted segment. The fields add up to its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    /// New bytes, kept.
    pub unique: u64,
    /// Bytes seen before that are the same, or could not be compared.
    pub duplicate: u64,
    /// Bytes seen before that differ and were not kept.
    pub conflicting: u64,
    /// Bytes inside a hole that has been closed up: their place is gone.
    pub rejected: u64,
    /// Those of `duplicate` whose first copy was no longer at hand.
    pub unverified: u64,
}

/// A piece that was kept.
#[derive(Clone, Debug)]
struct Piece {
    offset: u64,
    payload: Payload,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.payload.len())
    }
}

/// The bytes of one half-stream, by reference.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    captured: RangeSet,
    history: VecDeque<Piece>,
    layout: Layout,
    /// Bytes of buffers that pieces keep alive.
    owned: usize,
}

impl Assembler {
    /// Adds a segment's bytes at `offset`. New runs go to `place`, some perhaps later, when a large
    /// hole before them is filled or taken for final.
    pub(super) fn insert(
        &mut self,
        offset: u64,
        payload: &Payload,
        source: &dyn PayloadSource,
        policy: OverlapPolicy,
        max_gap: u64,
        place: &mut dyn FnMut(Placed),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let end = offset.saturating_add(u64::from(payload.len()));
        if offset >= end {
            return outcome;
        }
        let mut at = offset;
        while at < end {
            let hole = self.layout.closed_hole_after(at);
            let (open, closed) = hole.map_or((end, end), |hole| (hole.start, hole.end));
            let (open, closed) = (open.clamp(at, end), closed.min(end));
            if at < open {
                let run = sub(payload, offset, at, open);
                self.insert_open(at, &run, source, policy, max_gap, place, &mut outcome);
            }
            outcome.rejected += closed - open;
            at = closed;
        }
        outcome
    }

    /// Inserts a run that touches no closed hole.
    #[expect(clippy::too_many_arguments, reason = "the context of one insertion")]
    fn insert_open(
        &mut self,
        offset: u64,
        payload: &Payload,
        source: &dyn PayloadSource,
        policy: OverlapPolicy,
        max_gap: u64,
        place: &mut dyn FnMut(Placed),
        outcome: &mut Outcome,
    ) {
        let end = offset + u64::from(payload.len());
        let Assembler {
            captured,
            history,
            layout,
            owned,
        } = self;
        captured.insert(offset, end, |part| match part {
            Part::Seen(start, stop) => {
                let copy = sub(payload, offset, start, stop);
                let bounds = (offset, end);
                let compared = compare(history, start, &copy, bounds, source, policy);
                outcome.conflicting += compared.conflicting;
                outcome.duplicate += (stop - start) - compared.conflicting;
                outcome.unverified += (stop - start) - compared.verified;
            }
            Part::Fresh(start, stop) => {
                outcome.unique += stop - start;
                let run = sub(payload, offset, start, stop);
                *owned += run.owned_len();
                let piece = Piece {
                    offset: start,
                    payload: run.clone(),
                };
                if let Some(forgotten) = remember(history, piece) {
                    *owned = owned.saturating_sub(forgotten.payload.owned_len());
                }
                layout.add(start, run, max_gap, place);
            }
        });
    }

    /// Takes every hole for final and places what still waits.
    pub(super) fn finish(&mut self, max_gap: u64, place: &mut dyn FnMut(Placed)) {
        self.layout.finish(max_gap, place);
    }

    /// The first hole, if it is final before its stream is: from then on it counts as captured.
    pub(super) fn take_final_hole(&mut self) -> Option<(u64, u64)> {
        if self.captured.islands() <= OPEN_HOLES {
            return None;
        }
        let hole = self.captured.holes(0, u64::MAX).next();
        if let Some((start, end)) = hole {
            self.captured.insert(start, end, |_| ());
        }
        hole
    }

    /// The offsets captured so far.
    pub(super) const fn captured(&self) -> &RangeSet {
        &self.captured
    }

    /// Whether the hole that begins at `start` is closed up in the file.
    pub(super) fn is_elided(&self, start: u64) -> bool {
        let hole = self.layout.closed_hole_after(start);
        hole.is_some_and(|hole| hole.start <= start)
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.history.capacity() * size_of::<Piece>()
            + self.captured.islands() * size_of::<(u64, u64)>()
            + self.layout.memory()
            + self.owned
    }
}

/// The part of `payload` (whose first byte has offset `base`) from `start` to `end`.
fn sub(payload: &Payload, base: u64, start: u64, end: u64) -> Payload {
    let narrow = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    payload.slice(narrow(start - base), narrow(end - start))
}

/// Keeps a piece for comparison. Beyond [`HISTORY_PIECES`] the one at the lowest offset is forgotten
/// and returned, or the next one where that is the new piece itself: what fills an old hole may be
/// sent again as well.
fn remember(history: &mut VecDeque<Piece>, piece: Piece) -> Option<Piece> {
    let at = if history.back().is_none_or(|last| last.offset < piece.offset) {
        history.len()
    } else {
        history.partition_point(|other| other.offset < piece.offset)
    };
    history.insert(at, piece);
    if history.len() > HISTORY_PIECES {
        history.remove(usize::from(at == 0))
    } else {
        None
    }
}

#[derive(Default)]
struct Compared {
    verified: u64,
    conflicting: u64,
}

/// Compares a copy that begins at `start` with what was kept there.
fn compare(
    history: &VecDeque<Piece>,
    start: u64,
    copy: &Payload,
    bounds: (u64, u64),
    source: &dyn PayloadSource,
    policy: OverlapPolicy,
) -> Compared {
    let end = start + u64::from(copy.len());
    let mut result = Compared::default();
    let first = history.partition_point(|piece| piece.end() <= start);
    for piece in history
        .range(first..)
        .take_while(|piece| piece.offset < end)
    {
        let (from, to) = (start.max(piece.offset), end.min(piece.end()));
        let kept = sub(&piece.payload, piece.offset, from, to);
        let other = sub(copy, start, from, to);
        match policy.winner((piece.offset, piece.end()), bounds) {
            Winner::Older => {
                result.conflicting += differing_bytes(&kept.bytes(source), &other.bytes(source));
            }
        }
        result.verified += to - from;
    }
    result
}

#[cfg(test)]
mod tests;
