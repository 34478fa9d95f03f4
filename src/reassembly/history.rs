//! The recent pieces of a half-stream: what later copies are compared with, and what may still be
//! replaced.

use smallvec::SmallVec;

use crate::model::Payload;

/// Pieces kept for comparison with later copies. A copy of something older still counts as
/// overlap, but as not verified. The number is a choice: at 1,460 bytes a segment it spans 370 KB,
/// more than a round trip's worth of most paths, and costs 16 KB for a busy half-stream.
pub(super) const HISTORY_PIECES: usize = 256;

/// Pieces that need no memory of their own: most half-streams of most captures have no more.
const IN_PLACE: usize = 2;

/// Bytes that stand at the moment.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Stream offset of the first byte.
    pub offset: u64,
    /// The bytes.
    pub payload: Payload,
    /// Twice the number of the frame that carried them, and one more once they are settled.
    tag: u64,
}

impl Piece {
    /// Bytes at a stream offset, and the frame that carried them. What is settled, nothing replaces.
    pub(super) const fn new(offset: u64, payload: Payload, frame: u64, settled: bool) -> Piece {
        Piece {
            offset,
            payload,
            tag: frame << 1 | settled as u64,
        }
    }

    /// Number of the frame that carried them.
    pub(super) const fn frame(&self) -> u64 {
        self.tag >> 1
    }

    /// Nothing replaces them any more.
    pub(super) const fn is_settled(&self) -> bool {
        self.tag & 1 != 0
    }

    fn settle(&mut self) {
        self.tag |= 1;
    }

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
    /// The first `gone` of them are forgotten: taking each out at the front would move all others.
    pieces: SmallVec<[Piece; IN_PLACE]>,
    gone: u32,
    /// How many of the others are settled.
    settled: u32,
    /// Bytes of buffers that pieces keep alive.
    owned: u32,
}

impl History {
    fn pieces(&self) -> &[Piece] {
        self.pieces.get(self.gone as usize..).unwrap_or_default()
    }

    /// Adds a piece, which overlaps none.
    pub(super) fn add(&mut self, piece: Piece) {
        let pieces = self.pieces();
        let at = if pieces.last().is_none_or(|p| p.offset < piece.offset) {
            pieces.len()
        } else {
            pieces.partition_point(|p| p.offset < piece.offset)
        };
        self.insert(at, piece);
    }

    /// Whether there are more than [`HISTORY_PIECES`].
    #[inline]
    pub(super) fn is_too_long(&self) -> bool {
        self.pieces.len() - self.gone as usize > HISTORY_PIECES
    }

    /// Forgets and returns a piece if there are more than [`HISTORY_PIECES`]: the one at the lowest
    /// offset, or the next one where that is `newest` and settled: what fills an old hole may be
    /// sent again as well.
    pub(super) fn forget(&mut self, newest: u64) -> Option<Piece> {
        let pieces = self.pieces();
        if pieces.len() <= HISTORY_PIECES {
            return None;
        }
        let spared = |piece: &Piece| piece.offset == newest && piece.is_settled();
        let at = usize::from(pieces.first().is_some_and(spared));
        self.remove(at)
    }

    /// The pieces that overlap `start..end`, ascending.
    pub(super) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Piece> {
        let pieces = self.pieces();
        let first = pieces.partition_point(|piece| piece.end() <= start);
        let last = pieces.partition_point(|piece| piece.offset < end);
        pieces.get(first..last).unwrap_or_default().iter()
    }

    /// Puts `winner` in the place of a part of one piece.
    pub(super) fn replace(&mut self, winner: Piece) {
        let (start, end) = (winner.offset, winner.end());
        let at = self.pieces().partition_point(|piece| piece.end() <= start);
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
        let at = self.settled as usize;
        let next = self.pieces.get_mut(self.gone as usize + at);
        let next = next.filter(|p| p.offset < bound)?;
        if next.end() <= bound {
            next.settle();
            self.settled += 1;
            return Some(next.clone());
        }
        let whole = self.remove(at)?;
        self.insert(at, whole.part(bound, whole.end()));
        let mut head = whole.part(whole.offset, bound);
        head.settle();
        self.insert(at, head.clone());
        Some(head)
    }

    /// Takes out everything from `end` on.
    pub(super) fn truncate(&mut self, end: u64) {
        while let Some(last) = self.pieces().last()
            && last.end() > end
        {
            let at = self.pieces().len() - 1;
            let Some(last) = self.remove(at) else { return };
            if last.offset < end {
                self.insert(at, last.part(last.offset, end));
            }
        }
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        let pieces = if self.pieces.spilled() {
            self.pieces.capacity() * size_of::<Piece>()
        } else {
            0
        };
        pieces + self.owned as usize
    }

    fn insert(&mut self, at: usize, piece: Piece) {
        self.owned = self.owned.saturating_add(owned_len(&piece));
        self.settled += u32::from(piece.is_settled());
        self.pieces.insert(self.gone as usize + at, piece);
    }

    fn remove(&mut self, at: usize) -> Option<Piece> {
        if at >= self.pieces().len() {
            return None;
        }
        let piece = if at == 0 {
            let first = self.pieces.get_mut(self.gone as usize)?;
            let piece = std::mem::replace(first, Piece::new(0, Payload::EMPTY, 0, true));
            self.gone += 1;
            if self.gone as usize >= HISTORY_PIECES - 1 {
                self.pieces.drain(..self.gone as usize);
                self.gone = 0;
            }
            piece
        } else {
            self.pieces.remove(self.gone as usize + at)
        };
        self.owned = self.owned.saturating_sub(owned_len(&piece));
        self.settled -= u32::from(piece.is_settled());
        Some(piece)
    }
}

/// Bytes of the buffer that a piece keeps alive, its share: less than 2¹⁶ for a segment, and there are no more
/// than a few hundred.
fn owned_len(piece: &Piece) -> u32 {
    u32::try_from(piece.payload.owned_len()).unwrap_or(u32::MAX)
}
