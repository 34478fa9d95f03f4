//! One decoded TCP segment.

use super::{FlowKey, Payload, Side, Timestamp};

/// The flags of a TCP header (RFC 9293, 3.1), as the low eight bits of its flag field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push function.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;

    /// Whether FIN is set.
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
    /// Whether SYN is set.
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }
    /// Whether RST is set.
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }
    /// Whether ACK is set.
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// The options of a SYN that the summary keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SynOptions {
    /// Maximum segment size (RFC 9293, 3.7.1), bytes.
    pub mss: Option<u16>,
    /// Window scale shift (RFC 7323, 2.2), as sent; shifts above 14 count as 14 there.
    pub wscale: Option<u8>,
    /// SACK permitted (RFC 2018, 2).
    pub sack_permitted: bool,
}

/// Bits of a flow id that hold the number of its first frame.
const FRAME_BITS: u32 = 40;

/// The number of a flow's first frame.
pub const fn first_frame(flow_id: u64) -> u64 {
    flow_id & ((1 << FRAME_BITS) - 1)
}

/// Place of the first segment that a frame of several packets completes, so that no flow id is given twice:
/// the longest frame there is, of 128 MiB, has room for half as many headers of IP and TCP. As many again
/// keep a flow id positive.
pub const PIECED_ORDINAL: u32 = 1 << (62 - FRAME_BITS);

/// One TCP segment, without its bytes.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Both ends, order-free.
    pub key: FlowKey,
    /// Which end sent it.
    pub from: Side,
    /// Number of its frame, from 1 over the whole input. (Within a chunk that was decoded on its
    /// own it counts from 1 in the chunk, until the join adds the chunk's base.)
    pub frame: u64,
    /// Its place among the segments of its frame, from 0, or from [`PIECED_ORDINAL`] for those of
    /// datagrams that the frame completed. Only aggregates (802.11) hold several.
    pub ordinal: u32,
    /// When it was captured.
    pub ts: Timestamp,
    /// The greatest time of any frame up to and including this one.
    pub watermark: Timestamp,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; means nothing without the ACK flag.
    pub ack: u32,
    /// Receive window as sent, unscaled.
    pub window: u16,
    /// Flags.
    pub flags: TcpFlags,
    /// Whether the segment carries SACK blocks (RFC 2018, 3).
    pub has_sack: bool,
    /// A digest of IPv4 identification and TCP checksum, by which a copy of the packet is known; 0 for
    /// an acknowledgement without an identification, which a receiver may repeat as it is.
    pub mark: u16,
    /// Options, where SYN is set.
    pub syn_options: SynOptions,
    /// Captured payload, bounded by the IP length: link padding is not in it.
    pub payload: Payload,
    /// Payload bytes that the IP length declares and the capture cut off (snap length).
    pub truncated: u32,
    /// Length of the IP packet as its header declares it, bytes; the captured length where the
    /// header says 0 (segmentation offload).
    pub ip_bytes: u32,
    /// Index of its encapsulation in the chunk's table.
    pub encapsulation: u32,
    /// Index of the input file of its frame; 0 until the join, which alone knows the files.
    pub file_id: u16,
}

impl Segment {
    /// The id of a flow that begins with this segment: the number of its frame, and from the second
    /// segment of a frame on its place above bit 40, so that ids are distinct.
    pub const fn flow_id(&self) -> u64 {
        self.frame | (self.ordinal as u64) << FRAME_BITS
    }

    /// Whether it takes up sequence numbers, of which a RST has none of its own (RFC 9293, 3.4).
    pub fn occupies(&self) -> bool {
        self.wire_len() > 0 || self.flags.syn() || self.flags.fin()
    }

    /// Payload bytes on the wire: captured and cut off.
    pub fn wire_len(&self) -> u32 {
        self.payload.len().saturating_add(self.truncated)
    }
}
