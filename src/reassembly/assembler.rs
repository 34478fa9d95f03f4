//! Places the bytes of one half-stream: what is new, what was there, where it goes in the file.
//!
//! Payload is never held, only references to it, and those only where something can still be
//! asked of them: recent pieces, to compare later copies with, and pieces beyond a hole so large
//! that it may be closed up, whose place in the file is not known yet.

use std::collections::{BTreeMap, VecDeque};

use super::overlap::{OverlapPolicy, Winner, differing_bytes};
use super::ranges::{Part, RangeSet};
use crate::model::{Payload, PayloadSource};

/// Pieces kept for comparison with later copies. A copy of something older still counts as
/// overlap, but as not verified. The number is a choice: at 1,460 bytes a segment it spans 370 KB,
/// more than a round trip's worth of most paths, and costs 12 KB for a busy half-stream.
pub(super) const HISTORY_PIECES: usize = 256;

/// Pieces that may wait beyond a large hole before it is taken for final. Bounds what an attacker
/// can make wait, and is far more than reordering ever delays.
pub(super) const WAITING_PIECES: usize = 1024;

/// Runs that may lie beyond the first hole. When there are more, that hole is final: no reordering
/// spans so many, and a capture that lacks a part of every segment would else need memory for all
/// of them. More than [`WAITING_PIECES`], so that what such a hole means for the file is decided.
pub(super) const OPEN_HOLES: usize = 4096;

/// A run of stream bytes that is new, with its place in the payload file.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// Stream offset of the first byte.
    pub offset: u64,
    /// Position of the first byte in the payload file.
    pub position: u64,
    /// The bytes.
    pub payload: Payload,
}

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

/// A hole that was closed up: `start..end`, and the bytes closed up until its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Elision {
    start: u64,
    end: u64,
    total: u64,
}

/// The bytes of one half-stream, by reference.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    captured: RangeSet,
    history: VecDeque<Piece>,
    /// Pieces whose place is not known, by offset.
    waiting: BTreeMap<u64, Payload>,
    elisions: Vec<Elision>,
    /// Highest offset that has its place.
    placed_end: u64,
    /// Bytes kept, and bytes of holes that were left open when something behind them was placed.
    kept: u64,
    open: u64,
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
        if self.elisions.is_empty() {
            self.insert_open(
                offset,
                payload,
                source,
                policy,
                max_gap,
                place,
                &mut outcome,
            );
            return outcome;
        }
        let mut at = offset;
        while at < end {
            let next = self.elisions.partition_point(|hole| hole.end <= at);
            let Some(hole) = self
                .elisions
                .get(next)
                .copied()
                .filter(|hole| hole.start < end)
            else {
                break;
            };
            if at < hole.start {
                let run = sub(payload, offset, at, hole.start);
                self.insert_open(at, &run, source, policy, max_gap, place, &mut outcome);
            }
            outcome.rejected += end.min(hole.end) - at.max(hole.start);
            at = end.min(hole.end);
        }
        if at < end {
            let run = sub(payload, offset, at, end);
            self.insert_open(at, &run, source, policy, max_gap, place, &mut outcome);
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
            waiting,
            elisions,
            placed_end,
            kept,
            open,
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
                *kept += stop - start;
                let run = sub(payload, offset, start, stop);
                *owned += run.owned_len();
                let piece = Piece {
                    offset: start,
                    payload: run.clone(),
                };
                if let Some(forgotten) = remember(history, piece) {
                    *owned = owned.saturating_sub(forgotten.payload.owned_len());
                }
                let hole = start.saturating_sub(*placed_end);
                if stays_open(hole, *open, *kept, max_gap) {
                    *open += hole;
                    *placed_end = stop.max(*placed_end);
                    place(placed(elisions, start, run));
                } else {
                    *owned += run.owned_len();
                    waiting.insert(start, run);
                }
            }
        });
        self.place_waiting(max_gap, place);
        while self.waiting.len() > WAITING_PIECES {
            self.close_first_hole();
            self.place_waiting(max_gap, place);
        }
    }

    /// Takes every hole for final and places what still waits.
    pub(super) fn finish(&mut self, max_gap: u64, place: &mut dyn FnMut(Placed)) {
        self.place_waiting(max_gap, place);
        while !self.waiting.is_empty() {
            self.close_first_hole();
            self.place_waiting(max_gap, place);
        }
    }

    fn place_waiting(&mut self, max_gap: u64, place: &mut dyn FnMut(Placed)) {
        while let Some(first) = self.waiting.first_entry() {
            let hole = first.key().saturating_sub(self.placed_end);
            if !stays_open(hole, self.open, self.kept, max_gap) {
                break;
            }
            self.open += hole;
            let (start, run) = first.remove_entry();
            self.owned = self.owned.saturating_sub(run.owned_len());
            self.placed_end = self.placed_end.max(start + u64::from(run.len()));
            place(placed(&self.elisions, start, run));
        }
    }

    fn close_first_hole(&mut self) {
        if let Some((&end, _)) = self.waiting.first_key_value() {
            let start = self.placed_end;
            let before = self.elisions.last().map_or(0, |hole| hole.total);
            self.elisions.push(Elision {
                start,
                end,
                total: before + (end - start),
            });
            self.placed_end = end;
        }
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
        let next = self.elisions.partition_point(|hole| hole.end <= start);
        self.elisions
            .get(next)
            .is_some_and(|hole| hole.start <= start)
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.history.capacity() * size_of::<Piece>()
            + self.waiting.len() * size_of::<(u64, Payload)>()
            + self.elisions.capacity() * size_of::<Elision>()
            + self.captured.islands() * size_of::<(u64, u64)>()
            + self.owned
    }
}

/// Bytes of holes that a file may hold for each byte kept, beyond one largest hole.
const OPEN_PER_KEPT: u64 = 16;

/// Whether a hole may stay open in the file: it is no larger than `max_gap`, and the file's holes
/// together are no more than that and a multiple of what it keeps. Many holes, each of them small
/// enough, would else make a file of terabytes from a capture of kilobytes.
const fn stays_open(hole: u64, open: u64, kept: u64, max_gap: u64) -> bool {
    let allowed = if max_gap == 0 {
        0
    } else {
        max_gap.saturating_add(kept.saturating_mul(OPEN_PER_KEPT))
    };
    hole <= max_gap && open.saturating_add(hole) <= allowed
}

/// The part of `payload` (whose first byte has offset `base`) from `start` to `end`.
fn sub(payload: &Payload, base: u64, start: u64, end: u64) -> Payload {
    let narrow = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    payload.slice(narrow(start - base), narrow(end - start))
}

fn placed(elisions: &[Elision], offset: u64, payload: Payload) -> Placed {
    let before = elisions.partition_point(|hole| hole.end <= offset);
    let closed = before.checked_sub(1).map_or(0, |last| elisions[last].total);
    Placed {
        offset,
        position: offset - closed,
        payload,
    }
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
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers in tests are small"
)]
mod tests {
    use super::*;
    use crate::model::InputPos;
    use proptest::prelude::*;

    const MAX_GAP: u64 = 100;

    fn at(start: u64, len: u32) -> Payload {
        Payload::Input {
            at: InputPos::new(0, start),
            len,
        }
    }

    /// An assembler, the file it fills, and the input it refers to.
    struct Bench {
        assembler: Assembler,
        input: Vec<u8>,
        file: Vec<Option<u8>>,
        max_gap: u64,
    }

    impl Bench {
        fn new(max_gap: u64) -> Bench {
            Bench {
                assembler: Assembler::default(),
                input: Vec::new(),
                file: Vec::new(),
                max_gap,
            }
        }

        fn put(&mut self, placed: &[Placed]) {
            for run in placed {
                let bytes = run.payload.bytes(&self.input[..]).into_owned();
                for (i, byte) in (run.position as usize..).zip(bytes) {
                    if self.file.len() <= i {
                        self.file.resize(i + 1, None);
                    }
                    assert_eq!(self.file[i].replace(byte), None, "a byte was placed twice");
                }
            }
        }

        fn insert(&mut self, offset: u64, bytes: &[u8]) -> Outcome {
            let payload = at(self.input.len() as u64, bytes.len() as u32);
            self.input.extend_from_slice(bytes);
            let mut runs = Vec::new();
            let outcome = self.assembler.insert(
                offset,
                &payload,
                &self.input,
                OverlapPolicy::First,
                self.max_gap,
                &mut |run| runs.push(run),
            );
            self.put(&runs);
            outcome
        }

        fn finish(&mut self) -> String {
            let mut runs = Vec::new();
            self.assembler
                .finish(self.max_gap, &mut |run| runs.push(run));
            self.put(&runs);
            self.file
                .iter()
                .map(|byte| byte.map_or('.', char::from))
                .collect()
        }
    }

    #[test]
    fn late_data_fills_its_place() {
        let mut bench = Bench::new(MAX_GAP);
        bench.insert(0, b"abc");
        bench.insert(6, b"ghi");
        assert_eq!(bench.insert(3, b"def").unique, 3);
        assert_eq!(bench.finish(), "abcdefghi");
    }

    #[test]
    fn the_first_copy_stands_and_differences_are_counted() {
        let mut bench = Bench::new(MAX_GAP);
        bench.insert(0, b"abcdef");
        let outcome = bench.insert(2, b"cXeYgh");
        assert_eq!(
            outcome,
            Outcome {
                unique: 2,
                duplicate: 2,
                conflicting: 2,
                ..outcome
            }
        );
        assert_eq!(outcome.unverified, 0);
        assert_eq!(bench.finish(), "abcdefgh");
    }

    #[test]
    fn a_copy_of_something_forgotten_is_not_verified() {
        let mut bench = Bench::new(MAX_GAP);
        for i in 0..=HISTORY_PIECES as u64 {
            bench.insert(i * 2, b"ab");
        }
        let outcome = bench.insert(0, b"xxxx");
        assert_eq!(
            (outcome.duplicate, outcome.conflicting, outcome.unverified),
            (2, 2, 2)
        );
    }

    #[test]
    fn a_large_hole_is_closed_up_at_the_end() {
        let mut bench = Bench::new(MAX_GAP);
        bench.insert(0, b"ab");
        bench.insert(1000, b"yz");
        bench.insert(1010, b"!");
        assert_eq!(bench.file.len(), 2, "its place is not known yet");
        assert_eq!(bench.finish(), "abyz........!");
        assert!(bench.assembler.is_elided(2) && !bench.assembler.is_elided(1002));
    }

    #[test]
    fn a_large_hole_that_is_filled_in_time_stays_open() {
        let mut bench = Bench::new(4);
        bench.insert(0, b"ab");
        bench.insert(8, b"ij");
        bench.insert(4, b"ef");
        assert_eq!(bench.finish(), "ab..ef..ij");
    }

    #[test]
    fn a_hole_that_too_much_waits_behind_is_final() {
        let mut bench = Bench::new(0);
        bench.insert(0, b"a");
        for i in 0..=WAITING_PIECES as u64 {
            bench.insert(10 + i, b"z");
        }
        assert_eq!(bench.file.len(), WAITING_PIECES + 2);
        let late = bench.insert(0, b"abcdefghijK");
        assert_eq!((late.rejected, late.duplicate, late.unverified), (9, 2, 2));
    }

    proptest! {
        /// The oracle: the first byte that comes for an offset stands.
        #[test]
        fn agrees_with_a_vector(
            segments in prop::collection::vec((0u64..120, prop::collection::vec(0u8..3, 0..24)), 0..50),
            max_gap in prop_oneof![Just(0u64), Just(7), Just(1000)],
        ) {
            let mut bench = Bench::new(max_gap);
            let mut oracle: Vec<Option<u8>> = vec![None; 160];
            for (offset, bytes) in &segments {
                let bytes: Vec<u8> = bytes.iter().map(|b| b'a' + b).collect();
                let outcome = bench.insert(*offset, &bytes);
                let mut want = Outcome::default();
                for (slot, byte) in oracle[*offset as usize..].iter_mut().zip(&bytes) {
                    match slot {
                        None => { *slot = Some(*byte); want.unique += 1; }
                        Some(kept) if kept == byte => want.duplicate += 1,
                        Some(_) => want.conflicting += 1,
                    }
                }
                prop_assert_eq!(outcome, want);
            }
            let file = bench.finish();
            // What the file must be: holes larger than max_gap closed up, no hole at the end.
            let mut want = String::new();
            let mut hole = 0u64;
            for slot in &oracle {
                match slot {
                    None => hole += 1,
                    Some(byte) => {
                        if hole <= max_gap {
                            want.extend((0..hole).map(|_| '.'));
                        }
                        hole = 0;
                        want.push(char::from(*byte));
                    }
                }
            }
            prop_assert_eq!(file, want);
        }
    }
}
