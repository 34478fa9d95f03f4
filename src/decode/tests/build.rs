//! Builds packets from the inside out, and runs the decoder on them.

use std::net::Ipv4Addr;

use crate::config::{ChecksumMode, DecodeConfig, PolicyMap};
use crate::decode::{
    DecodeSink, DecodeStats, Decoder, EncapsulationTable, Fragment, FragmentTable,
};
use crate::model::{InputPos, LinkType, RawFrame, Segment, TimeUnit, Timestamp};

pub(in crate::decode) const TEXT: &[u8] = b"hello";
pub(in crate::decode) const ETHERNET: u16 = 1;

/// Joins pieces.
macro_rules! cat {
    ($($part:expr),* $(,)?) => {{
        let mut all: Vec<u8> = Vec::new();
        $(all.extend_from_slice(&$part[..]);)*
        all
    }};
}
pub(in crate::decode) use cat;

/// A segment from port 1000 to port 80, sequence number 7, acknowledging 9, ACK and PSH.
pub(in crate::decode) fn tcp(options: &[u8], payload: &[u8]) -> Vec<u8> {
    tcp_with_flags(0x18, options, payload)
}

pub(in crate::decode) fn tcp_with_flags(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let offset = u8::try_from(20 + options.len()).unwrap() / 4 * 16;
    cat![
        [
            3, 232, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, offset, flags, 16, 0, 0, 0, 0, 0
        ],
        options,
        payload
    ]
}

fn be(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

/// From 10.0.0.1 to 10.0.0.2.
pub(in crate::decode) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_fragment(protocol, 1, 0, false, payload)
}

pub(in crate::decode) fn ipv4_fragment(
    protocol: u8,
    id: u16,
    offset: u16,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let fragment = (offset / 8) | (u16::from(more) << 13);
    cat![
        [0x45, 0],
        be(20 + payload.len()),
        id.to_be_bytes(),
        fragment.to_be_bytes(),
        [64, protocol, 0, 0],
        Ipv4Addr::new(10, 0, 0, 1).octets(),
        Ipv4Addr::new(10, 0, 0, 2).octets(),
        payload
    ]
}

/// From `fd00::1` to `fd00::2`.
pub(in crate::decode) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let addr = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    cat![
        [0x60, 0, 0, 0],
        be(payload.len()),
        [next, 64],
        addr(1),
        addr(2),
        payload
    ]
}

pub(in crate::decode) fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    cat![
        [0xc0, 0],
        port.to_be_bytes(),
        be(8 + payload.len()),
        [0, 0],
        payload
    ]
}

pub(in crate::decode) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat![
        [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
        ethertype.to_be_bytes(),
        payload
    ]
}

/// LLC and SNAP with an Ethernet type.
pub(in crate::decode) fn snap(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    cat![[0xaa, 0xaa, 3, 0, 0, 0], ethertype.to_be_bytes(), payload]
}

/// The innermost packet of most tests: [`TEXT`] in TCP in IPv4.
pub(in crate::decode) fn packet() -> Vec<u8> {
    ipv4(6, &tcp(&[], TEXT))
}

/// The same in IPv6.
pub(in crate::decode) fn packet6() -> Vec<u8> {
    ipv6(6, &tcp(&[], TEXT))
}

/// What a decoder said about some frames.
#[derive(Default)]
pub(in crate::decode) struct Run {
    pub(in crate::decode) segments: Vec<Segment>,
    pub(in crate::decode) fragments: Vec<Fragment>,
    pub(in crate::decode) stats: DecodeStats,
    pub(in crate::decode) table: EncapsulationTable,
}

impl DecodeSink for Run {
    fn segment(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.fragments.push(fragment);
    }
}

/// A frame captured in full.
pub(in crate::decode) fn raw(link: u16, data: &[u8]) -> RawFrame<'_> {
    RawFrame {
        ts: Timestamp::from_ns(5),
        link: LinkType(link),
        data,
        at: InputPos::new(0, 0),
        original_len: u32::try_from(data.len()).unwrap(),
        unit: TimeUnit::Micro,
        fcs_len: 0,
    }
}

/// Decodes one frame.
pub(in crate::decode) fn decode(frame: &RawFrame<'_>) -> Run {
    decode_by(DecodeConfig::default(), frame)
}

/// Decodes one frame, dropping packets with a wrong checksum.
pub(in crate::decode) fn verify(frame: &RawFrame<'_>) -> Run {
    let config = DecodeConfig {
        checksum: ChecksumMode::Drop,
        ..DecodeConfig::default()
    };
    decode_by(config, frame)
}

pub(in crate::decode) fn decode_by(config: DecodeConfig, frame: &RawFrame<'_>) -> Run {
    let mut run = Run::default();
    let mut decoder = Decoder::new(config);
    decoder.frame(frame, 1, Timestamp::from_ns(6), &mut run);
    let whole: Vec<Fragment> = run
        .fragments
        .extract_if(.., |packet| packet.is_whole)
        .collect();
    let table = FragmentTable::new(0, PolicyMap::default());
    table.add(whole);
    let completed = table.complete(1, frame.data, &mut decoder);
    run.segments
        .extend(completed.into_iter().map(|pieced| pieced.segment));
    (run.table, run.stats) = decoder.finish();
    assert_eq!(run.stats.frames, 1);
    assert!(run.stats.is_balanced());
    run
}

/// The bytes of a segment's payload.
pub(in crate::decode) fn text(segment: &Segment, data: &[u8]) -> Vec<u8> {
    segment.payload.bytes(data).into_owned()
}

/// The frame carries [`TEXT`], and cut at any length it carries a beginning of it or nothing, and says
/// how much is missing, whatever length the capture recorded for the frame. Gives the names of its
/// tunnels.
pub(in crate::decode) fn carries_text(link: u16, data: &[u8]) -> String {
    carries(link, data, Some(TEXT.len()))
}

/// The same of a packet that declares no length: there the recorded length decides.
pub(in crate::decode) fn carries_text_undeclared(link: u16, data: &[u8]) -> String {
    carries(link, data, None)
}

fn carries(link: u16, data: &[u8], declared: Option<usize>) -> String {
    for length in 0..data.len() {
        let short = raw(link, &data[..length]);
        let snapped = RawFrame {
            original_len: u32::try_from(data.len()).unwrap(),
            ..short
        };
        for (frame, wire_len) in [(short, declared), (snapped, Some(TEXT.len()))] {
            for segment in &decode(&frame).segments {
                let got = text(segment, frame.data);
                assert!(TEXT.starts_with(&got), "cut at {length}: {got:?}");
                let wire_len = wire_len.unwrap_or(got.len());
                assert_eq!(segment.wire_len() as usize, wire_len, "cut at {length}");
            }
        }
    }
    let run = decode(&raw(link, data));
    let [segment] = &run.segments[..] else {
        let why: Vec<_> = run.stats.all_undecoded().collect();
        let other: Vec<_> = run.stats.others().collect();
        panic!("{} segments, {why:?}, {other:?}", run.segments.len());
    };
    assert_eq!(text(segment, data), TEXT);
    assert_eq!((segment.seq, segment.ack, segment.window), (7, 9, 0x1000));
    assert_eq!(segment.key.end(segment.from).port, 1000);
    assert_eq!(segment.key.end(segment.from.other()).port, 80);
    assert_eq!((segment.frame, segment.truncated), (1, 0));
    assert_eq!(run.stats.tcp, 1);
    let encapsulation = run.table.resolve(segment.encapsulation);
    encapsulation.tunnel_text().unwrap_or_default()
}
