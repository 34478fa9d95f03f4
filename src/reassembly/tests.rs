//! Whole flows through the core.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers in tests are small"
)]

mod forged;
mod limits;

use super::assembler::OPEN_HOLES;
use super::event::{EventSink, StreamData};
use super::testing::{SegmentBuilder as B, ms};
use super::*;
use crate::config::PolicyMap;
use crate::model::{
    Conflict, Direction, FlowRecord, Gap, GapCause, InputPos, LinkType, SegmentPart, TimeUnit,
};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Keeps everything it is told.
#[derive(Default)]
struct Recorder {
    data: Vec<StreamData>,
    gaps: Vec<Gap>,
    flows: Vec<FlowRecord>,
    conflicts: Vec<Conflict>,
    segments: Vec<SegmentPart>,
    /// Flow and offset.
    frames: Vec<(u64, u64)>,
    stats: ReassemblyStats,
}

impl EventSink for Recorder {
    fn frames(&mut self, flow_id: u64, frames: &[FrameRef]) {
        let frames = frames.iter().map(|frame| (flow_id, frame.at.offset()));
        self.frames.extend(frames);
    }
    fn data(&mut self, data: StreamData) {
        self.data.push(data);
    }
    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }
    fn conflict(&mut self, conflict: Conflict) {
        self.conflicts.push(conflict);
    }
    fn segment(&mut self, part: SegmentPart) {
        self.segments.push(part);
    }
    fn flow(&mut self, record: FlowRecord) {
        self.flows.push(record);
    }
}

impl Recorder {
    /// Every frame went to one flow, and each flow has as many as it counts packets.
    fn check_frames(&self) {
        let mut numbers: Vec<u64> = self.frames.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
        for flow in &self.flows {
            let told = self.frames.iter().filter(|(id, _)| *id == flow.flow_id);
            let counted: u64 = flow.halves.iter().map(|half| half.packets).sum();
            assert_eq!(told.count() as u64, counted, "flow {}", flow.flow_id);
        }
    }

    /// The stream's file, dots for holes.
    fn text(&self, input: &[u8], flow_id: u64, direction: Direction) -> String {
        let mut bytes = BTreeMap::new();
        for run in &self.data {
            if run.flow.flow_id == flow_id && run.direction == direction {
                for (at, &byte) in (run.position..).zip(run.payload.bytes(input).iter()) {
                    assert_eq!(bytes.insert(at, byte), None, "a byte was told twice");
                }
            }
        }
        let len = bytes.last_key_value().map_or(0, |(&last, _)| last + 1);
        (0..len)
            .map(|at| bytes.get(&at).map_or('.', |&byte| char::from(byte)))
            .collect()
    }
}

fn config() -> ReassemblyConfig {
    ReassemblyConfig {
        timeouts: Timeouts::default(),
        max_gap: 16 << 20,
        shard_memory: 1 << 26,
        overlap: PolicyMap::default(),
        max_stream_bytes: u64::MAX,
        segments: true,
    }
}

fn run(input: &[u8], segments: Vec<B>) -> Recorder {
    run_with(config(), input, segments)
}

fn run_with(config: ReassemblyConfig, input: &[u8], segments: Vec<B>) -> Recorder {
    let mut core = Reassembler::new(config);
    let mut recorder = Recorder::default();
    let mut watermark = Timestamp::NONE;
    let input = &input.to_vec();
    for (frame, builder) in (1..).zip(segments) {
        let mut segment = builder.frame(frame).build();
        watermark = watermark.max(segment.ts);
        segment.watermark = watermark;
        let carrier = [carrier(frame)];
        let arrival = Arrival {
            frames: &carrier,
            ..arrival(&segment)
        };
        core.segment(arrival, input, &mut recorder);
    }
    core.finish_before(u64::MAX, watermark, EndReason::Eof, input, &mut recorder);
    assert_eq!((core.memory, core.table.len()), (0, 0), "state leaked");
    recorder.stats = core.stats();
    recorder.check_frames();
    recorder
}

/// A segment that came without its frame.
fn arrival(segment: &Segment) -> Arrival<'_> {
    static PLAIN: LazyLock<Encapsulation> = LazyLock::new(Encapsulation::default);
    Arrival {
        segment,
        encapsulation: &PLAIN,
        frames: &[],
    }
}

/// A frame that is told by its offset.
fn carrier(number: u64) -> FrameRef {
    FrameRef {
        ts: Timestamp::NONE,
        at: InputPos::new(0, number),
        len: 0,
        original_len: 0,
        link: LinkType(1),
        unit: TimeUnit::Micro,
        fcs_len: 0,
        place: 0,
    }
}

const INPUT: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A handshake with client ISN 99 and server ISN 499.
fn handshake() -> Vec<B> {
    vec![
        B::client(99, 0).syn(),
        B::server(499, 100).syn_ack(),
        B::client(100, 500),
    ]
}

fn with_handshake(more: Vec<B>) -> Vec<B> {
    let mut all = handshake();
    all.extend(more);
    all
}

#[test]
fn a_whole_connection() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 5),
            B::server(500, 105).payload(10, 3),
            B::client(105, 503).fin(),
            B::server(503, 106).fin(),
            B::client(106, 504),
        ]),
    );
    assert_eq!(out.flows.len(), 1);
    let flow = &out.flows[0];
    assert!(flow.complete && !flow.midstream);
    assert_eq!(
        (flow.end_reason, flow.conn_state.name()),
        (EndReason::Fin, "SF")
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcde");
    assert_eq!(out.text(INPUT, 1, Direction::S2c), "klm");
    assert_eq!(flow.halves[0].stream_span, 5);
    assert!(out.gaps.is_empty());
}

#[test]
fn an_acknowledged_hole_is_a_gap_and_keeps_offsets() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 3),
            B::client(106, 500).payload(6, 3),
            B::server(500, 109),
        ]),
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abc...ghi");
    let gap = out.gaps[0];
    assert_eq!((gap.offset, gap.length, gap.cause), (3, 3, GapCause::Lost));
    assert!(!out.flows[0].complete);
}

#[test]
fn a_snap_length_cut_is_a_truncated_gap() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 3).truncated(7),
            B::client(110, 500).payload(10, 2),
        ]),
    );
    let gap = out.gaps[0];
    assert_eq!(
        (gap.offset, gap.length, gap.cause),
        (3, 7, GapCause::Truncated)
    );
    assert_eq!(out.flows[0].halves[0].trouble().truncated_bytes, 7);
}

#[test]
fn a_fin_shows_what_is_missing_at_the_end() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 3),
            B::client(120, 500).fin(),
        ]),
    );
    let gap = out.gaps[0];
    assert_eq!(
        (gap.offset, gap.length, gap.cause),
        (3, 17, GapCause::NotCapturedAtEnd)
    );
    assert_eq!(out.flows[0].halves[0].stream_span, 20);
}

#[test]
fn an_acknowledged_fin_that_was_not_captured_is_no_gap() {
    let out = run(
        INPUT,
        with_handshake(vec![B::client(100, 500).payload(0, 3), B::server(500, 104)]),
    );
    assert!(out.gaps.is_empty());
}

#[test]
fn midstream_begins_at_the_lowest_number_of_its_head() {
    let out = run(
        INPUT,
        vec![
            B::client(110, 500).payload(10, 3),
            B::client(107, 500).payload(7, 3),
            B::client(113, 500).payload(13, 1),
        ],
    );
    assert!(out.flows[0].midstream);
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "hijklmn");
}

#[test]
fn a_reused_port_is_a_new_flow_and_a_repeated_syn_is_not() {
    let closed = with_handshake(vec![
        B::client(100, 500).payload(0, 2),
        B::client(102, 500).fin(),
        B::server(500, 103).fin(),
        B::client(99, 0).syn(),
        B::client(9000, 0).syn(),
        B::server(7000, 9001).syn_ack(),
        B::client(9001, 7001).payload(20, 2),
    ]);
    let out = run(INPUT, closed);
    assert_eq!(out.flows.len(), 2);
    assert_eq!(out.flows[0].flow_id, 1);
    assert_eq!(out.flows[1].tuple_seq, 2);
    assert_eq!(out.text(INPUT, 8, Direction::C2s), "uv");
}

#[test]
fn data_beyond_a_fin_begins_a_flow_whose_handshake_was_not_captured() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(102, 500).fin(),
            B::server(500, 103).fin(),
            B::client(100, 500).payload(0, 2),
            B::client(5_000_103, 900).payload(9, 2),
        ]),
    );
    assert_eq!(
        out.flows.len(),
        2,
        "the repeated data is a stray, the other is not"
    );
    assert_eq!(out.text(INPUT, 8, Direction::C2s), "jk");
    assert!(out.gaps.is_empty());
}

#[test]
fn a_lone_forged_syn_does_not_cut_a_live_connection() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(70_000_000, 0).syn(),
            B::client(102, 500).payload(2, 2),
            B::server(500, 104),
        ]),
    );
    assert_eq!(out.flows.len(), 1);
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcd");
    assert_eq!(out.flows[0].halves[0].packets, 5);
}

#[test]
fn an_answered_syn_in_a_live_connection_begins_a_new_flow_with_itself() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(7000, 0).syn(),
            B::client(7000, 0).syn(),
            B::server(8000, 7001).syn_ack(),
            B::client(7001, 8001).payload(5, 2),
        ]),
    );
    assert_eq!(out.flows.len(), 2);
    assert_eq!(
        (out.flows[0].end_reason, out.flows[1].flow_id),
        (EndReason::Reuse, 5)
    );
    assert_eq!(out.text(INPUT, 5, Direction::C2s), "fg");
    assert_eq!(out.flows[1].halves[0].packets, 3);
}

#[test]
fn an_unanswered_syn_after_the_last_segment_is_an_attempt_of_its_own() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(7000, 0).syn(),
        ]),
    );
    assert_eq!(out.flows.len(), 2);
    assert_eq!(out.flows[1].conn_state.name(), "S0");
}

#[test]
fn wild_segments_need_confirmation() {
    let far = 100 + (64 << 20);
    let lone = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(far, 500).payload(5, 2),
            B::client(102, 500).payload(2, 2),
        ]),
    );
    assert_eq!(lone.text(INPUT, 1, Direction::C2s), "abcd");
    assert_eq!(lone.flows[0].halves[0].trouble().rejected_bytes, 2);
    assert!(lone.gaps.is_empty());

    let acknowledged = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(far, 500).payload(5, 2),
            B::server(500, far + 2),
        ]),
    );
    assert_eq!(acknowledged.text(INPUT, 1, Direction::C2s), "abfg");
    assert!(acknowledged.gaps[0].elided);

    let neighbours = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(far, 500).payload(5, 2),
            B::client(far + 2, 500).payload(7, 2),
            B::client(far + 4, 500).payload(9, 2),
        ]),
    );
    assert_eq!(neighbours.text(INPUT, 1, Direction::C2s), "abfghijk");
}

#[test]
fn keepalives_overwrite_nothing_and_conflict_with_nothing() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 4),
            B::client(103, 500).payload(50, 1),
            B::client(103, 500),
            B::client(104, 500).payload(4, 1),
        ]),
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcde");
    assert_eq!(
        (
            out.flows[0].halves[0].trouble().conflict_bytes,
            out.flows[0].halves[0].trouble().keepalives
        ),
        (0, 2)
    );
}

#[test]
fn keepalives_of_a_flow_picked_up_midstream_conflict_with_nothing() {
    let out = run(
        INPUT,
        vec![
            B::client(100, 500).payload(0, 4),
            B::client(103, 500).payload(50, 1),
            B::client(104, 500).payload(4, 1),
        ],
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcde");
    assert_eq!(out.flows[0].halves[0].trouble().conflict_bytes, 0);
}

#[test]
fn a_plausible_reset_closes_and_a_wild_one_does_not() {
    let data = || B::client(100, 500).payload(0, 4);
    let wild = run(
        INPUT,
        with_handshake(vec![data(), B::server(90_000_000, 104).rst(), data()]),
    );
    assert_eq!(wild.flows[0].end_reason, EndReason::Eof);
    let real = run(
        INPUT,
        with_handshake(vec![data(), B::server(500, 104).rst().payload(9, 5)]),
    );
    assert_eq!(real.flows[0].end_reason, EndReason::Rst);
    assert_eq!(
        real.flows[0].halves[1].trouble().rejected_bytes,
        5,
        "text on a RST is no stream data"
    );
}

#[test]
fn timeouts_follow_the_phase_of_the_connection() {
    let second = ms(1000);
    let idle = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2).at(7500 * second),
            B::client(102, 500).payload(2, 2).at(15_001 * second),
        ]),
    );
    assert_eq!(idle.flows.len(), 2);
    assert_eq!(idle.flows[0].end_reason, EndReason::Idle);
    let attempt = run(
        INPUT,
        vec![
            B::client(99, 0).syn(),
            B::client(99, 0).syn().at(130 * second),
            B::client(99, 0).syn().at(261 * second),
        ],
    );
    assert_eq!(attempt.flows.len(), 2);
    assert_eq!(attempt.flows[0].end_reason, EndReason::HandshakeTimeout);
}

#[test]
fn the_budget_evicts_the_longest_idle_flow() {
    let mut tight = config();
    tight.shard_memory = FLOW_BYTES as u64 + 200;
    let out = run_with(tight, INPUT, with_handshake(vec![]));
    assert!(!out.flows.is_empty());
    tight = config();
    tight.shard_memory = 1;
    let out = run_with(
        tight,
        INPUT,
        with_handshake(vec![B::client(100, 500).payload(0, 2)]),
    );
    assert!(
        out.flows
            .iter()
            .all(|flow| flow.end_reason == EndReason::Evicted)
    );
    assert_eq!(
        out.flows.len(),
        4,
        "each segment is a flow of its own when nothing may be kept"
    );
}

#[test]
fn an_isn_at_the_wrap_changes_nothing() {
    for isn in [0u32, 1, u32::MAX, u32::MAX - 10] {
        let at = |offset: u32| isn.wrapping_add(1).wrapping_add(offset);
        let out = run(
            INPUT,
            vec![
                B::client(isn, 0).syn(),
                B::server(499, at(0)).syn_ack(),
                B::client(at(0), 500).payload(0, 8),
                B::client(at(12), 500).payload(12, 8),
                B::client(at(8), 500).payload(8, 4),
                B::client(at(20), 500).fin(),
            ],
        );
        assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcdefghijklmnopqrst");
        assert!(out.gaps.is_empty());
    }
}

#[test]
fn forged_fins_far_away_close_nothing() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(100 + (1 << 30), 500).fin(),
            B::server(500 + (1 << 30), 102).fin(),
            B::client(102, 500).payload(2, 2),
        ]),
    );
    assert_eq!(out.flows.len(), 1);
    assert_eq!(out.flows[0].end_reason, EndReason::Eof);
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcd");
    assert!(out.gaps.is_empty());
}

#[test]
fn a_byte_that_the_snap_length_cut_off_is_no_keepalive_when_sent_again() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 3),
            B::client(103, 500).truncated(1),
            B::client(103, 500).payload(3, 1),
        ]),
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcd");
    assert!(out.gaps.is_empty());
}

#[test]
fn acknowledgements_count_though_offset_zero_is_not_known_yet() {
    let out = run(
        INPUT,
        vec![
            B::client(100, 500).payload(0, 3),
            B::server(500, 103),
            B::server(500, 110),
        ],
    );
    let gap = out.gaps[0];
    assert_eq!((gap.offset, gap.length), (3, 7));
    assert_eq!(gap.cause, GapCause::NotCapturedAtEnd);
}

#[test]
fn a_forged_acknowledgement_of_an_unseen_direction_shows_no_gap() {
    let out = run(
        INPUT,
        vec![
            B::client(100, 500).payload(0, 3),
            B::client(103, 520).payload(3, 3),
            B::client(106, 2_000_000_000).payload(6, 3),
            B::client(109, 521).payload(9, 1),
        ],
    );
    assert_eq!(out.gaps.len(), 1, "and the last step of one is a FIN's");
    assert_eq!((out.gaps[0].offset, out.gaps[0].length), (0, 20));
}

#[test]
fn data_on_a_stray_syn_is_no_stream_data() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(110, 0).syn().payload(40, 5),
            B::client(102, 500).payload(2, 2),
        ]),
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcd");
    assert_eq!(out.flows[0].halves[0].trouble().rejected_bytes, 5);
}

#[test]
fn flows_on_a_key_are_counted_however_long_the_pause() {
    let second = ms(1000);
    for pause in [60, 121, 9000] {
        let mut segments =
            with_handshake(vec![B::client(100, 500).fin(), B::server(500, 101).fin()]);
        segments.push(B::client(9000, 0).syn().at(pause * second));
        let flows = run(INPUT, segments).flows;
        assert_eq!(
            flows.iter().map(|flow| flow.tuple_seq).collect::<Vec<_>>(),
            [1, 2]
        );
    }
}

#[test]
fn an_unanswered_attempt_times_out_as_a_handshake() {
    let second = ms(1000);
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 2),
            B::client(7000, 0).syn().at(second),
            B::client(70_000, 0).syn().at(8000 * second),
        ]),
    );
    let reasons: Vec<_> = out.flows.iter().map(|flow| flow.end_reason).collect();
    assert_eq!(
        reasons,
        [
            EndReason::Reuse,
            EndReason::HandshakeTimeout,
            EndReason::Eof
        ]
    );
}

#[test]
fn a_last_byte_captured_behind_its_fin_is_no_keepalive() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 5),
            B::client(106, 500).fin(),
            B::client(105, 500).payload(5, 1),
        ]),
    );
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcdef");
    assert!(out.gaps.is_empty());
}

#[test]
fn data_behind_acknowledged_gigabytes_has_its_place() {
    let mut segments = with_handshake(vec![B::client(100, 500).payload(0, 5)]);
    let step = 16 << 20;
    let far = 3u32 << 30;
    segments.extend((1..=far / step).map(|i| B::server(500, 100 + i * step)));
    segments.push(B::client(100 + far, 500).payload(7, 3));
    let out = run(INPUT, segments);
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "abcdehij");
    assert_eq!(out.flows[0].halves[0].stream_span, u64::from(far) + 3);
}

#[test]
fn a_stray_first_segment_does_not_decide_where_a_midstream_flow_begins() {
    let mut segments = vec![B::client(3_000_000_000, 500).payload(0, 1)];
    segments.extend((0..5).map(|i| B::client(2_000_000_000 + i * 2, 500).payload(10, 2)));
    let out = run(INPUT, segments);
    assert_eq!(out.text(INPUT, 1, Direction::C2s), "klklklklkl");
}

#[test]
fn a_fin_before_what_was_sent_ends_nothing() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(100, 500).payload(0, 5),
            B::client(100u32.wrapping_sub(5000), 500).fin(),
            B::server(500, 106),
        ]),
    );
    assert!(out.gaps.is_empty());
    assert_eq!(out.flows[0].halves[0].stream_span, 5);
}

#[test]
fn connections_that_only_syn_acks_tell_apart_are_flows_of_their_own() {
    let one = |isn: u32, from: u64| {
        vec![
            B::server(isn, 100).syn_ack(),
            B::server(isn + 1, 100).payload(from, 4),
            B::server(isn + 5, 100).fin(),
        ]
    };
    let far = [1000, 500_000_000, 900_000_000];
    let mut segments = Vec::new();
    for (isn, from) in far.into_iter().zip([0, 10, 20]) {
        let ack = isn / 3;
        segments.extend(one(isn, from).into_iter().map(|segment| segment.ack(ack)));
    }
    let out = run(INPUT, segments);
    assert_eq!(out.flows.len(), 3);
    assert_eq!(out.text(INPUT, 4, Direction::S2c), "klmn");
    assert!(
        out.flows
            .iter()
            .all(|flow| flow.halves[1].trouble().rejected_bytes == 0)
    );
}

#[test]
fn nine_copies_of_an_unanswered_syn_are_an_attempt_like_eight() {
    for copies in [8, 9] {
        let mut segments = with_handshake(vec![B::client(100, 500).payload(0, 2)]);
        segments.extend((0..copies).map(|_| B::client(7000, 0).syn()));
        let out = run(INPUT, segments);
        assert_eq!(out.flows.len(), 2, "{copies} copies");
    }
}

#[test]
fn a_candidate_that_the_old_flow_closes_before_begins_its_flow_with_its_first_syn() {
    let out = run(
        INPUT,
        with_handshake(vec![
            B::client(70_000_000, 0).syn(),
            B::client(100, 500).fin(),
            B::server(500, 101).fin(),
            B::client(70_000_000, 0).syn(),
            B::server(8000, 70_000_001).syn_ack(),
        ]),
    );
    assert_eq!(out.flows.len(), 2);
    assert_eq!(out.flows[1].flow_id, 4);
}

#[test]
fn many_small_holes_make_no_giant_file() {
    let step = 15 << 20;
    // Without the peer's SYN its window is not known.
    let mut segments = vec![B::client(99, 0).syn()];
    segments.extend((0..200u32).map(|i| B::client(100 + i * step, 500).payload(0, 2)));
    let out = run(INPUT, segments);
    let end = out.data.iter().map(|run| run.position).max().unwrap();
    assert!(end < 64 << 20, "the file reaches {end}");
    assert!(out.gaps.iter().any(|gap| gap.elided));
    assert_eq!(out.flows[0].halves[0].stream_bytes, 400);
}

#[test]
fn flows_that_begin_in_one_frame_have_ids_of_their_own() {
    let ids: Vec<u64> = (0..3)
        .map(|ordinal| {
            Segment {
                ordinal,
                ..B::client(1, 1).frame(7).build()
            }
            .flow_id()
        })
        .collect();
    assert_eq!(ids[0], 7);
    assert!(ids[1] != ids[0] && ids[2] != ids[1]);
    assert!(
        ids.iter()
            .all(|&id| crate::model::segment::first_frame(id) == 7)
    );
}

mod property {
    use super::*;
    use proptest::prelude::*;

    /// What a client sends after the handshake: stream offset, length, payload's place in the input.
    fn segments() -> impl Strategy<Value = Vec<(u32, u32, u64)>> {
        prop::collection::vec((0u32..300, 2u32..40, 0u64..20), 0..60)
    }

    proptest! {
        /// The oracle: the first byte that comes for an offset stands. The ISN, the order and the
        /// overlaps are arbitrary; lengths of one are left out, since they may be keep-alives.
        #[test]
        fn a_stream_is_what_a_vector_says(sent in segments(), isn: u32, fin in any::<bool>()) {
            let at = |offset: u32| isn.wrapping_add(1).wrapping_add(offset);
            let mut oracle: Vec<Option<u8>> = vec![None; 400];
            let mut all = vec![
                B::client(isn, 0).syn(),
                B::server(499, at(0)).syn_ack(),
                B::client(at(0), 500),
            ];
            let mut end = 0;
            let mut captured = 0;
            for &(offset, len, from) in &sent {
                all.push(B::client(at(offset), 500).payload(from, len));
                for i in 0..len as usize {
                    let byte = INPUT[from as usize + i];
                    oracle[offset as usize + i].get_or_insert(byte);
                }
                end = end.max(offset + len);
                captured += u64::from(len);
            }
            if fin {
                end += 7;
                all.push(B::client(at(end), 500).fin());
            }
            let out = run(INPUT, all);
            prop_assert_eq!(out.flows.len(), 1);
            let last = oracle.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            let want: String =
                oracle[..last].iter().map(|byte| byte.map_or('.', char::from)).collect();
            prop_assert_eq!(out.text(INPUT, 1, Direction::C2s), want);

            let half = &out.flows[0].halves[0];
            let missing: u64 = out.gaps.iter().map(|gap| gap.length).sum();
            prop_assert_eq!(half.stream_span, u64::from(end));
            prop_assert_eq!(half.stream_bytes + missing, half.stream_span);
            prop_assert_eq!(half.trouble().gap_bytes, missing);
            prop_assert_eq!(half.stream_bytes + half.trouble().overlap_bytes, captured);
            for gap in &out.gaps {
                let range = gap.offset as usize..(gap.offset + gap.length) as usize;
                prop_assert!(oracle[range].iter().all(Option::is_none));
            }
        }

        /// Whatever comes, every captured byte is counted once and nothing panics.
        #[test]
        fn every_byte_is_counted_once(
            sent in prop::collection::vec(
                (any::<bool>(), any::<u32>(), any::<u32>(), any::<u8>(), 0u32..30, 0u32..3, 0i64..200),
                0..80,
            ),
            near in any::<bool>(),
            max_gap in prop_oneof![Just(0u64), Just(16 << 20)],
        ) {
            let squeeze = |number: u32| if near { number % 200 } else { number };
            let mut captured = 0;
            let mut now = 0;
            let mut all = Vec::new();
            for (client, seq, ack, flags, len, cut, pause) in sent {
                now += pause * ms(1000);
                captured += u64::from(len);
                let (seq, ack) = (squeeze(seq), squeeze(ack));
                let segment = if client { B::client(seq, ack) } else { B::server(seq, ack) };
                all.push(segment.payload(0, len).truncated(cut).flags(flags & 0x17).at(now));
            }
            let count = all.len() as u64;
            let out = run_with(ReassemblyConfig { max_gap, ..config() }, INPUT, all);
            let halves = || out.flows.iter().flat_map(|flow| &flow.halves);
            let sum: u64 = halves()
                .map(|half| half.stream_bytes + half.trouble().overlap_bytes + half.trouble().rejected_bytes)
                .sum();
            prop_assert_eq!(sum, captured);
            prop_assert_eq!(halves().map(|half| half.packets).sum::<u64>(), count);
            for half in halves() {
                prop_assert_eq!(half.stream_bytes + half.trouble().gap_bytes, half.stream_span);
            }
            let told: u64 = out.data.iter().map(|run| u64::from(run.payload.len())).sum();
            prop_assert_eq!(told, halves().map(|half| half.stream_bytes).sum::<u64>());
        }
    }
}
