//! Captures cut short and bytes changed: what can be read is, and what cannot is accounted for.

use super::*;
use crate::capture::{CutAtEnd, CutFrame, Damage, DamageReason, MAX_DAMAGE};
use crate::model::Timestamp;

#[test]
fn a_capture_cut_anywhere_delivers_the_frames_before() {
    for capture in samples() {
        let (whole, ..) = walk(&capture);
        let header = usize::try_from(start(&capture).offset()).unwrap().max(28);
        for len in header..capture.len() {
            let (frames, state, stats) = walk(&capture[..len]);
            let complete = whole
                .iter()
                .take_while(|f| {
                    // A pcapng frame is complete with its block: padding and second length.
                    let end = f.offset + f.data.len() as u64;
                    let pad = if header == 28 && capture[0] == 0x0a {
                        end.next_multiple_of(4) + 4
                    } else {
                        end
                    };
                    pad <= len as u64
                })
                .count();
            assert_eq!(frames, whole[..complete], "cut at {len}");
            assert_eq!(state.offset(), len as u64);
            assert_eq!(stats.damaged_regions, 0, "cut at {len}");
            if let Some(cut) = stats.cut_at_end {
                assert_eq!(cut.offset + cut.bytes, len as u64);
            }
        }
    }
}

#[test]
fn the_record_cut_off_is_described() {
    let file = PcapFile::new(MICROS, false);
    let mut cut = frame(3, 60);
    cut.original = 1500;
    let capture = file.build(&[frame(1, 60), cut]);
    let at = 24 + 76;
    let cut_to = |len: usize| walk(&capture[..len]).2.cut_at_end;
    assert_eq!(cut_to(at), None);
    assert_eq!(
        cut_to(at + 15),
        Some(CutAtEnd {
            offset: at as u64,
            bytes: 15,
            frame: None
        })
    );
    assert_eq!(
        cut_to(at + 30),
        Some(CutAtEnd {
            offset: at as u64,
            bytes: 30,
            frame: Some(CutFrame {
                ts: Timestamp::from_ns(1_700_000_000_003_001_000),
                captured_len: 60,
                original_len: 1500,
                present: 14,
            }),
        })
    );
    let capture = mixed_pcapng();
    let cut = walk(&capture[..100]).2.cut_at_end.unwrap();
    assert_eq!((cut.offset, cut.bytes), (48, 52));
    let frame = cut.frame.unwrap();
    assert_eq!((frame.captured_len, frame.present), (61, 24));
}

#[test]
fn a_changed_byte_loses_few_frames_and_is_accounted_for() {
    for capture in samples() {
        let (whole, ..) = walk(&capture);
        let header = usize::try_from(start(&capture).offset()).unwrap().max(28);
        for at in header..capture.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = capture.clone();
                changed[at] ^= flip;
                let (frames, state, stats) = walk(&changed);
                assert_eq!(state.offset(), changed.len() as u64, "byte {at}");
                // Frames that end before the change are untouched.
                let before = whole
                    .iter()
                    .take_while(|f| f.offset + f.data.len() as u64 + 8 <= at as u64)
                    .count();
                assert_eq!(frames[..before], whole[..before], "byte {at} ^ {flip:#x}");
                let mut offsets: Vec<_> = frames.iter().map(|f| f.offset).collect();
                offsets.dedup();
                assert_eq!(offsets.len(), frames.len(), "each frame once");
                let cut = stats.cut_at_end.map_or(0, |cut| cut.bytes);
                let data: u64 = frames.iter().map(|f| f.data.len() as u64).sum();
                assert!(stats.damaged_bytes + cut + data <= changed.len() as u64);
            }
        }
    }
}

/// Where record `n` of 60-byte frames begins in a classic pcap.
const fn record(n: usize) -> usize {
    24 + n * 76
}

#[test]
fn the_walk_goes_on_behind_a_damaged_header() {
    for big_endian in [false, true] {
        let frames: Vec<Frame> = (0..10).map(|n| frame(n, 60)).collect();
        let mut capture = PcapFile::new(MICROS, big_endian).build(&frames);
        let whole = walk(&capture).0;
        // The captured length of record 4 becomes impossible.
        capture[record(4) + 8..record(4) + 12].fill(0xff);
        let (seen, _, stats) = walk(&capture);
        assert_eq!(seen, [&whole[..4], &whole[5..]].concat());
        assert_eq!(
            stats.damage,
            [Damage {
                offset: record(4) as u64,
                bytes: 76,
                frame_before: 4,
                reason: DamageReason::CapturedLength,
            }]
        );
        assert_eq!((stats.damaged_regions, stats.damaged_bytes), (1, 76));
    }
}

#[test]
fn bytes_lost_and_bytes_put_in_are_passed_over() {
    let frames: Vec<Frame> = (0..10).map(|n| frame(n, 60)).collect();
    let good = PcapFile::new(NANOS, false).build(&frames);
    let whole = walk(&good).0;
    let mut lost = good.clone();
    lost.drain(record(4) + 30..record(5) + 40);
    let (seen, _, stats) = walk(&lost);
    // Record 4 takes its missing bytes from what follows, the header of record 6 among them.
    assert_eq!(seen[..4], whole[..4]);
    assert_eq!(seen.len(), 8);
    assert_eq!(seen[5].data, whole[7].data);
    assert_eq!(stats.damaged_regions, 1);
    let mut more = good.clone();
    more.splice(record(4)..record(4), [0xee; 1000]);
    let (seen, _, stats) = walk(&more);
    assert_eq!(seen.len(), 10);
    assert_eq!(seen[9].data, whole[9].data);
    assert_eq!(stats.damaged_bytes, 1000);
}

#[test]
fn the_last_header_damaged_is_no_cut_if_records_follow_inside() {
    let frames: Vec<Frame> = (0..10).map(|n| frame(n, 60)).collect();
    let mut capture = PcapFile::new(MICROS, false).build(&frames);
    // Plausible, but beyond the end of the file.
    capture[record(6) + 8..record(6) + 12].copy_from_slice(&200_000u32.to_le_bytes());
    let (seen, _, stats) = walk(&capture);
    assert_eq!(seen.len(), 9);
    assert_eq!(stats.cut_at_end, None);
    assert_eq!(stats.damage[0].reason, DamageReason::BeyondEnd);
    assert_eq!(stats.damaged_bytes, 76);
    // The capture may be cut as well.
    capture.truncate(record(10) - 1);
    let (seen, _, stats) = walk(&capture);
    assert_eq!((seen.len(), stats.damaged_bytes), (8, 76));
    assert_eq!(stats.cut_at_end.unwrap().bytes, 75);
    // With both lengths that long nothing tells it from a record that was cut.
    capture[record(6) + 12..record(6) + 16].copy_from_slice(&200_000u32.to_le_bytes());
    let (seen, _, stats) = walk(&capture);
    assert_eq!((seen.len(), stats.damaged_regions), (6, 0));
    assert_eq!(stats.cut_at_end.unwrap().bytes, 4 * 76 - 1);
}

#[test]
fn a_damaged_header_is_passed_over_without_help_from_its_other_fields() {
    let frames: Vec<Frame> = (0..10).map(|n| frame(n, 60)).collect();
    let mut capture = PcapFile::new(MICROS, false).build(&frames);
    let whole = walk(&capture).0;
    capture[record(4)..record(5) - 60].fill(0xff);
    let (seen, _, stats) = walk(&capture);
    assert_eq!(seen, [&whole[..4], &whole[5..]].concat());
    assert_eq!(stats.damaged_bytes, 76);
}

fn pcapng_of(blocks: &[Vec<u8>]) -> Vec<u8> {
    let order = Order(false);
    [
        section_header(order),
        interface(order, 1, 0, &[]),
        blocks.concat(),
    ]
    .concat()
}

#[test]
fn one_bad_packet_block_costs_one_packet() {
    let order = Order(false);
    let good = |n| enhanced(order, 0, 5, &frame(n, 60), &[]);
    let unknown = enhanced(order, 1, 5, &frame(2, 60), &[]);
    let mut too_long = good(3);
    too_long[20] = 61;
    let short = block(order, 6, &[0; 12]);
    let capture = pcapng_of(&[good(1), unknown, good(4), too_long, short, good(5)]);
    let (frames, _, stats) = walk(&capture);
    assert_eq!(frames.len(), 3);
    let reasons: Vec<_> = stats
        .damage
        .iter()
        .map(|d| (d.reason, d.bytes, d.frame_before))
        .collect();
    assert_eq!(
        reasons,
        [
            (DamageReason::UnknownInterface, 92, 1),
            (DamageReason::BlockContent, 92, 2),
            (DamageReason::BlockContent, 24, 2),
        ]
    );
}

#[test]
fn bad_block_lengths_cost_that_block() {
    let order = Order(false);
    let good = |n| enhanced(order, 0, 5, &frame(n, 60), &[]);
    for (at, value, reason) in [
        (4, 93, DamageReason::BlockLength),
        (4, 8, DamageReason::BlockLength),
        (7, 0x7f, DamageReason::BlockLength),
        (4, 88, DamageReason::BlockTrailer),
        (88, 96, DamageReason::BlockTrailer),
    ] {
        let mut bad = good(3);
        bad[at] = value;
        let capture = pcapng_of(&[good(1), bad, good(4), good(5), good(6)]);
        let (frames, _, stats) = walk(&capture);
        let fills: Vec<_> = frames.iter().map(|f| f.data[0] - 17).collect();
        assert_eq!(fills, [1, 4, 5, 6], "byte {at} = {value}");
        assert_eq!((stats.damage[0].reason, stats.damaged_bytes), (reason, 92));
    }
}

#[test]
fn a_damaged_interface_keeps_its_number() {
    let order = Order(false);
    let packets = [0, 1, 2].map(|number| enhanced(order, number, 5, &frame(number, 60), &[]));
    let descriptions = [1, 2, 3].map(|link| interface(order, link, 0, &[]));
    let bad_trailer = {
        let mut bad = descriptions[1].clone();
        bad[16] ^= 0xff;
        bad
    };
    for bad in [bad_trailer, block(order, 1, &[2, 0])] {
        let capture = [
            section_header(order),
            descriptions[0].clone(),
            bad,
            descriptions[2].clone(),
            packets.concat(),
        ]
        .concat();
        let (frames, _, stats) = walk(&capture);
        let links: Vec<_> = frames.iter().map(|f| f.link).collect();
        assert_eq!(links, [1, 3]);
        assert_eq!(stats.damaged_regions, 2);
    }
}

#[test]
fn frames_are_not_read_by_another_sections_interfaces() {
    let order = Order(false);
    let packets = [1, 2, 3]
        .map(|n| enhanced(order, 0, 5, &frame(n, 60), &[]))
        .concat();
    let first = [
        section_header(order),
        interface(order, 1, 0, &[]),
        packets.clone(),
    ]
    .concat();
    let mut second = [section_header(order), interface(order, 9, 0, &[]), packets].concat();
    second[24] ^= 0xff;
    let (frames, ..) = walk(&[first.clone(), second.clone()].concat());
    let links: Vec<_> = frames.iter().map(|f| f.link).collect();
    assert_eq!(links, [1, 1, 1, 9, 9, 9]);
    // With its interface damaged as well, its packets cannot be read at all.
    second[28 + 16] ^= 0xff;
    let (frames, _, stats) = walk(&[first, second].concat());
    assert_eq!(frames.len(), 3);
    assert!(stats.damaged_regions >= 4);
}

#[test]
fn a_section_of_another_major_version_is_damage() {
    let order = Order(false);
    let mut odd = section_header(order);
    odd[12] = 2;
    let good = pcapng_of(&[enhanced(order, 0, 5, &frame(1, 60), &[])]);
    let (frames, _, stats) = walk(&[good, odd].concat());
    assert_eq!(frames.len(), 1);
    assert_eq!(stats.damage[0].reason, DamageReason::SectionHeader);
}

#[test]
fn damage_is_listed_up_to_a_bound_and_counted_beyond() {
    let order = Order(false);
    let blocks = vec![enhanced(order, 9, 5, &frame(1, 8), &[]); MAX_DAMAGE + 36];
    let capture = pcapng_of(&blocks);
    let (_, _, stats) = walk(&capture);
    assert_eq!((stats.damage.len(), stats.damaged_regions), (64, 100));
    assert_eq!(stats.damaged_bytes, 100 * 40);
    assert_eq!(walk_pieces(&capture, &[1000, 2000], 64).2, stats);
}
