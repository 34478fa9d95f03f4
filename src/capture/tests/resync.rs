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
    for n in 0..whole.len() {
        let mut bad = capture.clone();
        let header = usize::try_from(whole[n].offset).unwrap() - 16;
        bad[header + 8..header + 12].fill(0xff);
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
