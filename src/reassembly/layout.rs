//! Where the bytes of one half-stream go in its payload file.
//!
//! A byte's position is its stream offset less the holes closed up before it. Whether a large hole is
//! closed up is known only when it is final, so runs beyond it wait, by reference.

use std::collections::BTreeMap;

use super::seldom::Seldom;
use crate::model::Payload;

/// Runs that may wait beyond a large hole before it is taken for final. Bounds what an attacker
/// can make wait, and is far more than reordering ever delays.
pub(super) const WAITING_RUNS: usize = 1024;

/// Bytes of holes that a file may hold for each byte kept, beyond one largest hole.
const OPEN_PER_KEPT: u64 = 16;

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

/// A hole that was closed up: `start..end`, and the bytes closed up until its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Elision {
    /// First offset of the hole.
    pub start: u64,
    /// One past its last.
    pub end: u64,
    total: u64,
}

/// The layout of one half-stream's payload file.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Highest offset that has its place.
    placed_end: u64,
    /// Bytes placed or waiting.
    kept: u64,
    holes: Seldom<Holes>,
}

/// What holes make of a layout.
#[derive(Debug, Default)]
struct Holes {
    /// Runs whose place is not known, by offset.
    waiting: BTreeMap<u64, Payload>,
    elisions: Vec<Elision>,
    /// Bytes of holes that were left open when something behind them was placed.
    open: u64,
    /// Bytes of buffers that waiting runs keep alive.
    owned: usize,
}

impl Layout {
    /// Places a run that is final and touches no closed hole; runs go to `place`, some perhaps
    /// later, when a large hole before them is filled or taken for final.
    pub(super) fn add(
        &mut self,
        offset: u64,
        run: Payload,
        max_gap: u64,
        place: &mut dyn FnMut(Placed),
    ) {
        let end = offset + u64::from(run.len());
        self.kept += end - offset;
        let hole = offset.saturating_sub(self.placed_end);
        if self.stays_open(hole, max_gap) {
            if hole > 0 {
                self.holes.get_mut().open += hole;
            }
            self.placed_end = end.max(self.placed_end);
            place(self.placed(offset, run));
        } else {
            let holes = self.holes.get_mut();
            holes.owned += run.owned_len();
            holes.waiting.insert(offset, run);
        }
        self.place_waiting(max_gap, place);
        while self.waiting() > WAITING_RUNS {
            self.close_first_hole();
            self.place_waiting(max_gap, place);
        }
    }

    /// Takes every hole for final and places what still waits.
    pub(super) fn finish(&mut self, max_gap: u64, place: &mut dyn FnMut(Placed)) {
        self.place_waiting(max_gap, place);
        while self.waiting() > 0 {
            self.close_first_hole();
            self.place_waiting(max_gap, place);
        }
    }

    /// The first closed hole that ends beyond `at`.
    pub(super) fn closed_hole_after(&self, at: u64) -> Option<Elision> {
        let elisions = &self.holes.changed()?.elisions;
        let next = elisions.partition_point(|hole| hole.end <= at);
        elisions.get(next).copied()
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.holes.changed().map_or(0, |holes| {
            size_of::<Holes>()
                + holes.waiting.len() * size_of::<(u64, Payload)>()
                + holes.elisions.capacity() * size_of::<Elision>()
                + holes.owned
        })
    }

    /// Whether there are or were holes.
    #[inline]
    pub(super) const fn has_holes(&self) -> bool {
        self.holes.is_changed()
    }

    /// How many runs wait.
    fn waiting(&self) -> usize {
        self.holes.changed().map_or(0, |holes| holes.waiting.len())
    }

    /// Whether a hole may stay open in the file: it is no larger than `max_gap`, and the file's
    /// holes together are no more than that and a multiple of what it keeps. Many holes, each of
    /// them small enough, would else make a file of terabytes from a capture of kilobytes.
    fn stays_open(&self, hole: u64, max_gap: u64) -> bool {
        if hole == 0 {
            return true;
        }
        let open = self.holes.changed().map_or(0, |holes| holes.open);
        let allowed = max_gap.saturating_add(self.kept.saturating_mul(OPEN_PER_KEPT));
        hole <= max_gap && open.saturating_add(hole) <= allowed
    }

    fn place_waiting(&mut self, max_gap: u64, place: &mut dyn FnMut(Placed)) {
        loop {
            let next = self
                .holes
                .changed()
                .and_then(|holes| holes.waiting.first_key_value());
            let Some((&offset, _)) = next else { return };
            let hole = offset.saturating_sub(self.placed_end);
            if !self.stays_open(hole, max_gap) {
                return;
            }
            let holes = self.holes.get_mut();
            let Some((_, run)) = holes.waiting.pop_first() else {
                return;
            };
            holes.open += hole;
            holes.owned = holes.owned.saturating_sub(run.owned_len());
            self.placed_end = self.placed_end.max(offset + u64::from(run.len()));
            place(self.placed(offset, run));
        }
    }

    fn close_first_hole(&mut self) {
        let start = self.placed_end;
        let Some(holes) = self.holes.changed_mut() else {
            return;
        };
        if let Some((&end, _)) = holes.waiting.first_key_value() {
            let before = holes.elisions.last().map_or(0, |hole| hole.total);
            holes.elisions.push(Elision {
                start,
                end,
                total: before + (end - start),
            });
            self.placed_end = end;
        }
    }

    fn placed(&self, offset: u64, payload: Payload) -> Placed {
        let elisions = self.holes.changed().map_or(&[][..], |h| &h.elisions);
        let before = elisions.partition_point(|hole| hole.end <= offset);
        let closed = before
            .checked_sub(1)
            .and_then(|last| elisions.get(last))
            .map_or(0, |last| last.total);
        Placed {
            offset,
            position: offset - closed,
            payload,
        }
    }
}
