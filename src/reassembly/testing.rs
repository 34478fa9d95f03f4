//! Segments for tests.

use crate::model::{
    Endpoint, FlowKey, InputPos, Payload, Segment, SynOptions, TcpFlags, Timestamp,
};

/// A time in milliseconds.
pub(crate) fn ms(at: i64) -> i64 {
    at * 1_000_000
}

/// Builds a segment between 10.0.0.1:1000 (the client) and 10.0.0.2:80.
pub(crate) struct SegmentBuilder(Segment);

impl SegmentBuilder {
    pub(crate) fn client(seq: u32, ack: u32) -> SegmentBuilder {
        SegmentBuilder::new(true, seq, ack)
    }

    pub(crate) fn server(seq: u32, ack: u32) -> SegmentBuilder {
        SegmentBuilder::new(false, seq, ack)
    }

    fn new(from_client: bool, seq: u32, ack: u32) -> SegmentBuilder {
        let client = Endpoint::v4([10, 0, 0, 1], 1000);
        let server = Endpoint::v4([10, 0, 0, 2], 80);
        let (key, from) = if from_client {
            FlowKey::v4(client, server)
        } else {
            FlowKey::v4(server, client)
        };
        SegmentBuilder(Segment {
            key,
            from,
            frame: 1,
            ordinal: 0,
            ts: Timestamp::from_ns(0),
            watermark: Timestamp::from_ns(0),
            seq,
            ack,
            window: 1000,
            flags: TcpFlags(TcpFlags::ACK),
            has_sack: false,
            mark: 0,
            syn_options: SynOptions::default(),
            payload: Payload::EMPTY,
            truncated: 0,
            ip_bytes: 40,
            encapsulation: 0,
            file_id: 0,
        })
    }

    /// Payload at the given place of the input.
    pub(crate) fn payload(mut self, at: u64, len: u32) -> SegmentBuilder {
        self.0.payload = Payload::Input {
            at: InputPos::new(0, at),
            len,
        };
        self.0.ip_bytes = 40 + len;
        self
    }

    pub(crate) fn data(self, len: u32) -> SegmentBuilder {
        self.payload(0, len)
    }

    pub(crate) fn truncated(mut self, len: u32) -> SegmentBuilder {
        self.0.truncated = len;
        self
    }

    pub(crate) fn at(mut self, ns: i64) -> SegmentBuilder {
        self.0.ts = Timestamp::from_ns(ns);
        self.0.watermark = self.0.ts;
        self
    }

    pub(crate) fn frame(mut self, frame: u64) -> SegmentBuilder {
        self.0.frame = frame;
        self
    }

    pub(crate) fn ack(mut self, ack: u32) -> SegmentBuilder {
        self.0.ack = ack;
        self
    }

    pub(crate) fn mark(mut self, mark: u16) -> SegmentBuilder {
        self.0.mark = mark;
        self
    }

    pub(crate) fn window(mut self, window: u16) -> SegmentBuilder {
        self.0.window = window;
        self
    }

    pub(crate) fn flags(mut self, flags: u8) -> SegmentBuilder {
        self.0.flags = TcpFlags(flags);
        self
    }

    pub(crate) fn syn(self) -> SegmentBuilder {
        self.flags(TcpFlags::SYN)
    }

    pub(crate) fn syn_ack(self) -> SegmentBuilder {
        self.flags(TcpFlags::SYN | TcpFlags::ACK)
    }

    pub(crate) fn fin(self) -> SegmentBuilder {
        self.flags(TcpFlags::FIN | TcpFlags::ACK)
    }

    pub(crate) fn rst(self) -> SegmentBuilder {
        self.flags(TcpFlags::RST | TcpFlags::ACK)
    }

    pub(crate) fn build(self) -> Segment {
        self.0
    }
}
