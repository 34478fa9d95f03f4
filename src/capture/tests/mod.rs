//! Tests of the room: captures are built byte by byte here, so that each variant is had without a
//! file, and the same walks run over all of them.

mod damage;
mod formats;
mod input;
mod resync;
mod split;

use std::borrow::Cow;
use std::path::Path;

use super::detect::detect;
use super::{WalkState, WalkStats, Walker, Window};
use crate::model::RawFrame;

/// What a walk delivered, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) ns: Option<i64>,
    pub(super) link: u16,
    pub(super) data: Vec<u8>,
    pub(super) offset: u64,
    pub(super) original: u32,
    pub(super) fcs: u8,
}

impl Seen {
    fn of(frame: RawFrame<'_>) -> Seen {
        assert_eq!(frame.at.file(), 7);
        Seen {
            ns: frame.ts.ns(),
            link: frame.link.0,
            data: frame.data.to_vec(),
            offset: frame.at.offset(),
            original: frame.original_len,
            fcs: frame.fcs_len,
        }
    }
}

/// The state in which a walk of this capture begins.
pub(super) fn start(capture: &[u8]) -> WalkState {
    let head = &capture[..capture.len().min(64)];
    detect(Path::new("built"), head).unwrap()
}

/// A window from `from` of at most `size` bytes.
pub(super) fn window(capture: &[u8], from: u64, size: usize) -> Window<'_> {
    let rest = &capture[usize::try_from(from).unwrap()..];
    let size = size.min(rest.len());
    Window::new(Cow::Borrowed(&rest[..size]), from, 7, size == rest.len())
}

/// One walk of everything.
pub(super) fn walk(capture: &[u8]) -> (Vec<Seen>, WalkState, WalkStats) {
    let all = window(capture, 0, usize::MAX);
    let mut walker = Walker::new(&all, start(capture), u64::MAX);
    let frames: Vec<Seen> = walker.by_ref().map(Seen::of).collect();
    let (state, stats) = walker.finish();
    assert_eq!(stats.frames, frames.len() as u64);
    for frame in &frames {
        let at = usize::try_from(frame.offset).unwrap();
        assert_eq!(frame.data, capture[at..at + frame.data.len()], "{frame:?}");
    }
    (frames, state, stats)
}

/// Walks in pieces that end at `stops`, through windows that begin with `size` bytes and grow where
/// a walk makes no progress.
pub(super) fn walk_pieces(
    capture: &[u8],
    stops: &[u64],
    size: usize,
) -> (Vec<Seen>, WalkState, WalkStats) {
    let len = capture.len() as u64;
    let (mut frames, mut stats) = (Vec::new(), WalkStats::default());
    let mut state = start(capture);
    for stop in stops.iter().copied().chain([u64::MAX]) {
        let mut grown = size;
        while state.offset() < stop.min(len) {
            let part = window(capture, state.offset(), grown);
            let mut walker = Walker::new(&part, state.clone(), stop);
            frames.extend(walker.by_ref().map(Seen::of));
            assert!(walker.next().is_none(), "a walk that ended goes on");
            let (next, met) = walker.finish();
            stats.merge(&met);
            if next.offset() == state.offset() {
                assert!(!part.at_eof(), "no progress at the end of the file");
                grown *= 2;
            }
            state = next;
        }
    }
    (frames, state, stats)
}

/// One packet to put into a capture.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) seconds: u32,
    pub(super) fraction: u32,
    pub(super) data: Vec<u8>,
    pub(super) original: u32,
}

/// A plausible packet: number `n` of a capture, with `len` bytes.
pub(super) fn frame(n: u32, len: usize) -> Frame {
    let fill = u8::try_from(n % 200 + 17).unwrap();
    Frame {
        seconds: 1_700_000_000 + n / 10,
        fraction: n % 10 * 1000 + 1,
        data: vec![fill; len],
        original: u32::try_from(len).unwrap(),
    }
}

/// Integers of the chosen byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order(pub(super) bool);

impl Order {
    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        if self.0 {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        if self.0 {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }
}

/// The header of a classic pcap.
#[derive(Clone, Copy, Debug)]
pub(super) struct PcapFile {
    pub(super) magic: u32,
    pub(super) order: Order,
    pub(super) version: (u16, u16),
    pub(super) snaplen: u32,
    pub(super) network: u32,
}

pub(super) const MICROS: u32 = 0xa1b2_c3d4;
pub(super) const NANOS: u32 = 0xa1b2_3c4d;
pub(super) const MODIFIED: u32 = 0xa1b2_cd34;

impl PcapFile {
    pub(super) fn new(magic: u32, big_endian: bool) -> PcapFile {
        PcapFile {
            magic,
            order: Order(big_endian),
            version: (2, 4),
            snaplen: 65535,
            network: 1,
        }
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.order.u32(self.magic));
        bytes.extend(self.order.u16(self.version.0));
        bytes.extend(self.order.u16(self.version.1));
        bytes.extend([0; 8]);
        bytes.extend(self.order.u32(self.snaplen));
        bytes.extend(self.order.u32(self.network));
        bytes
    }

    pub(super) fn record(&self, frame: &Frame) -> Vec<u8> {
        let captured = u32::try_from(frame.data.len()).unwrap();
        let (first, second) = if self.version.1 < 3 {
            (frame.original, captured)
        } else {
            (captured, frame.original)
        };
        let mut bytes = Vec::new();
        for value in [frame.seconds, frame.fraction, first, second] {
            bytes.extend(self.order.u32(value));
        }
        if self.magic == MODIFIED {
            bytes.extend([0, 0, 0, 2, 8, 0, 1, 0]);
        }
        bytes.extend(&frame.data);
        bytes
    }

    pub(super) fn build(&self, frames: &[Frame]) -> Vec<u8> {
        let mut bytes = self.header();
        for frame in frames {
            bytes.extend(self.record(frame));
        }
        bytes
    }
}

/// A pcapng block around `body`, which is padded.
pub(super) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = order.u32(u32::try_from(padded + 12).unwrap());
    let mut bytes = Vec::new();
    bytes.extend(order.u32(kind));
    bytes.extend(len);
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(len);
    bytes
}

pub(super) fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(order.u16(code));
    bytes.extend(order.u16(u16::try_from(value.len()).unwrap()));
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub(super) fn section_header(order: Order) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(order.u32(0x1a2b_3c4d));
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend([0xff; 8]);
    block(order, 0x0a0d_0d0a, &body)
}

pub(super) fn interface(order: Order, link: u16, snaplen: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(order.u16(link));
    body.extend([0; 2]);
    body.extend(order.u32(snaplen));
    body.extend(options.concat());
    block(order, 1, &body)
}

/// An Enhanced Packet Block whose time is `units`.
pub(super) fn enhanced(
    order: Order,
    interface: u32,
    units: u64,
    frame: &Frame,
    options: &[Vec<u8>],
) -> Vec<u8> {
    let captured = u32::try_from(frame.data.len()).unwrap();
    let (high, low) = (units >> 32, units & 0xffff_ffff);
    let mut body = Vec::new();
    for value in [
        interface,
        u32::try_from(high).unwrap(),
        u32::try_from(low).unwrap(),
        captured,
        frame.original,
    ] {
        body.extend(order.u32(value));
    }
    body.extend(&frame.data);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options.concat());
    block(order, 6, &body)
}

pub(super) fn micros(frame: &Frame) -> u64 {
    u64::from(frame.seconds) * 1_000_000 + u64::from(frame.fraction)
}

pub(super) fn simple(order: Order, frame: &Frame) -> Vec<u8> {
    let mut body = order.u32(frame.original).to_vec();
    body.extend(&frame.data);
    block(order, 3, &body)
}

/// A small pcapng of two sections of different byte order, with every kind of block in it.
pub(super) fn mixed_pcapng() -> Vec<u8> {
    let mut bytes = Vec::new();
    for order in [Order(false), Order(true)] {
        bytes.extend(section_header(order));
        bytes.extend(interface(order, 1, 0, &[]));
        bytes.extend(enhanced(
            order,
            0,
            micros(&frame(1, 61)),
            &frame(1, 61),
            &[],
        ));
        bytes.extend(block(order, 4, &[0; 8]));
        bytes.extend(interface(order, 101, 40, &[option(order, 9, &[9])]));
        bytes.extend(enhanced(order, 1, 5_000_000_007, &frame(2, 40), &[]));
        bytes.extend(simple(order, &frame(3, 33)));
        bytes.extend(block(order, 0x8000_0777, b"local"));
        bytes.extend(enhanced(order, 0, micros(&frame(4, 0)), &frame(4, 0), &[]));
        bytes.extend(block(order, 5, &[0; 12]));
    }
    bytes
}

/// A small capture in each format.
pub(super) fn samples() -> Vec<Vec<u8>> {
    let frames: Vec<Frame> = (0..9)
        .map(|n| frame(n, 20 + (n as usize * 37) % 90))
        .collect();
    let mut samples = Vec::new();
    for big_endian in [false, true] {
        for magic in [MICROS, NANOS, MODIFIED] {
            samples.push(PcapFile::new(magic, big_endian).build(&frames));
        }
    }
    for minor in [2, 3] {
        let old = PcapFile {
            version: (2, minor),
            ..PcapFile::new(MICROS, true)
        };
        samples.push(old.build(&frames));
    }
    samples.push(mixed_pcapng());
    samples
}
