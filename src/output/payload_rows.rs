//! Cuts payload into the rows of the payload parts, by reference.
//!
//! A half-stream is laid out in cells, which begin at the multiples of [`RowLimits::cell_bytes`] of
//! its stream offset. The bytes of a cell become a row when the cell is full or the flow ends, so
//! segments that came out of order stand in one row in order. A cell with a hole makes a row for
//! each side of it.
//!
//! Each decision here follows from the shard's data and from where flows end, never from where
//! batches do, and so the rows and their order are a function of input and options. Data must be
//! told once: a byte told again would come as a further row.

use hashbrown::HashMap;

use super::payload::HalfKey;
use crate::model::{Direction, Payload};
use crate::reassembly::event::StreamData;

/// When rows are cut and groups of rows are full. The numbers decide the bytes of the parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowLimits {
    /// Stream bytes in a cell: the most that a row may have.
    pub(super) cell_bytes: u32,
    /// Cells of one half-stream that may wait for bytes; beyond that the first is given up. It is
    /// how far, in cells, reordering may reach without a row of its own.
    pub(super) open_cells: usize,
    /// Memory that all waiting cells of a shard may take, bytes; beyond it all of them are given up.
    pub(super) open_memory: usize,
    /// Payload bytes that fill a row group.
    pub(super) group_bytes: u64,
    /// Memory that a row group under way may take, bytes.
    pub(super) group_memory: usize,
}

impl RowLimits {
    /// Rows of 64 KiB are large enough that little is spent on each, and small enough that readers
    /// hold many. There are 64 shards, so what waits takes 192 MiB at most, and that only with very
    /// many flows at once or very small segments.
    pub(super) const DEFAULT: RowLimits = RowLimits {
        cell_bytes: 64 << 10,
        open_cells: 16,
        open_memory: 2 << 20,
        group_bytes: 8 << 20,
        group_memory: 1 << 20,
    };
}

/// About what a cell and its place in the table take, bytes.
const CELL_MEMORY: usize = 128;

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
    bytes: u64,
    /// Bytes of buffers that pieces keep alive.
    owned: usize,
}

impl Group {
    fn push(&mut self, (flow_id, direction): HalfKey, cell: Cell) {
        let mut end = None;
        for Piece { offset, payload } in cell.pieces {
            let len = payload.len();
            match self.rows.last_mut() {
                Some(row) if end == Some(offset) => {
                    row.len += len;
                    row.pieces += 1;
                }
                _ => self.rows.push(Row {
                    flow_id,
                    direction,
                    offset,
                    len,
                    pieces: 1,
                }),
            }
            end = offset.checked_add(u64::from(len));
            self.bytes += u64::from(len);
            self.owned += payload.owned_len();
            self.pieces.push(payload);
        }
    }

    fn is_full(&self, limits: &RowLimits) -> bool {
        let memory = size_of_val(&*self.rows) + size_of_val(&*self.pieces) + self.owned;
        self.bytes >= limits.group_bytes || memory >= limits.group_memory
    }
}

/// Bytes of a cell that were captured so far.
#[derive(Debug)]
struct Cell {
    /// Its first offset, in cells.
    index: u64,
    bytes: u32,
    /// By offset.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    offset: u64,
    payload: Payload,
}

impl Piece {
    fn memory(&self) -> usize {
        size_of::<Piece>() + self.payload.owned_len()
    }
}

impl Cell {
    fn new(index: u64) -> Cell {
        Cell {
            index,
            bytes: 0,
            pieces: Vec::new(),
        }
    }

    fn add(&mut self, piece: Piece) {
        self.bytes = self.bytes.saturating_add(piece.payload.len());
        // Mostly in order.
        let in_order = self.pieces.last().is_none_or(|p| p.offset <= piece.offset);
        let at = if in_order {
            self.pieces.len()
        } else {
            self.pieces.partition_point(|p| p.offset <= piece.offset)
        };
        self.pieces.insert(at, piece);
    }

    fn memory(&self) -> usize {
        CELL_MEMORY + self.pieces.iter().map(Piece::memory).sum::<usize>()
    }
}

/// The rows of one shard under way.
#[derive(Debug)]
pub(super) struct RowCutter {
    limits: RowLimits,
    /// Cells that wait for bytes, by index.
    open: HashMap<HalfKey, Vec<Cell>>,
    open_memory: usize,
    group: Group,
    full: Vec<Group>,
}

impl RowCutter {
    pub(super) fn new(limits: RowLimits) -> RowCutter {
        RowCutter {
            limits,
            open: HashMap::new(),
            open_memory: 0,
            group: Group::default(),
            full: Vec::new(),
        }
    }

    /// Takes bytes of a half-stream.
    pub(super) fn data(&mut self, data: &StreamData) {
        let key = (data.flow.flow_id, data.direction);
        let cell_bytes = u64::from(self.limits.cell_bytes);
        let (mut done, len) = (0, data.payload.len());
        while done < len {
            let offset = data.offset.saturating_add(u64::from(done));
            let room = cell_bytes - offset % cell_bytes;
            let payload = data
                .payload
                .slice(done, u32::try_from(room).unwrap_or(u32::MAX));
            done += payload.len();
            self.piece(key, Piece { offset, payload });
        }
    }

    /// Nothing more comes for this flow: what waits of it becomes rows.
    pub(super) fn flow_ended(&mut self, flow_id: u64) {
        for direction in Direction::BOTH {
            let key = (flow_id, direction);
            for cell in self.open.remove(&key).unwrap_or_default() {
                self.cut(key, cell);
            }
        }
    }

    /// Row groups that are full.
    pub(super) fn take_full(&mut self) -> Vec<Group> {
        std::mem::take(&mut self.full)
    }

    /// The last rows. All flows have ended.
    pub(super) fn finish(&mut self) -> Vec<Group> {
        self.cut_all();
        if !self.group.rows.is_empty() {
            self.full.push(std::mem::take(&mut self.group));
        }
        self.take_full()
    }

    /// Memory that waiting cells take, bytes.
    #[cfg(test)]
    pub(super) const fn open_memory(&self) -> usize {
        self.open_memory
    }

    fn piece(&mut self, key: HalfKey, piece: Piece) {
        let cells = self.open.entry(key).or_default();
        let index = piece.offset / u64::from(self.limits.cell_bytes);
        let at = cells.partition_point(|cell| cell.index < index);
        if cells.get(at).is_none_or(|cell| cell.index != index) {
            cells.insert(at, Cell::new(index));
            self.open_memory += CELL_MEMORY;
        }
        self.open_memory += piece.memory();
        cells[at].add(piece);
        let over = if cells[at].bytes >= self.limits.cell_bytes {
            Some(at)
        } else {
            (cells.len() > self.limits.open_cells).then_some(0)
        };
        if let Some(over) = over {
            let cell = cells.remove(over);
            if cells.is_empty() {
                self.open.remove(&key);
            }
            self.cut(key, cell);
        }
        if self.open_memory > self.limits.open_memory {
            self.cut_all();
        }
    }

    /// Gives up every cell that waits, in an order that does not depend on the table's.
    fn cut_all(&mut self) {
        let mut open: Vec<(HalfKey, Vec<Cell>)> = self.open.drain().collect();
        open.sort_unstable_by_key(|&(key, _)| key);
        for (key, cells) in open {
            for cell in cells {
                self.cut(key, cell);
            }
        }
    }

    fn cut(&mut self, key: HalfKey, cell: Cell) {
        self.open_memory = self.open_memory.saturating_sub(cell.memory());
        self.group.push(key, cell);
        if self.group.is_full(&self.limits) {
            self.full.push(std::mem::take(&mut self.group));
        }
    }
}
