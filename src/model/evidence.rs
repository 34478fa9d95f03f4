//! Where bytes came from, and where copies of them disagree.

use super::{Direction, TcpFlags, Timestamp};

/// What a segment, or a part of one, is to what was captured before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SegmentKind {
    /// New bytes at the end of what was captured.
    Data,
    /// New bytes behind a hole's end: they fill a hole, wholly or in part.
    OutOfOrder,
    /// A copy of bytes captured before, the whole segment being one.
    Retransmit,
    /// A copy of bytes captured before, in a segment that also brings new ones.
    Overlap,
    /// A copy of bytes captured before that differs from them.
    Conflict,
    /// The filler of a keep-alive probe.
    Keepalive,
    /// Bytes that a receiver has no use for, in place of data; a sibling of [`SegmentKind::Keepalive`].
    Filler,
    /// No stream data: before offset 0, wild, on a RST, or in a hole that is closed up.
    Rejected,
    /// Beyond the depth to which streams are kept.
    Limit,
}

impl SegmentKind {
    /// The value of the `kind` column.
    pub const fn name(self) -> &'static str {
        match self {
            SegmentKind::Data => "data",
            SegmentKind::OutOfOrder => "out_of_order",
            SegmentKind::Retransmit => "retransmit",
            SegmentKind::Overlap => "overlap",
            SegmentKind::Conflict => "conflict",
            SegmentKind::Keepalive => "keepalive",
            SegmentKind::Filler => "filler",
            SegmentKind::Rejected => "rejected",
            SegmentKind::Limit => "limit",
        }
    }
}

/// What is known of a payload segment when it is captured, apart from its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFacts {
    /// Number of its frame.
    pub frame: u64,
    /// Index of the input file of its frame.
    pub file_id: u16,
    /// When it was captured.
    pub ts: Timestamp,
    /// Flags.
    pub flags: TcpFlags,
    /// Captured payload bytes of its flow up to and including it, by the side that sent them,
    /// lower first.
    pub totals: [u64; 2],
    /// Nanoseconds since the flow's payload segment before it; `None` for the first.
    pub since_last_ns: Option<i64>,
    /// The same, of its own direction.
    pub since_last_same_direction_ns: Option<i64>,
    /// Nanoseconds since the flow's first payload segment.
    pub elapsed_ns: Option<i64>,
}

/// A part of a payload segment, all of which met the same fate: one row of `segments.parquet`.
#[derive(Clone, Debug)]
pub struct SegmentPart {
    /// The flow.
    pub flow_id: u64,
    /// Its direction.
    pub direction: Direction,
    /// What it is to what was captured before.
    pub kind: SegmentKind,
    /// Its bytes stand in the stream until a later part says otherwise.
    pub kept: bool,
    /// Stream offset of its first byte, -1 for a probe before offset 0; `None` where it has none.
    pub offset: Option<i64>,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// How many bytes it has.
    pub length: u32,
    /// Where the first of them lies in its input file; `None` where the file as it stands does not hold
    /// them in one piece (put together from fragments, decompressed).
    pub file_offset: Option<u64>,
    /// The whole segment.
    pub facts: SegmentFacts,
    /// Captured payload bytes of the client, and of the server, up to the segment.
    pub totals: [u64; 2],
}

/// A range of stream offsets of which two copies differ: one row of `conflicts.parquet`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The flow.
    pub flow_id: u64,
    /// Its direction.
    pub direction: Direction,
    /// Offset of the first byte that differs.
    pub offset: u64,
    /// Bytes from there to the last that differs.
    pub length: u64,
    /// How many of them differ.
    pub differing: u64,
    /// The first of the bytes that stand.
    pub kept: Box<[u8]>,
    /// The first of those that do not.
    pub refused: Box<[u8]>,
    /// The frame that carried the bytes that stand.
    pub kept_frame: u64,
    /// The frame that carried the others.
    pub refused_frame: u64,
    /// Name of the policy that chose.
    pub policy: &'static str,
}
