//! Cuts payload into the rows of the payload parts, by reference.
//!
//! Pieces are collected as they come, a *window* of them at a time; then they are sorted by
//! half-stream and offset, and consecutive ones make a row. A row ends at a hole, at a multiple of
//! [`RowLimits::cell_bytes`] of the stream offset, and at the end of the window, but for this: where
//! bytes came lately that do not fill the last cell of a half-stream, they go over to the next
//! window. So segments that were out of order stand in one row in order, and most flows are not cut
//! by windows.
//!
//! Each decision here follows from the shard's data and never from where batches end, and so the
//! rows and their order are a function of input and options. Data must be
//! told once: a byte told again would come as a further row.

use crate::model::{Direction, Payload};
use crate::reassembly::event::StreamData;

/// When rows and windows end. The numbers decide the bytes of the parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowLimits {
    /// The most bytes that a row may have; no row reaches across a multiple of it.
    pub(super) cell_bytes: u64,
    /// Payload bytes that fill a window.
    pub(super) window_bytes: u64,
    /// Memory that a window may take, bytes.
    pub(super) window_memory: usize,
}

impl RowLimits {
    /// Rows of 64 KiB are large enough that little is spent on each, and small enough that readers
    /// hold many. A window is a row group, which readers share out among threads. There are 64
    /// shards, so what waits takes 128 MiB at most, and refers to 512 MiB of the input.
    pub(super) const DEFAULT: RowLimits = RowLimits {
        cell_bytes: 64 << 10,
        window_bytes: 8 << 20,
        window_memory: 2 << 20,
    };
}

/// A row: consecutive bytes of one half-stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// The flow.
    pub(super) flow_id: u64,
    /// Its direction.
    pub(super) direction: Direction,
    /// Stream offset of the first byte.
    pub(super) offset: u64,
    /// Bytes in it.
    pub(super) len: u32,
    /// How many of the group's pieces hold them.
    pub(super) pieces: u32,
}

/// Rows that are written together.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The rows in their order.
    pub(super) rows: Vec<Row>,
    /// The bytes of all rows, one after the other.
    pub(super) pieces: Vec<Payload>,
}

/// Bytes that wait, within one cell.
#[derive(Debug)]
struct Piece {
    flow_id: u64,
    direction: Direction,
    /// Place in the order in which the pieces of the window came.
    order: u32,
    offset: u64,
    payload: Payload,
}

impl Piece {
    fn memory(&self) -> usize {
        size_of::<Piece>() + self.payload.owned_len()
    }
}

/// The rows of one shard under way.
#[derive(Debug)]
pub(super) struct RowCutter {
    limits: RowLimits,
    window: Vec<Piece>,
    bytes: u64,
    memory: usize,
    full: Vec<Group>,
}

impl RowCutter {
    pub(super) fn new(limits: RowLimits) -> RowCutter {
        RowCutter {
            limits,
            window: Vec::new(),
            bytes: 0,
            memory: 0,
            full: Vec::new(),
        }
    }

    /// Takes bytes of a half-stream.
    pub(super) fn data(&mut self, data: &StreamData) {
        let cell = self.limits.cell_bytes;
        let (mut done, len) = (0, data.payload.len());
        while done < len {
            let offset = data.offset.saturating_add(u64::from(done));
            let room = u32::try_from(cell - offset % cell).unwrap_or(u32::MAX);
            let piece = Piece {
                flow_id: data.flow.flow_id,
                direction: data.direction,
                order: u32::try_from(self.window.len()).unwrap_or(u32::MAX),
                offset,
                payload: data.payload.slice(done, room),
            };
            done += piece.payload.len();
            self.bytes += u64::from(piece.payload.len());
            self.memory += piece.memory();
            self.window.push(piece);
        }
        let RowLimits {
            window_bytes,
            window_memory,
            ..
        } = self.limits;
        if self.is_filled(window_bytes, window_memory) {
            self.end_window(true);
            // Where too much goes over, all of it is written after all.
            if self.is_filled(window_bytes / 2, window_memory / 2) {
                self.end_window(false);
            }
        }
    }

    /// Row groups that are complete.
    pub(super) fn take_full(&mut self) -> Vec<Group> {
        std::mem::take(&mut self.full)
    }

    /// The last rows.
    pub(super) fn finish(&mut self) -> Vec<Group> {
        self.end_window(false);
        self.take_full()
    }

    /// Memory of what waits, bytes.
    #[cfg(test)]
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    fn is_filled(&self, bytes: u64, memory: usize) -> bool {
        self.bytes >= bytes || self.memory >= memory
    }

    /// Makes rows of the pieces. With `carry`, some go over to the next window.
    fn end_window(&mut self, carry: bool) {
        let recent = self.window.len() - self.window.len() / 4;
        self.window
            .sort_unstable_by_key(|p| (p.flow_id, p.direction, p.offset, p.order));
        let cell = self.limits.cell_bytes;
        let mut group = Group::default();
        for half in self
            .window
            .chunk_by_mut(|a, b| (a.flow_id, a.direction) == (b.flow_id, b.direction))
        {
            let carried = if carry {
                open_end(half, cell, recent)
            } else {
                0
            };
            let (now, _) = half.split_at_mut(half.len() - carried);
            group.push(now, cell);
        }
        // What became a row has left its place empty.
        self.window.retain(|piece| !piece.payload.is_empty());
        for (order, piece) in (0..).zip(&mut self.window) {
            piece.order = order;
        }
        self.bytes = self.window.iter().map(|p| u64::from(p.payload.len())).sum();
        self.memory = self.window.iter().map(Piece::memory).sum();
        if !group.rows.is_empty() {
            self.full.push(group);
        }
    }
}

/// How many of the last pieces of a half-stream are in a cell that may yet be filled: one that is
/// not full, and of which a piece came lately.
fn open_end(half: &[Piece], cell: u64, recent: usize) -> usize {
    let Some(last) = half.last().map(|piece| piece.offset / cell) else {
        return 0;
    };
    let open = &half[half.partition_point(|piece| piece.offset / cell < last)..];
    let bytes: u64 = open
        .iter()
        .map(|piece| u64::from(piece.payload.len()))
        .sum();
    let is_recent = open.iter().any(|piece| piece.order as usize >= recent);
    if bytes < cell && is_recent {
        open.len()
    } else {
        0
    }
}

impl Group {
    /// Takes pieces of one half-stream, in order of offset, and leaves empty ones.
    fn push(&mut self, pieces: &mut [Piece], cell: u64) {
        let mut end = None;
        for piece in pieces {
            let payload = std::mem::replace(&mut piece.payload, Payload::EMPTY);
            let len = payload.len();
            match self.rows.last_mut() {
                Some(row) if end == Some(piece.offset) && piece.offset % cell != 0 => {
                    row.len += len;
                    row.pieces += 1;
                }
                _ => self.rows.push(Row {
                    flow_id: piece.flow_id,
                    direction: piece.direction,
                    offset: piece.offset,
                    len,
                    pieces: 1,
                }),
            }
            end = piece.offset.checked_add(u64::from(len));
            self.pieces.push(payload);
        }
    }
}
