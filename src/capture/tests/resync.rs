//! Boundaries found in the middle, and captures inside captures.

use proptest::prelude::*;

use super::*;
use crate::capture::DamageReason;
use crate::capture::find_boundary;
use crate::capture::resync::{Effort, Mode, Search};

/// A capture of frames that hold another capture, as a download of one would: `inner` in segments
/// of 1,400 bytes behind a 54-byte header.
fn nested(outer: &PcapFile, inner: &[u8]) -> Vec<u8> {
    let frames: Vec<Frame> = inner
        .chunks(1400)
        .zip(0..)
        .map(|(chunk, n)| {
            let mut carrier = frame(n, 54);
            carrier.data.extend(chunk);
            carrier.original = u32::try_from(carrier.data.len()).unwrap();
            carrier
        })
        .collect();
    outer.build(&frames)
}

#[test]
fn records_inside_frames_are_never_taken_for_frames() {
    let file = PcapFile::new(MICROS, false);
    // Times of the inner capture are those of the outer: nothing but the chains tells them apart.
    let inner: Vec<Frame> = (0..3000).map(|n| frame(n, 60)).collect();
    let capture = nested(&file, &file.build(&inner));
    let (whole, ..) = walk(&capture);
    // Where nothing is left of the header, a full frame must follow that shows how long it was, and
    // the inner records must not end exactly where the frame does.
    let told = |n: &usize| !((n + 1) * 1400 - 24).is_multiple_of(76);
    let all = (0..whole.len()).map(|n| (n, 8..12));
    let told = (0..whole.len() - 2).filter(told).map(|n| (n, 0..16));
    for (n, gone) in all.chain(told) {
        let mut bad = capture.clone();
        let header = usize::try_from(whole[n].offset).unwrap() - 16;
        bad[header..][gone].fill(0xff);
        let (seen, _, stats) = walk(&bad);
        let expected: Vec<Seen> = whole
            .iter()
            .filter(|f| f.offset != whole[n].offset)
            .cloned()
            .collect();
        assert_eq!(seen.len(), expected.len(), "record {n}: {:?}", stats.damage);
        assert!(seen == expected, "record {n}");
    }
}

#[test]
fn blocks_inside_frames_are_never_taken_for_frames() {
    let order = Order(false);
    let wrap = |frames: &[Frame]| {
        let mut bytes = [section_header(order), interface(order, 1, 0, &[])].concat();
        for frame in frames {
            bytes.extend(enhanced(order, 0, micros(frame), frame, &[]));
        }
        bytes
    };
    let inner: Vec<Frame> = (0..2000).map(|n| frame(n, 60)).collect();
    let carriers: Vec<Frame> = wrap(&inner)
        .chunks(1400)
        .zip(0..)
        .map(|(chunk, n)| {
            let mut carrier = frame(n, 54);
            carrier.data.extend(chunk);
            carrier
        })
        .collect();
    let capture = wrap(&carriers);
    let (whole, ..) = walk(&capture);
    for n in 1..whole.len() {
        let mut bad = capture.clone();
        let block = usize::try_from(whole[n].offset).unwrap() - 28;
        bad[block + 7] = 0xff;
        let (seen, _, stats) = walk(&bad);
        let expected: Vec<Seen> = whole
            .iter()
            .filter(|f| f.offset != whole[n].offset)
            .cloned()
            .collect();
        assert!(seen == expected, "block {n}: {:?}", stats.damage);
    }
}

#[test]
fn two_damaged_headers_close_together_cost_two_frames() {
    let file = PcapFile::new(MICROS, true);
    let frames: Vec<Frame> = (0..400).map(|n| frame(n, 1000)).collect();
    let capture = file.build(&frames);
    let (whole, ..) = walk(&capture);
    for gap in 4..12 {
        let mut bad = capture.clone();
        for n in [100, 100 + gap] {
            let header = usize::try_from(whole[n].offset).unwrap() - 16;
            bad[header + 8..header + 12].fill(0xff);
        }
        let (seen, _, stats) = walk(&bad);
        assert_eq!(seen.len(), 398, "gap {gap}: {:?}", stats.damage);
        assert_eq!(stats.damaged_regions, 2);
    }
}

/// What survives of `frames` where every `every`-th record is changed by `damage`, which is told
/// whether it lost the frame.
fn damaged_again_and_again(
    frames: &[Frame],
    every: usize,
    damage: fn(Vec<u8>) -> (Vec<u8>, bool),
) -> (Vec<u8>, Vec<Vec<u8>>) {
    let file = PcapFile::new(MICROS, false);
    let mut capture = file.build(&[]);
    let mut left = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let (mut bytes, mut lost) = (file.record(frame), false);
        if n % every == every - 1 {
            (bytes, lost) = damage(bytes);
        }
        capture.extend(bytes);
        if !lost {
            left.push(frame.data.clone());
        }
    }
    (capture, left)
}

fn survivors(capture: &[u8]) -> Vec<Vec<u8>> {
    let whole = walk(capture);
    for size in [500, 30_000] {
        let stops: Vec<u64> = (1..9).map(|n| n * capture.len() as u64 / 9).collect();
        assert!(walk_pieces(capture, &stops, size) == whole, "in pieces");
    }
    whole.0.into_iter().map(|seen| seen.data).collect()
}

#[test]
fn stray_bytes_cost_no_frame_however_often() {
    let frames: Vec<Frame> = (0..6000).map(|n| frame(n, 54 + n as usize % 3)).collect();
    for (every, count) in [(20, 16), (500, 16), (500, 24), (2500, 16)] {
        let damage: fn(Vec<u8>) -> (Vec<u8>, bool) = match count {
            16 => |bytes| ([&[0xff; 16][..], &bytes].concat(), false),
            _ => |bytes| ([&[0xff; 24][..], &bytes].concat(), false),
        };
        let (capture, left) = damaged_again_and_again(&frames, every, damage);
        let seen = survivors(&capture);
        assert_eq!(
            seen.len(),
            left.len(),
            "{count} bytes every {every} records"
        );
        assert!(seen == left, "{count} bytes every {every} records");
    }
}

/// Read four bytes on, the captured length is the original one, and the original one the beginning
/// of the frame, which may well be a length.
#[test]
fn headers_are_not_read_four_bytes_on() {
    for first in [[2, 0, 0, 0], [0x40, 0, 0, 0], [2, 1, 0, 0]] {
        let frames: Vec<Frame> = (0..3000)
            .map(|n| {
                let mut frame = frame(n, 54);
                frame.data[..4].copy_from_slice(&first);
                frame
            })
            .collect();
        let (capture, left) = damaged_again_and_again(&frames, 300, |mut bytes| {
            bytes[..16].fill(0xff);
            (bytes, true)
        });
        let seen = survivors(&capture);
        assert_eq!(seen.len(), left.len(), "{first:?}");
        assert!(seen == left, "{first:?}");
    }
}

/// Where the first frame has more bytes than were sent, the others may have.
#[test]
fn frames_longer_than_sent_are_found_where_they_are_the_rule() {
    let frames: Vec<Frame> = (0..100)
        .map(|n| Frame {
            original: 51,
            ..frame(n, 54)
        })
        .collect();
    let (capture, left) = damaged_again_and_again(&frames, 30, |mut bytes| {
        bytes[..16].fill(0xff);
        (bytes, true)
    });
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("capture");
    std::fs::write(&path, &capture).unwrap();
    let start = crate::capture::Input::open(&path, 7, true).unwrap().start();
    let all = window(&capture, 0, usize::MAX);
    let walker = Walker::new(&all, start, u64::MAX);
    let seen: Vec<Vec<u8>> = walker.map(|frame| frame.data.to_vec()).collect();
    assert_eq!(seen, left);
}

#[test]
fn guesses_are_right_on_ordinary_captures() {
    let frames: Vec<Frame> = (0..2000)
        .map(|n| frame(n, 40 + (n as usize * 131) % 1400))
        .collect();
    let order = Order(true);
    let mut pcapng = [section_header(order), interface(order, 1, 0, &[])].concat();
    for frame in &frames {
        pcapng.extend(enhanced(order, 0, micros(frame), frame, &[]));
    }
    for (capture, header) in [
        (PcapFile::new(MICROS, false).build(&frames), 16),
        (PcapFile::new(MODIFIED, true).build(&frames), 24),
        (pcapng, 28),
    ] {
        let (whole, ended, _) = walk(&capture);
        let starts: Vec<u64> = whole.iter().map(|f| f.offset - header).collect();
        let all = window(&capture, 0, usize::MAX);
        let len = capture.len() as u64;
        for from in (100..len).step_by(9973) {
            let expected = starts.iter().copied().find(|&at| at >= from);
            assert_eq!(
                find_boundary(&all, &ended, from, len),
                expected,
                "from {from}"
            );
            // A window that ends early and does not say where the file does is enough.
            let part = window(&capture, from, 40_000);
            assert_eq!(
                find_boundary(&part, &ended, from, len),
                expected,
                "from {from}"
            );
        }
        let at = starts[500];
        assert_eq!(find_boundary(&all, &ended, at, at + 1), Some(at));
        assert_eq!(find_boundary(&all, &ended, at + 1, at + 2), None);
    }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    for fill in [0u8, 1, 0xff, b'A'] {
        for file in [PcapFile::new(MICROS, false), PcapFile::new(NANOS, true)] {
            let mut capture = file.build(&[frame(1, 60)]);
            capture.extend(vec![fill; 100_000]);
            let all = window(&capture, 0, usize::MAX);
            let found = find_boundary(&all, &start(&capture), 100, capture.len() as u64);
            assert_eq!(found, None, "{fill:#x}");
        }
    }
}

/// Bytes of a pattern between which nothing looks like a header.
const STRETCH: usize = 100 << 10;

/// What it takes to search all of a capture behind its first bytes, when each search begins where the
/// chains that the one before found have broken off.
fn effort(capture: &[u8], mode: Mode) -> Effort {
    let state = start(capture);
    let mut all = Effort::default();
    let mut pos = 100;
    while pos < capture.len() {
        let mut search = Search::new(capture, true, state.format(), mode);
        search.run(pos, capture.len(), 0);
        let Effort { probes, remembered } = search.effort();
        all.probes += probes;
        all.remembered = all.remembered.max(remembered);
        pos = (pos / STRETCH + 1) * STRETCH;
    }
    all
}

/// Every offset looks like a header: the same few bytes over and over make plausible lengths, times
/// and fractions at once. Steps must stay in proportion to the bytes, and memory within a bound.
#[test]
fn hostile_bytes_cost_steps_in_proportion_and_bounded_memory() {
    // A chain lies within 128 KiB; twice that, what is cleared out late, and a path.
    const MOST_REMEMBERED: usize = 400_000;
    let patterns: [&[u8]; 8] = [
        &[0, 0, 0, 20],
        &[0, 0, 0, 1],
        &[0, 0, 1],
        &[0, 0, 1, 0],
        &[0, 0, 0x40, 0x40],
        &[0, 7, 0, 7],
        // 16 MB each, in captures that allow it.
        &[1],
        &[6, 0, 0, 0, 32, 0, 0, 0],
    ];
    let mut most = Effort::default();
    for pattern in patterns {
        for (magic, snaplen) in [(MICROS, 65_535), (NANOS, 128 << 20)] {
            for len in [512 << 10, 1 << 20] {
                let file = PcapFile {
                    snaplen,
                    ..PcapFile::new(magic, true)
                };
                let mut capture = file.build(&[frame(1, 60)]);
                let order = Order(false);
                if pattern.len() == 8 {
                    capture = [section_header(order), interface(order, 1, 0, &[])].concat();
                }
                while capture.len() < len {
                    capture.extend(pattern);
                    if capture.len() % STRETCH < pattern.len() {
                        capture.extend([0xff; 64]);
                    }
                }
                capture.extend([0xff; 64]);
                for mode in [Mode::Recover, Mode::Guess] {
                    let effort = effort(&capture, mode);
                    assert!(
                        effort.probes <= 40 * capture.len() as u64,
                        "{pattern:?}, {mode:?}: {effort:?} for {} bytes",
                        capture.len()
                    );
                    assert!(
                        effort.remembered <= MOST_REMEMBERED,
                        "{pattern:?}: {effort:?}"
                    );
                    most.probes = most.probes.max(effort.probes);
                    most.remembered = most.remembered.max(effort.remembered);
                }
                let state = start(&capture);
                let mut search = Search::new(&capture, true, state.format(), Mode::Recover);
                search.exact_end(100);
                let effort = search.effort();
                assert!(effort.probes <= 8 * capture.len() as u64, "{effort:?}");
                assert_eq!(effort.remembered, 0);
            }
        }
    }
    // Some of it must have been hard.
    assert!(most.probes > 1 << 20 && most.remembered > 1000, "{most:?}");
}

/// The bytes of all windows that a walk needs, and of the largest of them, where each is made twice as
/// long only if the walk made no progress in it.
fn windows_needed(capture: &[u8]) -> (WalkStats, u64, usize) {
    let (mut state, mut stats) = (start(capture), WalkStats::default());
    let (mut all, mut size) = (0, 64 << 10);
    while state.offset() < capture.len() as u64 {
        let part = window(capture, state.offset(), size);
        all += part.data().len() as u64;
        let mut walker = Walker::new(&part, state.clone(), u64::MAX);
        walker.by_ref().for_each(drop);
        let (next, met) = walker.finish();
        stats.merge(&met);
        if next == state {
            size *= 2;
        }
        state = next;
    }
    (stats, all, size)
}

#[test]
fn damage_is_passed_over_in_windows_that_do_not_grow_with_it() {
    let file = PcapFile {
        snaplen: 128 << 20,
        ..PcapFile::new(NANOS, false)
    };
    let mut lost = file.record(&frame(2, 0));
    lost[8..12].fill(0xff);
    let mut far = frame(2, 0);
    far.original = 100 << 20;
    let mut far = file.record(&far);
    far[8..12].copy_from_slice(&(100u32 << 20).to_le_bytes());
    let far_headers = [vec![0xff; 64 << 10], far].concat();
    let order = Order(false);
    let pcapng = [
        section_header(order),
        interface(order, 1, 0, &[]),
        enhanced(order, 0, 7, &frame(1, 60), &[]),
    ]
    .concat();
    let pcap = [file.build(&[frame(1, 60)]), lost].concat();
    let zeros = vec![0; 1 << 20];
    for (begin, piece) in [(&pcap, &far_headers), (&pcap, &zeros), (&pcapng, &zeros)] {
        let mut capture = begin.clone();
        while capture.len() < 24 << 20 {
            capture.extend(piece);
        }
        let (stats, read, largest) = windows_needed(&capture);
        assert_eq!((stats.frames, stats.damaged_regions), (1, 1));
        assert!(largest <= 8 << 20, "{largest}");
        assert!(
            read <= 4 * capture.len() as u64,
            "{read} of {}",
            capture.len()
        );
    }
}

#[test]
fn zeros_are_no_frames() {
    for sample in samples() {
        let (frames, _, sound) = walk(&sample);
        assert!(sound.is_clean());
        for zeros in [4, 7, 8, 15, 16, 17, 32, 100, 4096, 5001] {
            let mut capture = sample.clone();
            capture.resize(sample.len() + zeros, 0);
            let (seen, state, stats) = walk(&capture);
            assert_eq!(seen, frames, "{zeros}");
            assert_eq!(state.offset(), capture.len() as u64);
            let [damage] = stats.damage[..] else {
                panic!("{:?}", stats.damage);
            };
            assert_eq!(
                (damage.offset, damage.bytes, damage.reason),
                (sample.len() as u64, zeros as u64, DamageReason::Zeros)
            );
            assert_eq!((stats.damaged_regions, stats.cut_at_end), (1, None));
            for size in [40, 1000] {
                let stops = [sample.len() as u64 + 1, capture.len() as u64 - 1];
                assert_eq!(walk_pieces(&capture, &stops, size).2, stats, "{zeros}");
            }
        }
    }
}

/// A block of the file that was never written, with records behind it.
#[test]
fn records_behind_zeros_are_read() {
    for big_endian in [false, true] {
        let file = PcapFile::new(MICROS, big_endian);
        let frames: Vec<Frame> = (0..40).map(|n| frame(n, 60)).collect();
        let (begin, end) = (file.build(&frames[..10]), file.build(&frames[10..]));
        let capture = [&begin[..], &[0; 4096], &end[24..]].concat();
        let (seen, _, stats) = walk(&capture);
        assert_eq!((seen.len(), stats.damaged_regions), (40, 1));
        assert_eq!(stats.damaged_bytes, 4096);
    }
}

/// A header of zeros has a known end, so the few records between two such are no chain and are read.
#[test]
fn headers_of_zeros_cost_no_frame_behind_them() {
    for magic in [MICROS, NANOS, MODIFIED] {
        for (big_endian, between, run) in
            [(false, 1, 1), (true, 2, 1), (false, 2, 3), (true, 1, 40)]
        {
            let file = PcapFile::new(magic, big_endian);
            let zeros = vec![0; run * if magic == MODIFIED { 24 } else { 16 }];
            let mut capture = file.header();
            let groups = 30;
            for n in 0..groups {
                // Every fifth time the capture is joined with another one behind the zeros.
                if n % 5 == 4 {
                    capture.extend(file.header());
                }
                for of in 0..between {
                    capture.extend(file.record(&frame(n * between + of, 120)));
                }
                capture.extend(&zeros);
            }
            let (seen, state, stats) = walk(&capture);
            let how = format!("{magic:x} {between} {run}");
            assert_eq!(seen.len(), (groups * between) as usize, "{how}");
            assert_eq!(stats.damaged_regions, u64::from(groups), "{how}");
            assert_eq!(stats.damaged_bytes, u64::from(groups) * zeros.len() as u64);
            assert_eq!((stats.file_headers, stats.cut_at_end), (6, None), "{how}");
            let stops: Vec<u64> = (30..capture.len() as u64).step_by(37).collect();
            for (stops, size) in [(&stops[..], 40), (&stops, 5000), (&[], 70), (&[], 1000)] {
                let pieces = walk_pieces(&capture, stops, size);
                assert_eq!(
                    pieces,
                    (seen.clone(), state.clone(), stats.clone()),
                    "{how}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn guesses_stay_in_range(
        bytes in prop::collection::vec(prop_oneof![2 => Just(0u8), 1 => any::<u8>()], 0..2000),
        from in 0..2500u64,
        to in 0..2500u64,
        sample in 0..samples().len(),
    ) {
        let mut capture = samples().swap_remove(sample);
        let state = walk(&capture).1;
        capture.extend(bytes);
        let all = window(&capture, 0, usize::MAX);
        if let Some(at) = find_boundary(&all, &state, from, to) {
            prop_assert!(from <= at && at < to && at < capture.len() as u64);
        }
    }
}
