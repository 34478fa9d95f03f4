//! Places the bytes of one half-stream: what is new, what was there, and which copy stands.
//!
//! Payload is never held, only references to recent pieces of it. Pieces are told only once nothing can replace
//! them or take them back: when the receiver has acknowledged them, or when too many others have come. So every
//! byte is told once.

use std::collections::VecDeque;

use super::history::{HISTORY_PIECES, History, Piece, sub};
use super::layout::{Layout, Placed};
use super::notes::{Clash, Notes, Part, SHOWN_BYTES};
use super::overlap::{Bounds, Difference, OverlapPolicy, difference};
use super::ranges::{self, RangeSet};
use super::seldom::Seldom;
use crate::model::{Payload, PayloadSource, SegmentKind};

/// Runs that may lie beyond the first hole. When there are more, that hole is final: no reordering
/// spans so many, and a capture that lacks a part of every segment would else need memory for all
/// of them. More than [`super::layout::WAITING_RUNS`] and [`HISTORY_PIECES`] together, so that what
/// such a hole means for the file is decided.
pub(super) const OPEN_HOLES: usize = 4096;

/// What an insertion needs from outside.
pub(super) struct Rules<'a> {
    /// Gives the bytes, for comparison.
    pub source: &'a dyn PayloadSource,
    /// Who wins an overlap.
    pub policy: OverlapPolicy,
    /// Holes larger than this are closed up in the file, bytes.
    pub max_gap: u64,
    /// Takes new stream bytes.
    pub place: &'a mut dyn FnMut(Placed),
    /// Takes what else there is to tell.
    pub notes: &'a mut Notes,
}

/// What became of the bytes of an inserted segment. The first four add up to its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    /// New bytes, kept.
    pub unique: u64,
    /// Bytes seen before that are the same, or could not be compared.
    pub duplicate: u64,
    /// Bytes seen before that differ; one of the two copies was not kept.
    pub conflicting: u64,
    /// Bytes inside a hole that has been closed up: their place is gone.
    pub rejected: u64,
    /// Those of `duplicate` whose first copy was no longer at hand.
    pub unverified: u64,
}

/// The bytes of one half-stream, by reference.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    captured: RangeSet,
    history: History,
    /// Bounds of segments whose bytes may still be replaced, as they were sent.
    rivals: Seldom<VecDeque<Bounds>>,
    /// One past the highest offset that is settled.
    settled_end: u64,
    layout: Layout,
}

/// A segment under way into the stream.
struct Newcomer<'a> {
    bounds: Bounds,
    payload: &'a Payload,
    frame: u64,
    /// Some of its bytes stand.
    gained: bool,
}

impl Newcomer<'_> {
    fn piece(&self, start: u64, end: u64, settled: bool) -> Piece {
        let payload = sub(self.payload, self.bounds.0, start, end);
        Piece::new(start, payload, self.frame, settled)
    }
}

impl Assembler {
    /// Adds a segment's bytes at `offset`. New runs are placed, some perhaps later: when nothing
    /// can replace them, and when a large hole before them is filled or taken for final.
    pub(super) fn insert(
        &mut self,
        offset: u64,
        payload: &Payload,
        frame: u64,
        rules: &mut Rules<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let end = offset.saturating_add(u64::from(payload.len()));
        if offset >= end {
            return outcome;
        }
        let mut newcomer = Newcomer {
            bounds: (offset, end),
            payload,
            frame,
            gained: false,
        };
        let mut at = offset;
        while at < end {
            let hole = self.layout.closed_hole_after(at);
            let (open, closed) = hole.map_or((end, end), |hole| (hole.start, hole.end));
            let (open, closed) = (open.clamp(at, end), closed.min(end));
            if at < open {
                self.insert_open(&mut newcomer, at, open, rules, &mut outcome);
            }
            outcome.rejected += closed - open;
            rules.notes.part(Part {
                start: open,
                end: closed,
                kind: SegmentKind::Rejected,
                kept: false,
            });
            at = closed;
        }
        // A segment of which nothing stands is nobody's rival.
        if rules.policy.compares_bounds() && newcomer.gained {
            self.rivals.get_mut().push_back(newcomer.bounds);
            self.forget_rivals();
        }
        outcome
    }

    /// Inserts the part `from..to`, which touches no closed hole.
    fn insert_open(
        &mut self,
        newcomer: &mut Newcomer<'_>,
        from: u64,
        to: u64,
        rules: &mut Rules<'_>,
        outcome: &mut Outcome,
    ) {
        let Assembler {
            captured,
            history,
            rivals,
            settled_end,
            layout,
        } = self;
        let reached = captured.end();
        let mut newest = u64::MAX;
        captured.insert(from, to, |part| match part {
            ranges::Part::Seen(start, stop) => {
                meet(history, rivals, newcomer, (start, stop), rules, outcome);
            }
            ranges::Part::Fresh(start, stop) => {
                outcome.unique += stop - start;
                newcomer.gained = true;
                let kind = if start < reached {
                    SegmentKind::OutOfOrder
                } else {
                    SegmentKind::Data
                };
                rules.notes.part(Part {
                    start,
                    end: stop,
                    kind,
                    kept: true,
                });
                // What comes late behind bytes that are settled stands: runs are settled in order.
                let settled = start < *settled_end;
                let piece = newcomer.piece(start, stop, settled);
                if settled {
                    *settled_end = stop.max(*settled_end);
                    layout.add(start, piece.payload.clone(), rules.max_gap, rules.place);
                }
                history.add(piece);
                newest = start;
            }
        });
        if self.history.is_too_long() {
            self.forget(newest, rules);
        }
    }

    /// Forgets pieces while there are too many; they stand from then on.
    fn forget(&mut self, newest: u64, rules: &mut Rules<'_>) {
        while let Some(forgotten) = self.history.forget(newest) {
            if !forgotten.is_settled() {
                self.settled_end = forgotten.end().max(self.settled_end);
                self.layout.add(
                    forgotten.offset,
                    forgotten.payload,
                    rules.max_gap,
                    rules.place,
                );
            }
        }
    }

    /// The receiver has everything before `acknowledged`.
    pub(super) fn acknowledge(&mut self, acknowledged: u64, rules: &mut Rules<'_>) {
        if acknowledged > self.settled_end && rules.policy.acknowledged_stands() {
            self.settle(acknowledged, rules);
            self.forget_rivals();
        }
    }

    /// Takes back all bytes from `end` on; returns how many, or `None` if some of them have gone out.
    pub(super) fn cut(&mut self, end: u64) -> Option<u64> {
        if self.captured.end() <= end {
            return Some(0);
        }
        if self.settled_end > end {
            return None;
        }
        self.history.truncate(end);
        Some(self.captured.truncate(end))
    }

    /// Takes all bytes and every hole for final and places what still waits.
    pub(super) fn finish(&mut self, rules: &mut Rules<'_>) {
        self.settle(u64::MAX, rules);
        self.layout.finish(rules.max_gap, rules.place);
    }

    fn settle(&mut self, bound: u64, rules: &mut Rules<'_>) {
        while let Some(piece) = self.history.settle_before(bound) {
            self.settled_end = piece.end().max(self.settled_end);
            self.layout
                .add(piece.offset, piece.payload, rules.max_gap, rules.place);
        }
        // A piece of which only a part is settled is two.
        if self.history.is_too_long() {
            self.forget(u64::MAX, rules);
        }
    }

    /// Segments of which no byte can be replaced are nobody's rivals; neither are the oldest when
    /// there are more than pieces in the history.
    fn forget_rivals(&mut self) {
        let Some(rivals) = self.rivals.changed_mut() else {
            return;
        };
        while let Some(&(_, end)) = rivals.front()
            && (end <= self.settled_end || rivals.len() > HISTORY_PIECES)
        {
            rivals.pop_front();
        }
    }

    /// The first hole, if it is final before its stream is: from then on it counts as captured.
    pub(super) fn take_final_hole(&mut self) -> Option<(u64, u64)> {
        if self.captured.island_count() <= OPEN_HOLES {
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

    /// The bounds of the recent piece that holds an offset.
    pub(super) fn piece_at(&self, at: u64) -> Option<Bounds> {
        let piece = self.history.overlapping(at, at + 1).next()?;
        Some((piece.offset, piece.end()))
    }

    /// Whether the hole that begins at `start` is closed up in the file.
    pub(super) fn is_elided(&self, start: u64) -> bool {
        let hole = self.layout.closed_hole_after(start);
        hole.is_some_and(|hole| hole.start <= start)
    }

    /// Whether it has state beyond the struct itself that [`Assembler::history_memory`] does not count.
    #[inline]
    pub(super) const fn has_rare_state(&self) -> bool {
        self.rivals.is_changed() | self.layout.has_holes()
    }

    /// Bytes that recent pieces and islands take.
    #[inline]
    pub(super) fn history_memory(&self) -> usize {
        self.history.memory() + self.captured.memory()
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.history.memory()
            + self.rivals.memory()
            + self.rivals.changed().map_or(0, VecDeque::capacity) * size_of::<Bounds>()
            + self.captured.memory()
            + self.layout.memory()
    }
}

/// A copy of what was captured before: compared with it, and perhaps put in its place.
fn meet(
    history: &mut History,
    rivals: &Seldom<VecDeque<Bounds>>,
    newcomer: &mut Newcomer<'_>,
    (start, stop): Bounds,
    rules: &mut Rules<'_>,
    outcome: &mut Outcome,
) {
    let mut winners = Vec::new();
    let (mut conflicting, mut verified) = (0, 0);
    let mut at = start;
    let mut won = None;
    let same = |notes: &mut Notes, start, end| {
        notes.part(Part {
            start,
            end,
            kind: SegmentKind::Retransmit,
            kept: false,
        });
    };
    for piece in history.overlapping(start, stop) {
        let (from, to) = (start.max(piece.offset), stop.min(piece.end()));
        same(rules.notes, at, from);
        at = to;
        verified += to - from;
        let shares = if piece.is_settled() || rules.policy.keeps_first() {
            vec![(from, to, false)]
        } else if rules.policy.compares_bounds() {
            let beaten = || beaten(newcomer.bounds, (start, stop), rivals, rules.policy);
            shares(from, to, won.get_or_insert_with(beaten))
        } else {
            vec![(from, to, true)]
        };
        for (from, to, wins) in shares {
            newcomer.gained |= wins;
            let old = piece.part(from, to);
            let new = newcomer.piece(from, to, false);
            let differs = {
                let (old, new) = (
                    old.payload.bytes(rules.source),
                    new.payload.bytes(rules.source),
                );
                difference(&old, &new).map(|d| (d, shown(&old, d), shown(&new, d)))
            };
            let Some((difference, old_bytes, new_bytes)) = differs else {
                rules.notes.equal_part(from, to);
                continue;
            };
            conflicting += difference.bytes;
            let (mut kept, mut refused) = ((old_bytes, old.frame()), (new_bytes, new.frame()));
            if wins {
                std::mem::swap(&mut kept, &mut refused);
                winners.push(new);
            }
            rules.notes.clash(Clash {
                offset: from + difference.first as u64,
                length: (difference.end - difference.first) as u64,
                differing: difference.bytes,
                kept,
                refused,
                replaced: wins,
            });
            rules.notes.part(Part {
                start: from,
                end: to,
                kind: SegmentKind::Conflict,
                kept: wins,
            });
        }
    }
    same(rules.notes, at, stop);
    outcome.conflicting += conflicting;
    outcome.duplicate += (stop - start) - conflicting;
    outcome.unverified += (stop - start) - verified;
    for winner in winners {
        history.replace(winner);
    }
}

/// The first of the bytes that differ.
fn shown(bytes: &[u8], difference: Difference) -> Box<[u8]> {
    let end = difference.end.min(difference.first + SHOWN_BYTES);
    bytes.get(difference.first..end).unwrap_or_default().into()
}

/// What the newer copy wins of a range: what it has in common with any earlier segment that it beats,
/// whoever gave the bytes that stand there (so the rule in Suricata, whose published vectors are
/// followed).
fn beaten(
    newer: Bounds,
    (from, to): Bounds,
    rivals: &Seldom<VecDeque<Bounds>>,
    policy: OverlapPolicy,
) -> RangeSet {
    let mut won = RangeSet::default();
    for &older in rivals.changed().into_iter().flatten() {
        if policy.newer_wins(older, newer) {
            won.insert(older.0.max(from), older.1.min(to), |_| ());
        }
    }
    won
}

/// Cuts `from..to` into the shares that the newer copy has won and those that it has not.
fn shares(from: u64, to: u64, won: &RangeSet) -> Vec<(u64, u64, bool)> {
    let mut all = Vec::new();
    let mut at = from;
    for (start, end) in won.holes(from, to) {
        all.push((at, start, true));
        all.push((start, end, false));
        at = end;
    }
    all.push((at, to, true));
    all.retain(|(start, end, _)| start < end);
    all
}

#[cfg(test)]
mod tests;
