//! Every variant of the formats, field by field.

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader};

use super::*;
use crate::capture::options::{Resolution, fcs_octets, fcs_of_flags};
use crate::capture::{BlockKind, CaptureError};

const T0: i64 = 1_700_000_000_000_000_000;

#[test]
fn classic_variants_are_read_field_by_field() {
    for big_endian in [false, true] {
        for (magic, unit) in [(MICROS, 1000), (NANOS, 1), (MODIFIED, 1000)] {
            let file = PcapFile::new(magic, big_endian);
            let mut cut = frame(5, 30);
            cut.original = 1500;
            let capture = file.build(&[frame(1, 60), cut, frame(7, 0)]);
            let (frames, state, stats) = walk(&capture);
            let record = if magic == MODIFIED { 24 } else { 16 };
            let seen = |n: u32, len: usize, original, offset| Seen {
                ns: Some(T0 + (i64::from(n) * 1000 + 1) * unit),
                link: 1,
                data: frame(n, len).data,
                offset,
                original,
                fcs: 0,
            };
            assert_eq!(
                frames,
                [
                    seen(1, 60, 60, 24 + record),
                    seen(5, 30, 1500, 84 + 2 * record),
                    seen(7, 0, 0, 114 + 3 * record),
                ]
            );
            assert_eq!(state.offset(), capture.len() as u64);
            assert_eq!((stats.frames_cut, stats.bad_timestamps), (1, 0));
            assert!(stats.is_clean());
        }
    }
}

#[test]
fn lengths_of_old_versions_are_swapped() {
    let mut cut = frame(1, 30);
    cut.original = 1500;
    for version in [(2, 2), (2, 3), (543, 0)] {
        let file = PcapFile {
            version,
            ..PcapFile::new(MICROS, true)
        };
        // 2.3 is found in both orders: the greater length is the original one.
        for written_as in [0, 4] {
            let order = PcapFile {
                version: (2, written_as),
                ..file
            };
            if written_as == 4 && version.1 != 3 {
                continue;
            }
            let capture = [
                file.header(),
                order.record(&cut),
                order.record(&frame(2, 8)),
            ]
            .concat();
            let (frames, _, stats) = walk(&capture);
            let lengths: Vec<_> = frames.iter().map(|f| (f.data.len(), f.original)).collect();
            assert_eq!(lengths, [(30, 1500), (8, 8)], "{version:?}");
            assert!(stats.is_clean());
        }
    }
}

/// AIX says 2.2, counts nanoseconds, and has interface types for link types.
#[test]
fn captures_of_aix_have_interface_types_and_nanoseconds() {
    let mut late = frame(1, 30);
    late.fraction = 999_999_999;
    for big_endian in [false, true] {
        for (network, link) in [(6, 1), (9, 6), (15, 10), (24, 0)] {
            let file = PcapFile {
                version: (2, 2),
                network,
                ..PcapFile::new(MICROS, big_endian)
            };
            let (frames, _, stats) = walk(&file.build(&[late.clone()]));
            assert_eq!(frames[0].link, link);
            assert_eq!(frames[0].ns, Some(T0 + 999_999_999));
            assert_eq!(stats.bad_timestamps, 0);
            // The same numbers in a capture of today, and others in one of then, are link types.
            for (version, network) in [((2, 4), network), ((2, 2), 1), ((2, 3), network)] {
                let other = PcapFile {
                    version,
                    network,
                    ..file
                };
                let (frames, _, stats) = walk(&other.build(&[frame(1, 30), late.clone()]));
                assert_eq!(u32::from(frames[0].link), network);
                assert_eq!(stats.bad_timestamps, 1);
            }
        }
    }
}

#[test]
fn link_type_field_has_flags_in_its_upper_half() {
    for (network, link, fcs) in [
        (0x0000_0071, 113, 0),
        (0x2400_0001, 1, 4),
        (0x2000_0001, 1, 0),
        (0x1400_0001, 1, 2),
        (0x0030_0000, 0, 0),
        (0xf000_ffff, 65535, 0),
    ] {
        let file = PcapFile {
            network,
            ..PcapFile::new(MICROS, false)
        };
        let (frames, ..) = walk(&file.build(&[frame(1, 8)]));
        assert_eq!((frames[0].link, frames[0].fcs), (link, fcs), "{network:#x}");
    }
}

#[test]
fn fractions_beyond_a_second_are_carried_unless_absurd_and_counted() {
    let mut odd = frame(0, 4);
    odd.fraction = 1_000_000;
    let mut least = odd.clone();
    least.fraction = 999_999;
    let mut most = odd.clone();
    (most.seconds, most.fraction) = (u32::MAX, u32::MAX);
    let (frames, _, stats) = walk(&PcapFile::new(MICROS, false).build(&[odd, least, most]));
    assert_eq!(frames[0].ns, Some(T0 + 1_000_000_000));
    assert_eq!(frames[1].ns, Some(T0 + 999_999_000));
    assert_eq!(frames[2].ns, Some(4_294_967_295 * 1_000_000_000));
    assert_eq!(stats.bad_timestamps, 2);
}

#[test]
fn captured_lengths_are_believed_up_to_a_bound() {
    let walks = |snaplen, len| {
        let file = PcapFile {
            snaplen,
            ..PcapFile::new(MICROS, false)
        };
        let (frames, _, stats) = walk(&file.build(&[frame(1, len)]));
        (frames.len(), stats.damaged_bytes)
    };
    assert_eq!(walks(96, 262_144), (1, 0), "beyond the snap length");
    assert_eq!(walks(96, 262_145), (0, 16 + 262_145));
    assert_eq!(walks(300_000, 300_000), (1, 0));
    assert_eq!(walks(u32::MAX, 300_000), (0, 16 + 300_000));
    // More captured than there was is odd, and no damage.
    let mut odd = frame(1, 60);
    odd.original = 57;
    let (frames, _, stats) = walk(&PcapFile::new(MICROS, false).build(&[odd]));
    assert_eq!((frames[0].data.len(), frames[0].original), (60, 57));
    assert_eq!((stats.frames_cut, stats.is_clean()), (0, true));
}

#[test]
fn pcapng_sections_interfaces_and_blocks() {
    let (frames, state, stats) = walk(&mixed_pcapng());
    let first = &frames[..4];
    let facts: Vec<_> = first
        .iter()
        .map(|f| (f.ns, f.link, f.data.len(), f.original))
        .collect();
    assert_eq!(
        facts,
        [
            (Some(T0 + 1_001_000), 1, 61, 61),
            (Some(5_000_000_007), 101, 40, 40),
            (None, 1, 33, 33),
            (Some(T0 + 4_001_000), 1, 0, 0),
        ]
    );
    let again: Vec<_> = frames[4..]
        .iter()
        .map(|f| (f.ns, f.link, f.data.len(), f.original))
        .collect();
    assert_eq!(facts, again, "the big-endian section says the same");
    assert!(stats.is_clean());
    assert_eq!((stats.sections, stats.interfaces), (2, 4));
    let skipped: Vec<_> = stats
        .skipped
        .counts()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(
        skipped,
        [
            (BlockKind::NameResolution, 2),
            (BlockKind::InterfaceStatistics, 2),
            (BlockKind::Local, 2),
        ]
    );
    assert_eq!(state.format().interfaces().len(), 2);
}

#[test]
fn simple_packets_are_cut_to_the_snap_length_and_to_their_block() {
    let order = Order(false);
    let mut long = frame(1, 40);
    long.original = 1500;
    let mut short = frame(2, 40);
    short.original = 1500;
    let capture = [
        section_header(order),
        interface(order, 1, 39, &[]),
        simple(order, &long),
        section_header(order),
        interface(order, 1, 0, &[]),
        simple(order, &short),
    ]
    .concat();
    let (frames, _, stats) = walk(&capture);
    let lengths: Vec<_> = frames.iter().map(|f| f.data.len()).collect();
    assert_eq!(lengths, [39, 40]);
    assert_eq!(stats.frames_cut, 2);
}

#[test]
fn obsolete_packet_blocks_are_read() {
    let order = Order(true);
    let mut body = Vec::new();
    body.extend(order.u16(1));
    body.extend(order.u16(0xffff));
    for value in [0, 77, 5, 9] {
        body.extend(order.u32(value));
    }
    body.extend(b"hello\0\0\0");
    body.extend(option(order, 2, &order.u32(4 << 5)));
    let capture = [
        section_header(order),
        interface(order, 1, 0, &[]),
        interface(order, 9, 0, &[]),
        block(order, 2, &body),
    ]
    .concat();
    let (frames, ..) = walk(&capture);
    assert_eq!(
        frames,
        [Seen {
            ns: Some(77_000),
            link: 9,
            data: b"hello".to_vec(),
            offset: 28 + 20 + 20 + 28,
            original: 9,
            fcs: 4,
        }]
    );
}

#[test]
fn time_resolutions_are_exact() {
    let ns = |value, units, offset| {
        let (time, ok) = Resolution::from_option(value).time(units, offset);
        (time.ns().unwrap(), ok)
    };
    assert_eq!(ns(6, 1_000_001, 0), (1_000_001_000, true));
    assert_eq!(ns(0, 17, -18), (-1_000_000_000, true));
    assert_eq!(ns(9, 123, 0), (123, true));
    assert_eq!(ns(12, 1999, 0), (1, true));
    assert_eq!(ns(28, u64::MAX, 0), (1, true));
    assert_eq!(ns(29, u64::MAX, 0), (0, true));
    assert_eq!(ns(127, u64::MAX, 5), (5_000_000_000, true));
    // 2⁻¹⁰ s and 2⁻³² s, as NTP counts; half a unit is rounded down.
    assert_eq!(ns(0x8a, 1025, 0), (1_000_976_562, true));
    assert_eq!(ns(0xa0, (3 << 32) + (1 << 31), 0), (3_500_000_000, true));
    assert_eq!(ns(0xff, u64::MAX, 0), (0, true));
    assert_eq!(ns(0x80, 2, 0), (2_000_000_000, true));
    assert_eq!(ns(0, u64::MAX, 0), (i64::MAX, false));
    assert_eq!(ns(6, 0, i64::MIN), (i64::MIN + 1, false));
}

#[test]
fn interface_options_apply_to_their_interface() {
    for big_endian in [false, true] {
        let order = Order(big_endian);
        let offset = if big_endian {
            3i64.to_be_bytes()
        } else {
            3i64.to_le_bytes()
        };
        let options = [
            option(order, 2, b"eth0"),
            option(order, 9, &[3]),
            option(order, 13, &[4]),
            option(order, 14, &offset),
            option(order, 0, &[]),
            option(order, 9, &[0]),
        ];
        let flags = [option(order, 1, b"why"), option(order, 2, &order.u32(0x41))];
        let capture = [
            section_header(order),
            interface(order, 1, 0, &options),
            interface(order, 1, 0, &[]),
            enhanced(order, 0, 5, &frame(1, 7), &[]),
            enhanced(order, 0, 5, &frame(1, 7), &flags),
            enhanced(order, 1, 5, &frame(1, 7), &[]),
        ]
        .concat();
        let (frames, ..) = walk(&capture);
        let facts: Vec<_> = frames.iter().map(|f| (f.ns, f.fcs)).collect();
        assert_eq!(
            facts,
            [
                (Some(3_005_000_000), 4),
                (Some(3_005_000_000), 2),
                (Some(5000), 0),
            ]
        );
    }
}

#[test]
fn frame_check_sequences_come_in_bits_and_octets() {
    assert_eq!([0, 2, 4, 16, 32].map(fcs_octets), [0, 2, 4, 2, 4]);
    assert_eq!(fcs_of_flags(0xffff_fe1f), 0);
    assert_eq!(fcs_of_flags(4 << 5), 4);
    assert_eq!(fcs_of_flags(15 << 5), 15);
}

#[test]
fn the_interface_table_is_bounded() {
    let order = Order(false);
    let mut capture = section_header(order);
    for _ in 0..65_540 {
        capture.extend(interface(order, 1, 0, &[]));
    }
    for number in [65_535, 65_536] {
        capture.extend(enhanced(order, number, 5, &frame(1, 7), &[]));
    }
    let (frames, state, stats) = walk(&capture);
    assert_eq!(
        (frames.len(), state.format().interfaces().len()),
        (1, 65_536)
    );
    assert_eq!((stats.interfaces, stats.interfaces_over_limit), (65_536, 4));
    assert_eq!(stats.damaged_regions, 1);
}

#[test]
fn headers_that_are_none_say_so() {
    let detect = |bytes: &[u8]| detect(Path::new("x"), bytes).unwrap_err();
    let good = PcapFile::new(MICROS, true).header();
    for len in 4..24 {
        assert!(matches!(
            detect(&good[..len]),
            CaptureError::HeaderCut { format: "pcap", need: 24, have, .. } if have == len as u64
        ));
    }
    let good = section_header(Order(true));
    for len in 4..28 {
        assert!(matches!(
            detect(&good[..len]),
            CaptureError::HeaderCut {
                format: "pcapng",
                need: 28,
                ..
            }
        ));
    }
    for version in [(2, 5), (1, 2), (3, 0), (543, 1), (0, 0)] {
        let file = PcapFile {
            version,
            ..PcapFile::new(NANOS, false)
        };
        assert!(matches!(
            detect(&file.header()),
            CaptureError::Version { major, minor, .. } if (major, minor) == version
        ));
    }
    for (bytes, text) in [
        (
            &b"\x1f\x8b\x08\0"[..],
            "x: compressed with gzip twice (it begins with 1f 8b 08 00); undo one of the two: gzip -dc",
        ),
        (
            b"snoop\0\0\0\0\0\0\x02",
            "x: a snoop capture (RFC 1761) (it begins with 73 6e 6f 6f 70 00 00 00); convert it",
        ),
        (
            b"no",
            "x: not a pcap or pcapng file (it begins with 6e 6f); check",
        ),
        (
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "x: not a pcap or pcapng",
        ),
    ] {
        let said = detect(bytes).to_string();
        assert!(said.starts_with(text), "{said}");
    }
}

/// The frames of a classic pcap by pcap-parser's own reader.
fn theirs_classic(capture: &[u8]) -> Vec<(i64, Vec<u8>, u32)> {
    let mut reader = LegacyPcapReader::new(1 << 16, capture).unwrap();
    let mut frames = Vec::new();
    let mut unit = 1000;
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        unit = if header.is_nanosecond_precision() {
                            1
                        } else {
                            1000
                        };
                    }
                    PcapBlockOwned::Legacy(block) => frames.push((
                        i64::from(block.ts_sec) * 1_000_000_000 + i64::from(block.ts_usec) * unit,
                        block.data.to_vec(),
                        block.origlen,
                    )),
                    PcapBlockOwned::NG(_) => panic!("not pcapng"),
                }
                reader.consume(used);
            }
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(PcapError::Eof) => return frames,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The enhanced packets of a pcapng by pcap-parser's own reader.
fn theirs_pcapng(capture: &[u8]) -> Vec<(u32, Vec<u8>, u32)> {
    let mut reader = PcapNGReader::new(1 << 16, capture).unwrap();
    let mut frames = Vec::new();
    loop {
        match reader.next() {
            Ok((used, block)) => {
                if let PcapBlockOwned::NG(Block::EnhancedPacket(block)) = block {
                    let data = &block.data[..block.caplen as usize];
                    frames.push((block.if_id, data.to_vec(), block.origlen));
                }
                reader.consume(used);
            }
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(PcapError::Eof) => return frames,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn pcap_parser_reads_the_same_frames() {
    let frames: Vec<Frame> = (0..200)
        .map(|n| frame(n, (n as usize * 71) % 1500))
        .collect();
    for big_endian in [false, true] {
        for magic in [MICROS, NANOS] {
            let capture = PcapFile::new(magic, big_endian).build(&frames);
            let ours: Vec<_> = walk(&capture)
                .0
                .into_iter()
                .map(|f| (f.ns.unwrap(), f.data, f.original))
                .collect();
            assert_eq!(ours, theirs_classic(&capture));
        }
        let order = Order(big_endian);
        let mut capture = section_header(order);
        capture.extend(interface(order, 1, 0, &[]));
        for frame in &frames {
            capture.extend(enhanced(order, 0, micros(frame), frame, &[]));
        }
        let ours: Vec<_> = walk(&capture)
            .0
            .into_iter()
            .map(|f| (0, f.data, f.original))
            .collect();
        assert_eq!(ours, theirs_pcapng(&capture));
    }
}

#[test]
fn captures_joined_byte_by_byte_are_one() {
    for magic in [MICROS, NANOS, MODIFIED] {
        for big_endian in [false, true] {
            let file = PcapFile::new(magic, big_endian);
            let shorter = PcapFile {
                snaplen: 1000,
                ..file
            };
            let frames: Vec<Frame> = (0..9).map(|n| frame(n, 60)).collect();
            let parts = [
                file.build(&frames[..3]),
                file.build(&[]),
                shorter.build(&frames[3..5]),
                file.build(&frames[5..]),
            ];
            let capture = parts.concat();
            let (seen, _, stats) = walk(&capture);
            let fills: Vec<_> = seen.iter().map(|f| f.data[0] - 17).collect();
            assert_eq!(fills, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
            assert!(stats.is_clean(), "{:?}", stats.damage);
            assert_eq!(stats.file_headers, 3);
            for stop in 0..=capture.len() as u64 {
                let pieces = walk_pieces(&capture, &[stop], 20);
                assert!(pieces.0 == seen && pieces.2 == stats, "in pieces at {stop}");
            }
            // Another kind's header cannot be passed over: what follows is read by the first one's.
            let other = PcapFile {
                network: 113,
                ..file
            };
            let mixed = [file.build(&frames[..3]), other.build(&frames[3..])].concat();
            assert_eq!(walk(&mixed).2.file_headers, 0);
        }
    }
}
