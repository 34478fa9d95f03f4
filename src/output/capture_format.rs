//! Capture files as they are written: pcap (draft-ietf-opsawg-pcap), and pcapng
//! (draft-ietf-opsawg-pcapng) for what that cannot hold. Both are little-endian.

use crate::config::SECOND_NS;
use crate::model::{FrameRef, InputPos, LinkType, TimeUnit, Timestamp};

/// Length of a pcap file header, bytes.
pub(super) const PCAP_HEADER: usize = 24;
/// Length of a pcap record header, bytes.
pub(super) const PCAP_RECORD: usize = 16;

/// What libpcap takes for the longest packet there is (its `MAXIMUM_SNAPLEN`), bytes.
const SNAP_LENGTH: u32 = 262_144;

/// What `if_tsoffset` says for times before 1970: the least time there is, in seconds.
const BEFORE_EPOCH: i64 = i64::MIN.div_euclid(SECOND_NS);

/// What frames of one capture file, or of one interface of it, have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    link: LinkType,
    unit: TimeUnit,
    fcs_len: u8,
    /// Times before 1970.
    before_epoch: bool,
}

impl Interface {
    /// That of a frame.
    pub(super) fn of(frame: &FrameRef) -> Interface {
        Interface {
            link: frame.link,
            unit: frame.unit,
            fcs_len: frame.fcs_len,
            before_epoch: time(frame.ts) < 0,
        }
    }

    /// The unit of time, nanoseconds.
    const fn unit_ns(self) -> i64 {
        match self.unit {
            TimeUnit::Micro => 1000,
            TimeUnit::Nano => 1,
        }
    }
}

/// Whether a pcap file can hold the frame: it has 32 bits for the seconds since 1970.
pub(super) fn fits_pcap(frame: &FrameRef) -> bool {
    u32::try_from(time(frame.ts).div_euclid(SECOND_NS)).is_ok()
}

/// A frame without a time gets the epoch: neither format can say that there is none, but for packets
/// of a first interface that were not cut.
fn time(ts: Timestamp) -> i64 {
    ts.ns().unwrap_or(0)
}

/// Appends a pcap file header.
pub(super) fn push_pcap_header(out: &mut Vec<u8>, interface: Interface) {
    let magic: u32 = match interface.unit {
        TimeUnit::Micro => 0xa1b2_c3d4,
        TimeUnit::Nano => 0xa1b2_3c4d,
    };
    // The upper bits tell of the check sequence, in units of 16 bits (section 4 there).
    let fcs = match interface.fcs_len {
        0 => 0,
        len => u32::from(len / 2) << 28 | 1 << 26,
    };
    push_u32(out, magic);
    out.extend([2, 0, 4, 0]);
    out.extend([0; 8]);
    push_u32(out, SNAP_LENGTH);
    push_u32(out, u32::from(interface.link.0) | fcs);
}

/// Appends a pcap record. The frame [fits](fits_pcap), and is of the file's interface.
pub(super) fn push_pcap_record(
    out: &mut Vec<u8>,
    interface: Interface,
    frame: &FrameRef,
    bytes: &[u8],
) {
    let ns = time(frame.ts);
    let fraction = ns.rem_euclid(SECOND_NS) / interface.unit_ns();
    push_u32(out, u32::try_from(ns.div_euclid(SECOND_NS)).unwrap_or(0));
    push_u32(out, u32::try_from(fraction).unwrap_or(0));
    push_u32(out, frame.len);
    push_u32(out, frame.original_len);
    out.extend_from_slice(bytes);
}

/// Reads a record header that [`push_pcap_record`] wrote: the frame, but for its place in the input,
/// which is not known any more.
pub(super) fn read_pcap_record(header: &[u8; PCAP_RECORD], interface: Interface) -> FrameRef {
    let field = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    let fraction = i64::from(field(4)) * interface.unit_ns();
    FrameRef {
        ts: Timestamp::from_ns(i64::from(field(0)) * SECOND_NS + fraction),
        at: InputPos::new(0, 0),
        len: field(8),
        original_len: field(12),
        link: interface.link,
        unit: interface.unit,
        fcs_len: interface.fcs_len,
        place: 0,
    }
}

/// Appends a pcapng section header.
pub(super) fn push_section(out: &mut Vec<u8>) {
    push_block(out, 0x0a0d_0d0a, |out| {
        push_u32(out, 0x1a2b_3c4d);
        out.extend([1, 0, 0, 0]);
        // The length of the section is not known.
        out.extend([0xff; 8]);
    });
}

/// Appends an interface description.
pub(super) fn push_interface(out: &mut Vec<u8>, interface: Interface) {
    push_block(out, 1, |out| {
        out.extend(interface.link.0.to_le_bytes());
        out.extend([0; 2]);
        push_u32(out, SNAP_LENGTH);
        if interface.unit == TimeUnit::Nano {
            push_option(out, 9, &[9]);
        }
        if interface.fcs_len > 0 {
            push_option(out, 13, &[interface.fcs_len]);
        }
        if interface.before_epoch {
            push_option(out, 14, &BEFORE_EPOCH.to_le_bytes());
        }
        out.extend([0; 4]);
    });
}

/// Appends a packet of its interface, which has this number.
pub(super) fn push_packet(
    out: &mut Vec<u8>,
    (number, interface): (u32, Interface),
    frame: &FrameRef,
    bytes: &[u8],
) {
    let since = if interface.before_epoch {
        i128::from(BEFORE_EPOCH) * i128::from(SECOND_NS)
    } else {
        0
    };
    let units = (i128::from(time(frame.ts)) - since) / i128::from(interface.unit_ns());
    let units = u64::try_from(units).unwrap_or(0);
    push_block(out, 6, |out| {
        push_u32(out, number);
        out.extend_from_slice(&units.to_le_bytes()[4..]);
        out.extend_from_slice(&units.to_le_bytes()[..4]);
        push_u32(out, frame.len);
        push_u32(out, frame.original_len);
        out.extend_from_slice(bytes);
        pad(out, bytes.len());
    });
}

fn push_block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    push_u32(out, kind);
    push_u32(out, 0);
    body(out);
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    push_u32(out, length);
}

fn push_option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(value);
    pad(out, value.len());
}

/// Options and packets end at a multiple of four bytes.
fn pad(out: &mut Vec<u8>, len: usize) {
    out.resize(out.len() + len.next_multiple_of(4) - len, 0);
}

fn push_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ns: i64, unit: TimeUnit) -> FrameRef {
        FrameRef {
            ts: Timestamp::from_ns(ns),
            at: InputPos::new(0, 0),
            len: 3,
            original_len: 99,
            link: LinkType(101),
            unit,
            fcs_len: 0,
            place: 0,
        }
    }

    #[test]
    fn what_a_pcap_record_says_is_read_back() {
        for (ns, unit) in [
            (1_700_000_000_123_456_789, TimeUnit::Nano),
            (1_700_000_000_123_456_000, TimeUnit::Micro),
            (
                i64::from(u32::MAX) * SECOND_NS + 999_999_999,
                TimeUnit::Nano,
            ),
        ] {
            let frame = frame(ns, unit);
            assert!(fits_pcap(&frame));
            let mut out = Vec::new();
            let interface = Interface::of(&frame);
            push_pcap_record(&mut out, interface, &frame, b"abc");
            let header = out.first_chunk().unwrap();
            assert_eq!(read_pcap_record(header, interface), frame);
            assert_eq!(&out[PCAP_RECORD..], b"abc");
        }
    }

    #[test]
    fn times_that_pcap_cannot_hold_are_told() {
        for seconds in [-1, i64::from(u32::MAX) + 1] {
            assert!(!fits_pcap(&frame(seconds * SECOND_NS, TimeUnit::Nano)));
        }
        assert!(fits_pcap(&FrameRef {
            ts: Timestamp::NONE,
            ..frame(0, TimeUnit::Nano)
        }));
    }

    #[test]
    fn blocks_end_at_a_multiple_of_four_and_say_their_length_twice() {
        let mut out = Vec::new();
        push_section(&mut out);
        assert_eq!(out.len(), 28);
        let interface = Interface {
            fcs_len: 4,
            before_epoch: true,
            ..Interface::of(&frame(0, TimeUnit::Nano))
        };
        for len in 0..5 {
            out.clear();
            push_interface(&mut out, interface);
            let frame = frame(-1, TimeUnit::Nano);
            push_packet(&mut out, (0, Interface::of(&frame)), &frame, &[7; 9][..len]);
            let mut at = 0;
            while at < out.len() {
                let field = |at: usize| u32::from_le_bytes(*out[at..].first_chunk().unwrap());
                let length = field(at + 4);
                assert_eq!(length % 4, 0);
                at += length as usize;
                assert_eq!(field(at - 4), length);
            }
            assert_eq!(at, out.len());
        }
    }
}
