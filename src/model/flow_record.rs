//! What is known of a flow when it ends: one row of the summary.

use super::{Encapsulation, FlowKey, Side, SynOptions, Timestamp};

/// A direction of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// From the client to the server.
    C2s,
    /// From the server to the client.
    S2c,
}

impl Direction {
    /// Both, in the order of the columns.
    pub const BOTH: [Direction; 2] = [Direction::C2s, Direction::S2c];

    /// `c2s` or `s2c`.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::C2s => "c2s",
            Direction::S2c => "s2c",
        }
    }

    /// 0 or 1, the place in [`FlowRecord::halves`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How the client was told from the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ClientBy {
    /// It sent the first SYN.
    Syn,
    /// It was sent a SYN-ACK.
    SynAck,
    /// Its peer alone has the port of a service; neither SYN nor SYN-ACK was seen.
    Port,
    /// It sent the first frame seen of a flow that was picked up mid-stream.
    FirstFrame,
}

impl ClientBy {
    /// All values, in the order of the declaration.
    pub const ALL: [ClientBy; 4] = [
        ClientBy::Syn,
        ClientBy::SynAck,
        ClientBy::Port,
        ClientBy::FirstFrame,
    ];

    /// The value of the `client_by` column.
    pub const fn name(self) -> &'static str {
        match self {
            ClientBy::Syn => "syn",
            ClientBy::SynAck => "synack",
            ClientBy::Port => "port",
            ClientBy::FirstFrame => "first_frame",
        }
    }
}

/// Why the flow's row was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndReason {
    /// Both sides sent FIN.
    Fin,
    /// A plausible RST.
    Rst,
    /// Established or half-closed, and silent for the idle timeout.
    Idle,
    /// The handshake did not complete within its timeout.
    HandshakeTimeout,
    /// A new connection took the same addresses and ports.
    Reuse,
    /// The memory budget was reached.
    Evicted,
    /// The input ended.
    Eof,
    /// The user interrupted the run.
    Interrupted,
}

impl EndReason {
    /// All values, in the order of the declaration.
    pub const ALL: [EndReason; 8] = [
        EndReason::Fin,
        EndReason::Rst,
        EndReason::Idle,
        EndReason::HandshakeTimeout,
        EndReason::Reuse,
        EndReason::Evicted,
        EndReason::Eof,
        EndReason::Interrupted,
    ];

    /// The value of the `end_reason` column.
    pub const fn name(self) -> &'static str {
        match self {
            EndReason::Fin => "fin",
            EndReason::Rst => "rst",
            EndReason::Idle => "idle",
            EndReason::HandshakeTimeout => "handshake_timeout",
            EndReason::Reuse => "reuse",
            EndReason::Evicted => "evicted",
            EndReason::Eof => "eof",
            EndReason::Interrupted => "interrupted",
        }
    }
}

/// Zeek's `conn_state` (its `base/protocols/conn` script names the thirteen values).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the values are Zeek's own names")]
pub enum ConnState {
    S0,
    S1,
    Sf,
    Rej,
    S2,
    S3,
    Rsto,
    Rstr,
    Rstos0,
    Rstrh,
    Sh,
    Shr,
    Oth,
}

impl ConnState {
    /// All values, in the order of the declaration.
    pub const ALL: [ConnState; 13] = [
        ConnState::S0,
        ConnState::S1,
        ConnState::Sf,
        ConnState::Rej,
        ConnState::S2,
        ConnState::S3,
        ConnState::Rsto,
        ConnState::Rstr,
        ConnState::Rstos0,
        ConnState::Rstrh,
        ConnState::Sh,
        ConnState::Shr,
        ConnState::Oth,
    ];

    /// The value of the `conn_state` column.
    pub const fn name(self) -> &'static str {
        match self {
            ConnState::S0 => "S0",
            ConnState::S1 => "S1",
            ConnState::Sf => "SF",
            ConnState::Rej => "REJ",
            ConnState::S2 => "S2",
            ConnState::S3 => "S3",
            ConnState::Rsto => "RSTO",
            ConnState::Rstr => "RSTR",
            ConnState::Rstos0 => "RSTOS0",
            ConnState::Rstrh => "RSTRH",
            ConnState::Sh => "SH",
            ConnState::Shr => "SHR",
            ConnState::Oth => "OTH",
        }
    }
}

/// Why bytes of a stream are missing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GapCause {
    /// Never captured, between bytes that were.
    Lost,
    /// In a captured frame, but beyond its snap length.
    Truncated,
    /// Beyond a limit the user set.
    Limit,
    /// Never captured, before the first captured byte.
    NotCapturedAtStart,
    /// Never captured, after the last captured byte; a FIN or an acknowledgement shows them.
    NotCapturedAtEnd,
}

impl GapCause {
    /// All values, in the order of the declaration.
    pub const ALL: [GapCause; 5] = [
        GapCause::Lost,
        GapCause::Truncated,
        GapCause::Limit,
        GapCause::NotCapturedAtStart,
        GapCause::NotCapturedAtEnd,
    ];

    /// The value of the `cause` column.
    pub const fn name(self) -> &'static str {
        match self {
            GapCause::Lost => "lost",
            GapCause::Truncated => "truncated",
            GapCause::Limit => "limit",
            GapCause::NotCapturedAtStart => "not_captured_at_start",
            GapCause::NotCapturedAtEnd => "not_captured_at_end",
        }
    }
}

/// A range of stream offsets that was never captured: one row of `gaps.parquet`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The flow.
    pub flow_id: u64,
    /// Its direction.
    pub direction: Direction,
    /// First missing stream offset.
    pub offset: u64,
    /// Missing bytes, at least 1.
    pub length: u64,
    /// Why.
    pub cause: GapCause,
    /// The hole is closed up in the payload file.
    pub elided: bool,
}

/// What a half-stream's SYN said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SynFacts {
    /// Initial sequence number.
    pub isn: u32,
    /// Its options.
    pub options: SynOptions,
}

/// What went wrong in one direction of a flow. With most flows nothing does, so that their rows, of which many
/// wait to be written, hold a pointer instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trouble {
    /// Bytes in gaps.
    pub gap_bytes: u64,
    /// Gaps.
    pub gaps: u64,
    /// Retransmitted segments, Wireshark's definition.
    pub retrans_packets: u64,
    /// Payload bytes of those.
    pub retrans_bytes: u64,
    /// Out-of-order segments, Wireshark's definition.
    pub ooo_packets: u64,
    /// Duplicate acknowledgements, Wireshark's definition.
    pub dup_acks: u64,
    /// Segments that announce a window of zero.
    pub zero_windows: u64,
    /// Keep-alives, Wireshark's definition.
    pub keepalives: u64,
    /// Captured bytes at offsets that had been captured before.
    pub overlap_bytes: u64,
    /// Those of them that differ from the bytes kept.
    pub conflict_bytes: u64,
    /// Captured payload bytes that are no stream data: text on a RST, wild segments, data before
    /// offset 0.
    pub rejected_bytes: u64,
    /// Those of them that might have found their place, had a table had more room.
    pub crowded_out_bytes: u64,
    /// Captured bytes refused by a limit.
    pub limit_bytes: u64,
    /// Overlapping bytes whose first copy was no longer at hand to compare with.
    pub unverified_bytes: u64,
    /// Payload bytes cut off by the snap length.
    pub truncated_bytes: u64,
}

/// One direction of a [`FlowRecord`]. All counts are of this direction's own segments, as captured.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HalfRecord {
    /// Segments.
    pub packets: u64,
    /// Lengths of the IP packets, summed, bytes.
    pub ip_bytes: u64,
    /// Captured payload bytes, retransmissions included.
    pub payload_bytes: u64,
    /// Unique bytes kept.
    pub stream_bytes: u64,
    /// Highest stream offset reached: `stream_bytes` and [`Trouble::gap_bytes`] together.
    pub stream_span: u64,
    /// What went wrong, if anything did.
    pub trouble: Option<Box<Trouble>>,
    /// What the SYN said; `None` = not seen.
    pub syn: Option<SynFacts>,
    /// All flags seen, or-ed.
    pub tcp_flags: u8,
}

impl HalfRecord {
    /// What went wrong.
    pub fn trouble(&self) -> Trouble {
        self.trouble.as_deref().copied().unwrap_or_default()
    }
}

/// One flow: one row of `flows.parquet`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    /// Number of its first frame.
    pub flow_id: u64,
    /// Both ends.
    pub key: FlowKey,
    /// Which of them is the client.
    pub client: Side,
    /// How that was told.
    pub client_by: ClientBy,
    /// VLANs and tunnels of its first frame, if it has any.
    pub encapsulation: Option<Box<Encapsulation>>,
    /// No SYN and no SYN-ACK was seen.
    pub midstream: bool,
    /// This is the n-th flow on its key, from 1.
    pub tuple_seq: u32,
    /// Least time over its frames.
    pub first_ts: Timestamp,
    /// Greatest time over its frames.
    pub last_ts: Timestamp,
    /// Nanoseconds from SYN to SYN-ACK.
    pub syn_rtt_ns: Option<i64>,
    /// Nanoseconds from SYN-ACK to the handshake's last ACK.
    pub ack_rtt_ns: Option<i64>,
    /// Zeek's summary of the connection.
    pub conn_state: ConnState,
    /// Zeek's history letters.
    pub history: String,
    /// Why it ended.
    pub end_reason: EndReason,
    /// Handshake, both FINs (or RST), no gap, no truncation, no conflict, nothing rejected.
    pub complete: bool,
    /// Client-to-server, then server-to-client.
    pub halves: [HalfRecord; 2],
    /// Number of its last frame.
    pub last_frame: u64,
    /// Index of the input file of its first frame.
    pub file_id: u16,
}
