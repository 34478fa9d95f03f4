//! One flow: its two half-streams, who is the client, and how far it has come.

mod handshake;
mod roles;
mod streams;

use super::candidate::Candidate;
use super::conn_state::{ConnTracker, Role};
use super::event::{EventSink, FlowName, StreamData};
use super::half::Half;
use super::half_stream::RstPlace;
use super::notes::Notes;
use super::overlap::OverlapPolicy;
use super::seldom::Seldom;
use crate::model::{
    ClientBy, Conflict, Direction, Encapsulation, FlowKey, FrameRef, Gap, Payload, PayloadSource,
    Segment, SegmentFacts, SegmentPart, Side, TcpFlags, Timestamp, Tunnel,
};

/// How long an idle connection is left alone before it is probed, at least, nanoseconds: the least interval that Linux
/// takes for `TCP_KEEPINTVL`, a second. Reordering in captures is shorter by far.
const PROBE_NS: i64 = 1_000_000_000;

/// How far a connection has come; decides which timeout applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Nothing but SYNs so far.
    Opening,
    /// Data may flow, in one direction at least.
    Open,
    /// Both sides sent FIN.
    Finished,
    /// A plausible RST was seen.
    Reset,
    /// The last word was a RST in the window, but not at the next number. A receiver asks back and goes on
    /// (RFC 5961, 3.2), so it closes the connection only if nothing follows.
    Challenged,
}

impl Phase {
    /// Whether the connection is over and only strays can follow.
    pub(super) const fn is_closed(self) -> bool {
        matches!(self, Phase::Finished | Phase::Reset)
    }
}

/// What a connection needs from outside while it takes a segment.
pub(super) struct Surroundings<'a> {
    /// Gives payload bytes.
    pub source: &'a dyn PayloadSource,
    /// Takes events.
    pub sink: &'a mut dyn EventSink,
    /// Largest hole that stays open in a payload file, bytes.
    pub max_gap: u64,
    /// Bytes of a stream that are kept.
    pub depth: u64,
    /// What half-streams noted.
    pub notes: Notes,
}

/// One flow.
#[derive(Debug)]
pub(super) struct Connection {
    /// Both ends.
    pub key: FlowKey,
    /// Number of its first frame (see [`Segment::flow_id`]).
    pub flow_id: u64,
    /// Which end is the client, and how that was told.
    pub client: Side,
    /// How the client was told.
    pub client_by: ClientBy,
    /// Encapsulation of its first frame, if it has any.
    pub encapsulation: Option<Box<Encapsulation>>,
    /// The n-th flow on this key, from 1.
    pub tuple_seq: u32,
    /// Index of the input file of its first frame.
    pub file_id: u16,
    /// Least and greatest time.
    pub first_ts: Timestamp,
    /// Greatest time.
    pub last_ts: Timestamp,
    /// Number of its last frame.
    pub last_frame: u64,
    /// Handshake round trip as seen at the tap, nanoseconds.
    pub syn_rtt_ns: Option<i64>,
    /// SYN-ACK to ACK, nanoseconds.
    pub ack_rtt_ns: Option<i64>,
    /// How far it has come.
    pub phase: Phase,
    /// Zeek's view.
    pub tracker: ConnTracker,
    /// RSTs and FINs that lie where the peer would not believe them.
    pub(super) implausible_ends: u64,
    /// Segments that were delivered once more.
    pub(super) mirror_copies: u64,
    /// SYNs that may begin another flow on this key, in order of capture.
    pub candidates: Seldom<Vec<Candidate>>,
    halves: [Half; 2],
    /// When its first and its last payload segment were captured.
    first_payload: Timestamp,
    last_payload: Timestamp,
    syn_at: Timestamp,
    syn_ack_at: Timestamp,
    /// Bytes have gone out under its name, so the roles stand.
    named: bool,
    /// Both SYNs were captured and acknowledged.
    saw_handshake: bool,
    /// When its last segment was captured, whatever the order of times.
    last_seen: Timestamp,
    /// Memory beyond the struct itself when it was last counted, bytes.
    counted: usize,
}

impl Connection {
    /// A flow that begins with this segment, which it does not take yet. `policies` are those of the
    /// halves that the lower and the upper side send.
    pub(super) fn new(
        segment: &Segment,
        encapsulation: &Encapsulation,
        tuple_seq: u32,
        policies: [OverlapPolicy; 2],
    ) -> Connection {
        let (client, client_by) = roles::at_first(segment);
        let mut tracker = ConnTracker::default();
        if client_by == ClientBy::SynAck {
            tracker.flipped();
        }
        Connection {
            key: segment.key,
            flow_id: segment.flow_id(),
            client,
            client_by,
            encapsulation: (*encapsulation != Encapsulation::default())
                .then(|| Box::new(encapsulation.clone())),
            tuple_seq,
            file_id: segment.file_id,
            first_ts: segment.ts,
            last_ts: segment.ts,
            last_frame: segment.frame,
            syn_rtt_ns: None,
            ack_rtt_ns: None,
            phase: Phase::Opening,
            tracker,
            implausible_ends: 0,
            mirror_copies: 0,
            candidates: Seldom::default(),
            halves: policies.map(Half::new),
            first_payload: Timestamp::NONE,
            last_payload: Timestamp::NONE,
            syn_at: Timestamp::NONE,
            syn_ack_at: Timestamp::NONE,
            named: false,
            saw_handshake: false,
            last_seen: Timestamp::NONE,
            counted: 0,
        }
    }

    /// The half that this side sends.
    pub(super) const fn half(&self, side: Side) -> &Half {
        &self.halves[side as usize]
    }

    /// The half that this side sends.
    const fn half_mut(&mut self, side: Side) -> &mut Half {
        &mut self.halves[side as usize]
    }

    /// Both halves, the segment's own first.
    pub(super) const fn halves_mut(&mut self, own: Side) -> (&mut Half, &mut Half) {
        let [lower, upper] = &mut self.halves;
        match own {
            Side::Lower => (lower, upper),
            Side::Upper => (upper, lower),
        }
    }

    /// What names its files.
    pub(super) const fn name(&self) -> FlowName {
        FlowName {
            flow_id: self.flow_id,
            key: self.key,
            client: self.client,
        }
    }

    /// The direction in which this side sends.
    pub(super) fn direction(&self, side: Side) -> Direction {
        if side == self.client {
            Direction::C2s
        } else {
            Direction::S2c
        }
    }

    /// Takes a segment that belongs to this flow, carried by `frames`.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        frames: &[FrameRef],
        around: &mut Surroundings<'_>,
    ) {
        if !frames.is_empty() {
            around.sink.frames(self.flow_id, frames);
        }
        let greets = segment.flags.0 & (TcpFlags::SYN | TcpFlags::RST) == TcpFlags::SYN;
        let acceptable = !greets || self.is_acceptable(segment);
        let counts = greets && acceptable && self.may_begin(segment);
        if counts {
            self.settle_roles(segment);
        }
        // Only a probe asks.
        let quiet = segment.wire_len() == 1
            && segment
                .ts
                .since(self.last_ts)
                .is_some_and(|idle| idle >= PROBE_NS);
        self.last_seen = segment.ts;
        self.first_ts = self.first_ts.earliest(segment.ts);
        self.last_ts = self.last_ts.max(segment.ts);
        self.last_frame = self.last_frame.max(segment.frame);
        if let Some(candidates) = self.candidates.changed_mut() {
            for candidate in candidates {
                candidate.contradicted = true;
            }
        }
        self.count(segment);
        let rst = segment.flags.rst().then(|| self.rst_place(segment));
        if counts {
            self.take_syn(segment, around);
        }
        let new_gaps = self.stream(segment, acceptable, quiet, around);
        if self.ack_rtt_ns.is_none() {
            self.handshake_times(segment);
        }

        let initial_rtt = self.initial_rtt();
        let role = self.role(segment.from);
        let (own, peer) = self.halves_mut(segment.from);
        own.analysis.segment(segment, &peer.analysis, initial_rtt);
        self.tracker.segment(segment, role, new_gaps);
        self.advance(segment, rst);
    }

    /// How much the memory beyond the struct itself has grown since the last call, bytes.
    pub(super) fn grown(&mut self) -> isize {
        let now = self.memory();
        let before = std::mem::replace(&mut self.counted, now);
        self.counted
            .cast_signed()
            .wrapping_sub(before.cast_signed())
    }

    /// The memory beyond the struct itself at the last call of [`Connection::grown`], bytes.
    pub(super) const fn counted_memory(&self) -> usize {
        self.counted
    }

    /// It is asked for with every segment, and most flows have nothing but their histories.
    #[inline]
    fn memory(&self) -> usize {
        let [lower, upper] = &self.halves;
        let halves = lower.memory() + upper.memory();
        if self.candidates.is_changed() | self.encapsulation.is_some() | self.tracker.has_rest() {
            halves + self.rare_memory()
        } else {
            halves
        }
    }

    #[inline(never)]
    fn rare_memory(&self) -> usize {
        let candidates = self.candidates.memory()
            + self.candidates.changed().map_or(0, |candidates| {
                candidates.capacity() * size_of::<Candidate>()
                    + candidates.iter().map(Candidate::memory).sum::<usize>()
            });
        let encapsulation = self.encapsulation.as_ref().map_or(0, |encapsulation| {
            size_of::<Encapsulation>() + encapsulation.tunnels.capacity() * size_of::<Tunnel>()
        });
        self.tracker.memory() + encapsulation + candidates
    }

    /// The window that this side announced last, scaled, bytes.
    pub(super) fn window_of(&self, side: Side) -> i64 {
        let own = self.half(side);
        // A window on a SYN is never scaled (RFC 7323, 2.2).
        i64::from(own.window) << if own.window_on_syn { 0 } else { own.shift }
    }

    /// Tells what the half that `side` sends has noted.
    fn tell_notes(&mut self, side: Side, around: &mut Surroundings<'_>) {
        let (flow_id, direction, client) = (self.flow_id, self.direction(side), self.client);
        let (half, _) = self.halves_mut(side);
        for hole in around.notes.holes.drain(..) {
            let length = hole.end - hole.start;
            let lacks = half.lacks.get_mut();
            lacks.gaps += 1;
            lacks.gap_bytes += length;
            around.sink.gap(Gap {
                flow_id,
                direction,
                offset: hole.start,
                length,
                cause: hole.cause,
                elided: hole.elided,
            });
        }
        for clash in around.notes.clashes.drain(..) {
            around.sink.conflict(Conflict {
                flow_id,
                direction,
                offset: clash.offset,
                length: clash.length,
                differing: clash.differing,
                kept: clash.kept.0,
                refused: clash.refused.0,
                kept_frame: clash.kept.1,
                refused_frame: clash.refused.1,
                policy: half.policy.name(),
            });
        }
        for fate in around.notes.fates.drain(..) {
            let totals = fate.facts.totals;
            around.sink.segment(SegmentPart {
                flow_id,
                direction,
                kind: fate.kind,
                kept: fate.kept,
                offset: fate.offset,
                seq: fate.seq,
                length: fate.payload.len(),
                file_offset: match fate.payload {
                    Payload::Input { at, .. } => Some(at.offset()),
                    Payload::Owned { .. } => None,
                },
                facts: fate.facts,
                totals: [totals[client as usize], totals[client.other() as usize]],
            });
        }
    }

    /// What is known of a segment that has been counted; without totals and times if nobody asks for
    /// them.
    fn facts(&mut self, segment: &Segment, all: bool) -> SegmentFacts {
        let facts = SegmentFacts {
            frame: segment.frame,
            file_id: segment.file_id,
            ts: segment.ts,
            flags: segment.flags,
            totals: [0; 2],
            since_last_ns: None,
            since_last_same_direction_ns: None,
            elapsed_ns: None,
        };
        if !all {
            return facts;
        }
        let last = self.last_payload;
        if !segment.payload.is_empty() {
            self.last_payload = segment.ts;
            self.first_payload = self.first_payload.earliest(segment.ts);
        }
        let first = self.first_payload;
        let totals = [Side::Lower, Side::Upper].map(|side| self.half(side).payload_bytes);
        let (own, _) = self.halves_mut(segment.from);
        let last_own = own.last_payload;
        if !segment.payload.is_empty() {
            own.last_payload = segment.ts;
        }
        SegmentFacts {
            totals,
            since_last_ns: segment.ts.since(last),
            since_last_same_direction_ns: segment.ts.since(last_own),
            elapsed_ns: segment.ts.since(first),
            ..facts
        }
    }

    fn count(&mut self, segment: &Segment) {
        let (own, _) = self.halves_mut(segment.from);
        own.packets += 1;
        own.ip_bytes += u64::from(segment.ip_bytes);
        own.payload_bytes += u64::from(segment.payload.len());
        if segment.truncated > 0 {
            own.lacks.get_mut().truncated_bytes += u64::from(segment.truncated);
        }
        own.tcp_flags |= segment.flags.0;
        (own.window, own.window_on_syn) = (segment.window, segment.flags.syn());
        if !segment.flags.syn() {
            own.greatest_window = own.greatest_window.max(segment.window);
        } else if segment.flags.ack() && own.answered.is_none() {
            own.answered = Some(segment.ack);
        }
        let copied = own.mirror.is_copy(segment);
        if segment.flags.ack() && !segment.flags.rst() {
            own.last_ack = Some(segment.ack);
        }
        self.mirror_copies += u64::from(copied);
    }

    /// What waited to be judged may have been the FINs that close it.
    fn close_if_finished(&mut self) {
        let finished = self.halves.iter().all(|half| half.stream.is_finished());
        if finished && !self.phase.is_closed() {
            self.phase = Phase::Finished;
        }
    }

    fn advance(&mut self, segment: &Segment, rst: Option<RstPlace>) {
        let own = self.half(segment.from);
        let finished = own.stream.is_finished();
        if self.phase == Phase::Open && !finished && rst.is_none() && !segment.flags.fin() {
            return;
        }
        let peer = self.half(segment.from.other());
        let both = finished && (peer.stream.is_finished() || self.key.is_self_connected());
        let implausible = match rst {
            Some(place) => place == RstPlace::Outside,
            None => segment.flags.fin() && !finished,
        };
        self.implausible_ends += u64::from(implausible);
        self.phase = match (self.phase, rst) {
            (Phase::Opening | Phase::Open | Phase::Challenged, _) if both => Phase::Finished,
            // What looked like a FIN was none: its sender went on.
            (Phase::Finished, _) if !both => Phase::Open,
            (Phase::Opening | Phase::Open | Phase::Challenged, Some(RstPlace::Exact)) => {
                Phase::Reset
            }
            (Phase::Opening | Phase::Open, Some(RstPlace::InWindow)) => Phase::Challenged,
            (Phase::Challenged, None) => Phase::Open,
            (Phase::Opening, None) if !segment.flags.syn() => Phase::Open,
            (phase, _) => phase,
        };
    }
}
