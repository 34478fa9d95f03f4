//! What state may cost, and when it is let go.

use super::*;
use crate::model::{Endpoint, FlowKey, Payload};
use std::sync::Arc;

fn headers_only(segments: u32, step: u32) -> Vec<B> {
    let mut all = handshake();
    all.extend((0..segments).map(|i| {
        B::client(100 + i * step, 500)
            .payload(u64::from(i) % 50, 4)
            .truncated(step - 4)
    }));
    all
}

#[test]
fn a_capture_that_lacks_part_of_every_segment_costs_bounded_state() {
    const SEGMENTS: u32 = 20_000;
    let out = run(INPUT, headers_only(SEGMENTS, 100));
    let [flow] = &out.flows[..] else {
        panic!("{} flows", out.flows.len())
    };
    let half = &flow.halves[0];
    assert_eq!(half.trouble().gaps, u64::from(SEGMENTS));
    assert_eq!(half.trouble().gap_bytes, 96 * u64::from(SEGMENTS));
    assert_eq!(half.stream_bytes, 4 * u64::from(SEGMENTS));
    assert_eq!(half.stream_span, 100 * u64::from(SEGMENTS));
    for (gap, i) in out.gaps.iter().zip(0..) {
        assert_eq!((gap.offset, gap.length), (100 * i + 4, 96));
        assert_eq!(gap.cause, GapCause::Truncated);
    }
    assert!(
        out.stats.peak_memory < 200_000,
        "{} bytes",
        out.stats.peak_memory
    );
}

#[test]
fn a_hole_that_became_final_takes_no_more_bytes_and_loses_none_unseen() {
    let mut all = headers_only(OPEN_HOLES as u32 + 10, 100);
    all.push(B::client(110, 500).payload(0, 20));
    // This one is still open.
    all.push(B::client(100 + 100 * 2000 + 10, 500).payload(0, 20));
    let out = run(INPUT, all);
    let half = &out.flows[0].halves[0];
    assert_eq!(
        (
            half.trouble().overlap_bytes,
            half.trouble().unverified_bytes
        ),
        (20, 20)
    );
    assert_eq!(
        half.stream_bytes,
        4 * (OPEN_HOLES as u64 + 10) + 20,
        "the open hole takes what comes"
    );
    assert_eq!(
        half.stream_bytes + half.trouble().gap_bytes,
        half.stream_span
    );
    assert_eq!(
        half.trouble().gap_bytes,
        out.gaps.iter().map(|gap| gap.length).sum::<u64>()
    );
}

/// A core with flows on as many ports, each of one SYN.
fn opened(ports: u16, ts: Timestamp) -> (Reassembler, Recorder) {
    let mut core = Reassembler::new(config());
    let mut recorder = Recorder::default();
    for port in 1..=ports {
        let mut segment = B::client(99, 0).syn().frame(u64::from(port)).build();
        (segment.key, segment.from) = FlowKey::v4(
            Endpoint::v4([10, 0, 0, 1], port),
            Endpoint::v4([10, 0, 0, 2], 80),
        );
        (segment.ts, segment.watermark) = (ts, ts);
        core.segment(arrival(&segment), &INPUT.to_vec(), &mut recorder);
    }
    (core, recorder)
}

#[test]
fn flows_end_in_ranges_of_their_ids() {
    let (mut core, mut recorder) = opened(100, Timestamp::from_ns(0));
    let now = Timestamp::from_ns(0);
    for bound in [30, 70, u64::MAX] {
        core.finish_before(bound, now, EndReason::Eof, &INPUT.to_vec(), &mut recorder);
        assert!(recorder.flows.iter().all(|flow| flow.flow_id < bound));
        assert_eq!(recorder.flows.len() as u64, bound.min(101) - 1);
    }
    assert_eq!(core.open_flows().count(), 0);
    assert!(
        recorder
            .flows
            .iter()
            .all(|f| f.end_reason == EndReason::Eof)
    );
}

#[test]
fn a_flow_without_times_holds_no_timer_up() {
    let (mut core, mut recorder) = opened(2, Timestamp::NONE);
    let input = &INPUT.to_vec();
    let second = 1_000_000_000;
    core.sweep(Timestamp::from_ns(0), input, &mut recorder);
    assert_eq!(recorder.flows.len(), 0, "silent since just now");
    core.sweep(Timestamp::from_ns(131 * second), input, &mut recorder);
    assert_eq!(recorder.flows.len(), 2);
}

/// Each byte is a piece of its own, and the copy differs in every other one.
#[test]
fn a_copy_that_differs_in_many_places_is_told_in_few_rows() {
    const BYTES: u32 = 200;
    let mut segments = handshake();
    // Pieces of two bytes, so that none is taken for a keep-alive.
    segments.extend((0..BYTES / 2).map(|i| B::client(100 + 2 * i, 500).payload(0, 2)));
    for _ in 0..3 {
        segments.push(B::client(100, 500).payload(0, BYTES));
    }
    let input: Vec<u8> = b"ab"
        .iter()
        .chain(b"xyab".iter().cycle())
        .take(BYTES as usize)
        .copied()
        .collect();
    let out = run(&input, segments);
    let [flow] = &out.flows[..] else {
        panic!("{} flows", out.flows.len())
    };
    let counted = flow.halves[0].trouble().conflict_bytes;
    assert_eq!(counted, 3 * u64::from(BYTES) / 2 / 2 * 2);
    assert_eq!(
        out.conflicts.iter().map(|c| c.differing).sum::<u64>(),
        counted
    );
    assert!(out.conflicts.len() <= 3 * 9, "{} rows", out.conflicts.len());
    for pair in out.conflicts.windows(2) {
        let same = pair[0].refused_frame == pair[1].refused_frame;
        assert!(!same || pair[0].offset + pair[0].length <= pair[1].offset);
    }
    let copies = out.segments.iter().filter(|part| !part.kept);
    assert!(copies.count() <= 3 * 10);
    let told: u64 = out.segments.iter().map(|part| u64::from(part.length)).sum();
    assert_eq!(told, u64::from(BYTES) * 4);
}

/// The last copy stands, and differs in every other pair of bytes.
#[test]
fn a_copy_that_stands_in_many_places_is_told_in_few_parts() {
    const BYTES: u32 = 200;
    let mut segments = handshake();
    segments.extend((0..BYTES / 2).map(|i| B::client(100 + 2 * i, 500).payload(0, 2)));
    segments.push(B::client(100, 500).payload(2, BYTES));
    let input: Vec<u8> = b"ab"
        .iter()
        .chain(b"abxy".iter().cycle())
        .take(BYTES as usize + 2)
        .copied()
        .collect();
    let last = ReassemblyConfig {
        overlap: PolicyMap::new(["last".parse()].into_iter().flatten()),
        ..config()
    };
    let out = run_with(last, &input, segments);
    let copies = out.segments.iter().skip(BYTES as usize / 2);
    let told: u32 = copies.clone().map(|part| part.length).sum();
    assert_eq!(told, BYTES);
    assert!(copies.clone().count() <= 10, "{} parts", copies.count());
    // What stands can be read from the rows all the same.
    let mut stream = vec![0; BYTES as usize];
    for part in out.segments.iter().filter(|part| part.kept) {
        let offset = part.offset.and_then(|at| usize::try_from(at).ok());
        let (Some(start), Some(from)) = (offset, part.file_offset) else {
            panic!("a part has no place")
        };
        let (from, length) = (from as usize, part.length as usize);
        stream[start..start + length].copy_from_slice(&input[from..from + length]);
    }
    assert_eq!(stream, &input[2..]);
}

#[test]
fn syns_that_wait_are_counted_with_their_bytes() {
    let long = |isn: u32| {
        let bytes: Arc<[u8]> = vec![0; 60_000].into();
        let mut segment = B::client(isn, 0).syn().build();
        segment.payload = Payload::owned(&bytes, 0, 60_000);
        segment
    };
    let mut core = Reassembler::new(config());
    let mut recorder = Recorder::default();
    core.segment(
        arrival(&B::client(99, 0).syn().build()),
        &INPUT.to_vec(),
        &mut recorder,
    );
    for isn in 0..8 {
        core.segment(
            arrival(&long(1_000_000 * (isn + 1))),
            &INPUT.to_vec(),
            &mut recorder,
        );
    }
    assert!(core.stats().peak_memory > 8 * 60_000);
}
