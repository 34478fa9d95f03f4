//! The recent pieces of a half-stream: what later copies are compared with, and what may still be
//! replaced.

use std::collections::VecDeque;

use crate::model::Payload;

/// Pieces kept for comparison with later copies. A copy of something older still counts as
/// overlap, but as not verified. The number is a choice: at 1,460 bytes a segment it spans 370 KB,
/// more than a round trip's worth of most paths, and costs 12 KB for a busy half-stream.
pub(super) const HISTORY_PIECES: usize = 256;

/// Bytes that stand at the moment.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Stream offset of the first byte.
    pub offset: u64,
    /// The bytes.
    pub payload: Payload,
    /// Number of the frame that carried them.
    pub frame: u64,
    /// Nothing replaces them any more.
    pub settled: bool,
}

impl Piece {
    /// One past its last offset.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.payload.len())
    }

    /// The part of it from `start` to `end`.
    pub(super) fn part(&self, start: u64, end: u64) -> Piece {
        Piece {
            offset: start,
            payload: sub(&self.payload, self.offset, start, end),
            ..*self
        }
    }
}

/// The part of `payload` (whose first byte has offset `base`) from `start` to `end`.
pub(super) fn sub(payload: &Payload, base: u64, start: u64, end: u64) -> Payload {
    let narrow = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    payload.slice(narrow(start - base), narrow(end - start))
}

/// Pieces by offset, no two of which overlap. Those that are settled come before all others.
#[derive(Debug, Default)]
pub(super) struct History {
    pieces: VecDeque<Piece>,
    /// Bytes of buffers that pieces keep alive.
    owned: usize,
}

impl History {
    /// Adds a piece, which overlaps none.
    pub(super) fn add(&mut self, piece: Piece) {
        let at = if self.pieces.back().is_none_or(|p| p.offset < piece.offset) {
            self.pieces.len()
        } else {
            self.pieces.partition_point(|p| p.offset < piece.offset)
        };
        self.insert(at, piece);
    }

    /// Forgets and returns a piece if there are more than [`HISTORY_PIECES`]: the one at the lowest
    /// offset, or the next one where that is `newest` and settled: what fills an old hole may be
    /// sent again as well.
    pub(super) fn forget(&mut self, newest: u64) -> Option<Piece> {
        if self.pieces.len() <= HISTORY_PIECES {
            return None;
        }
        let spared = |piece: &Piece| piece.offset == newest && piece.settled;
        let at = usize::from(self.pieces.front().is_some_and(spared));
        self.remove(at)
    }

    /// The pieces that overlap `start..end`, ascending.
    pub(super) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Piece> {
        let first = self.pieces.partition_point(|piece| piece.end() <= start);
        self.pieces
            .range(first..)
            .take_while(move |piece| piece.offset < end)
    }

    /// Puts `winner` in the place of a part of one piece.
    pub(super) fn replace(&mut self, winner: Piece) {
        let (start, end) = (winner.offset, winner.end());
        let at = self.pieces.partition_point(|piece| piece.end() <= start);
        let Some(old) = self.remove(at) else { return };
        if old.end() > end {
            self.insert(at, old.part(end, old.end()));
        }
        self.insert(at, winner);
        if old.offset < start {
            self.insert(at, old.part(old.offset, start));
        }
    }

    /// Settles the next piece, or part of it, that lies before `bound`, and returns it.
    pub(super) fn settle_before(&mut self, bound: u64) -> Option<Piece> {
        let at = self.pieces.partition_point(|piece| piece.settled);
        let next = self.pieces.get_mut(at).filter(|p| p.offset < bound)?;
        if next.end() <= bound {
            next.settled = true;
            return Some(next.clone());
        }
        let whole = self.remove(at)?;
        self.insert(at, whole.part(bound, whole.end()));
        let head = Piece {
            settled: true,
            ..whole.part(whole.offset, bound)
        };
        self.insert(at, head.clone());
        Some(head)
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.pieces.capacity() * size_of::<Piece>() + self.owned
    }

    fn insert(&mut self, at: usize, piece: Piece) {
        self.owned += piece.payload.owned_len();
        self.pieces.insert(at, piece);
    }

    fn remove(&mut self, at: usize) -> Option<Piece> {
        let piece = self.pieces.remove(at)?;
        self.owned -= piece.payload.owned_len();
        Some(piece)
    }
}
