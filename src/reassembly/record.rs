//! The end of a flow: its gaps, and its row.

use super::connection::{Connection, Phase, Surroundings};
use crate::model::{Direction, EndReason, FlowRecord, HalfRecord, Side, TcpFlags, Trouble};

/// Finishes a flow: the rest of its bytes and its gaps go to the sink, and then its row.
///
/// `unclosed` is the reason where neither FIN nor RST closed the flow.
pub(super) fn finish(flow: &mut Connection, unclosed: EndReason, around: &mut Surroundings<'_>) {
    flow.judge_last(around);
    let mut halves = [HalfRecord::default(), HalfRecord::default()];
    let sides = [flow.client, flow.client.other()];
    for (side, direction) in sides.into_iter().zip(Direction::BOTH) {
        let stream_span = flow.finish_half(side, around);
        halves[direction.index()] = half_record(flow, side, stream_span);
    }
    let end_reason = match flow.phase {
        Phase::Finished => EndReason::Fin,
        Phase::Reset | Phase::Challenged => EndReason::Rst,
        Phase::Opening | Phase::Open => unclosed,
    };
    let closed = flow.phase.is_closed() || flow.phase == Phase::Challenged;
    let handshake = halves.iter().all(|half| half.syn.is_some());
    let clean = halves.iter().map(HalfRecord::trouble).all(|trouble| {
        trouble.gaps == 0 && trouble.truncated_bytes == 0 && trouble.conflict_bytes == 0
    });
    let all_taken = sides.iter().all(|&side| {
        let bytes = flow.half(side).stream.bytes();
        bytes.rejected == bytes.behind_end
    });
    around.sink.flow(FlowRecord {
        flow_id: flow.flow_id,
        key: flow.key,
        client: flow.client,
        client_by: flow.client_by,
        midstream: halves
            .iter()
            .all(|half| half.tcp_flags & TcpFlags::SYN == 0),
        tuple_seq: flow.tuple_seq,
        first_ts: flow.first_ts,
        last_ts: flow.last_ts,
        syn_rtt_ns: flow.syn_rtt_ns,
        ack_rtt_ns: flow.ack_rtt_ns,
        conn_state: flow
            .tracker
            .conn_state(halves[0].stream_span, halves[1].stream_span),
        history: flow.tracker.history(),
        end_reason,
        complete: handshake && clean && all_taken && closed,
        halves,
        last_frame: flow.last_frame,
        file_id: flow.file_id,
        encapsulation: flow.encapsulation.take(),
    });
}

fn half_record(flow: &Connection, side: Side, stream_span: u64) -> HalfRecord {
    let half = flow.half(side);
    let (bytes, counts) = (half.stream.bytes(), half.analysis.counts());
    let lacks = half.lacks.get();
    let trouble = Trouble {
        gap_bytes: lacks.gap_bytes,
        gaps: lacks.gaps,
        retrans_packets: counts.retrans_packets,
        retrans_bytes: counts.retrans_bytes,
        ooo_packets: counts.ooo_packets,
        dup_acks: counts.dup_acks,
        zero_windows: counts.zero_windows,
        keepalives: counts.keepalives,
        overlap_bytes: bytes.duplicate + bytes.conflicting,
        conflict_bytes: bytes.conflicting,
        rejected_bytes: bytes.rejected,
        crowded_out_bytes: bytes.crowded_out,
        limit_bytes: bytes.limited,
        unverified_bytes: bytes.unverified,
        truncated_bytes: lacks.truncated_bytes,
    };
    HalfRecord {
        packets: half.packets,
        ip_bytes: half.ip_bytes,
        payload_bytes: half.payload_bytes,
        stream_bytes: bytes.unique,
        stream_span,
        trouble: (trouble != Trouble::default()).then(|| Box::new(trouble)),
        syn: half.syns.chosen(),
        tcp_flags: half.tcp_flags,
    }
}
