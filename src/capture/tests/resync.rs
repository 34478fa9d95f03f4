//! Boundaries found in the middle, and captures inside captures.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::capture::find_boundary;

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

/// Every offset looks like a header: the same four bytes over and over make plausible lengths, times
/// and fractions at once. The work must stay in proportion to the bytes.
#[test]
fn hostile_bytes_cost_linear_time() {
    let elapsed = |len: usize| {
        let file = PcapFile::new(MICROS, true);
        let mut capture = file.build(&[frame(1, 60)]);
        let mut bad = file.record(&frame(2, 0));
        bad[8..12].fill(0xff);
        capture.extend(bad);
        while capture.len() < len {
            capture.extend([0, 0, 0, 20]);
        }
        capture.extend([0xff; 64]);
        let begun = Instant::now();
        walk(&capture);
        let all = window(&capture, 0, usize::MAX);
        find_boundary(&all, &start(&capture), 100, len as u64);
        begun.elapsed()
    };
    let time = elapsed(4 << 20);
    assert!(time < Duration::from_secs(10), "{time:?} for 4 MiB");
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
