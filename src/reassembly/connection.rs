//! One flow: its two half-streams, who is the client, and how far it has come.

use super::assembler::Rules;
use super::candidate::Candidate;
use super::conn_state::{ConnTracker, Role};
use super::event::{EventSink, FlowName, StreamData};
use super::half::Half;
use super::half_stream::Context;
use super::notes::Notes;
use super::overlap::OverlapPolicy;
use crate::model::{
    ClientBy, Conflict, Direction, Encapsulation, FlowKey, FrameRef, Gap, Payload, PayloadSource,
    Segment, SegmentFacts, SegmentPart, Side, SynFacts, Timestamp, Tunnel,
};

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
    /// A SYN that may begin the next flow on this key.
    pub candidate: Option<Box<Candidate>>,
    halves: [Half; 2],
    /// When its first and its last payload segment were captured.
    first_payload: Timestamp,
    last_payload: Timestamp,
    syn_at: Timestamp,
    syn_ack_at: Timestamp,
    /// Bytes have gone out under its name, so the roles stand.
    named: bool,
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
        let (client, client_by) = roles(segment).unwrap_or((segment.from, ClientBy::FirstFrame));
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
            candidate: None,
            halves: policies.map(Half::new),
            first_payload: Timestamp::NONE,
            last_payload: Timestamp::NONE,
            syn_at: Timestamp::NONE,
            syn_ack_at: Timestamp::NONE,
            named: false,
            counted: 0,
        }
    }

    /// The half that this side sends.
    pub(super) const fn half(&self, side: Side) -> &Half {
        &self.halves[side as usize]
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
        self.settle_roles(segment);
        self.first_ts = self.first_ts.earliest(segment.ts);
        self.last_ts = self.last_ts.max(segment.ts);
        self.last_frame = self.last_frame.max(segment.frame);
        if let Some(candidate) = &mut self.candidate {
            candidate.contradicted = true;
        }
        self.count(segment);
        self.handshake_times(segment);

        let window = self.window_of(segment.from.other());
        let flags = segment.flags;
        let own = self.half(segment.from);
        let reset = flags.rst() && own.stream.rst_is_plausible(segment.seq, window);
        let finished = flags.fin() && !flags.rst() && own.stream.is_near(segment.seq, window);
        let implausible = (flags.rst() && !reset) || (flags.fin() && !flags.rst() && !finished);
        self.implausible_ends += u64::from(implausible);
        let new_gaps = self.stream(segment, window, around);

        let initial_rtt = self.initial_rtt();
        let role = self.role(segment.from);
        let (own, peer) = self.halves_mut(segment.from);
        own.analysis.segment(segment, &peer.analysis, initial_rtt);
        self.tracker.segment(segment, role, new_gaps);
        self.advance(segment, reset, finished);
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

    fn memory(&self) -> usize {
        let candidate = self.candidate.as_ref().map_or(0, |c| c.memory());
        let encapsulation = self.encapsulation.as_ref().map_or(0, |encapsulation| {
            size_of::<Encapsulation>() + encapsulation.tunnels.capacity() * size_of::<Tunnel>()
        });
        let halves: usize = self.halves.iter().map(Half::memory).sum();
        halves + self.tracker.memory() + encapsulation + candidate
    }

    /// The window that this side announced last, scaled, bytes.
    pub(super) fn window_of(&self, side: Side) -> i64 {
        let scale = |half: &Half| half.syn.and_then(|syn| syn.options.wscale);
        let own = self.half(side);
        // Both SYNs must carry the option (RFC 7323, 2.2); shifts above 14 count as 14 (2.3).
        let shift = match (scale(own), scale(self.half(side.other()))) {
            (Some(scale), Some(_)) if !own.window_on_syn => scale.min(14),
            _ => 0,
        };
        i64::from(own.window) << shift
    }

    /// Finishes the stream that `side` sends: the rest of its bytes and its gaps go out now. Returns
    /// its span.
    pub(super) fn finish_half(&mut self, side: Side, around: &mut Surroundings<'_>) -> u64 {
        let window = self.window_of(side.other());
        self.with_context(side, window, around, |half, context| {
            half.stream.finish(context)
        })
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

    /// The handshake's whole round trip, which Wireshark compares reordering with.
    fn initial_rtt(&self) -> Option<i64> {
        Some(self.syn_rtt_ns?.saturating_add(self.ack_rtt_ns?))
    }

    fn role(&self, side: Side) -> Role {
        if side == self.client {
            Role::Originator
        } else {
            Role::Responder
        }
    }

    /// A flow that was picked up in the middle may still show its handshake (reordered frames);
    /// as long as nothing went out under the first guess, the SYN decides.
    fn settle_roles(&mut self, segment: &Segment) {
        let Some((client, by)) = roles(segment) else {
            return;
        };
        if self.client_by == ClientBy::FirstFrame && !self.named {
            if client != self.client {
                self.tracker.swap_roles();
            }
            (self.client, self.client_by) = (client, by);
        } else if self.client_by == ClientBy::SynAck && by == ClientBy::Syn && client == self.client
        {
            self.client_by = ClientBy::Syn;
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
        let copied = own.mirror.is_copy(segment);
        if segment.flags.ack() {
            own.last_ack = Some(segment.ack);
        }
        if segment.flags.syn() && own.syn.is_none() && !segment.flags.rst() {
            own.syn = Some(SynFacts {
                isn: segment.seq,
                options: segment.syn_options,
            });
        }
        self.mirror_copies += u64::from(copied);
    }

    /// Round trips from the last SYN before its answer: of several, the last one was answered
    /// (RFC 6298, 3, leaves the others out for the same doubt).
    fn handshake_times(&mut self, segment: &Segment) {
        let flags = segment.flags;
        let is_client = segment.from == self.client;
        let answers = |half: &Half| {
            half.syn
                .is_some_and(|syn| syn.isn.wrapping_add(1) == segment.ack)
                && flags.ack()
        };
        let peer = self.half(segment.from.other());
        if flags.syn() && !flags.ack() && is_client && self.syn_rtt_ns.is_none() {
            self.syn_at = segment.ts;
        } else if flags.syn() && !is_client && self.syn_rtt_ns.is_none() && answers(peer) {
            self.syn_rtt_ns = segment.ts.since(self.syn_at).filter(|&ns| ns >= 0);
            self.syn_ack_at = segment.ts;
        } else if !flags.syn() && is_client && self.ack_rtt_ns.is_none() && answers(peer) {
            self.ack_rtt_ns = segment.ts.since(self.syn_ack_at).filter(|&ns| ns >= 0);
        }
    }

    /// Gives the segment to its half-stream, and its acknowledgement to the other. Returns the new
    /// holes that the acknowledgement passed.
    fn stream(&mut self, segment: &Segment, window: i64, around: &mut Surroundings<'_>) -> u32 {
        // An acknowledgement alone has no place in the stream that it is sent on.
        if segment.occupies() {
            let facts = self.facts(segment, around.notes.wants_fates);
            self.with_context(segment.from, window, around, |half, context| {
                half.stream.segment(segment, facts, context);
            });
        }
        // From here on rows may name this direction.
        self.named |= self.half(segment.from).stream.origin().is_some() || segment.flags.rst();
        // The acknowledgement of a RST is not trusted: it often is stale, and forged as easily.
        if !segment.flags.ack() || segment.flags.rst() {
            return 0;
        }
        let own_window = self.window_of(segment.from);
        // An end that is connected to itself acknowledges its own stream.
        let acknowledged = if self.key.is_self_connected() {
            segment.from
        } else {
            segment.from.other()
        };
        self.with_context(acknowledged, own_window, around, |half, context| {
            half.stream.acknowledge(segment.ack, context)
        })
    }

    fn with_context<T>(
        &mut self,
        side: Side,
        window: i64,
        around: &mut Surroundings<'_>,
        act: impl FnOnce(&mut Half, &mut Context<'_>) -> T,
    ) -> T {
        let (flow, direction) = (self.name(), self.direction(side));
        let (own, _) = match side {
            Side::Lower => {
                let [own, peer] = &mut self.halves;
                (own, peer)
            }
            Side::Upper => {
                let [peer, own] = &mut self.halves;
                (own, peer)
            }
        };
        let policy = own.policy;
        let sink = &mut *around.sink;
        let mut place = |run: super::layout::Placed| {
            sink.data(StreamData {
                flow,
                direction,
                offset: run.offset,
                position: run.position,
                payload: run.payload,
            });
        };
        let mut context = Context {
            rules: Rules {
                source: around.source,
                policy,
                max_gap: around.max_gap,
                place: &mut place,
                notes: &mut around.notes,
            },
            window,
            depth: around.depth,
        };
        let answer = act(own, &mut context);
        if !around.notes.is_empty() {
            self.tell_notes(side, around);
        }
        answer
    }

    fn advance(&mut self, segment: &Segment, reset: bool, finished: bool) {
        let (own, peer) = self.halves_mut(segment.from);
        own.fin_seen |= finished;
        let fins = own.fin_seen && (peer.fin_seen || self.key.is_self_connected());
        self.phase = match self.phase {
            Phase::Opening | Phase::Open if fins => Phase::Finished,
            Phase::Opening | Phase::Open if reset => Phase::Reset,
            Phase::Opening if !segment.flags.syn() && !segment.flags.rst() => Phase::Open,
            phase => phase,
        };
    }
}

/// The client that a SYN or SYN-ACK tells of; `None` for any other segment.
fn roles(segment: &Segment) -> Option<(Side, ClientBy)> {
    let flags = segment.flags;
    if !flags.syn() || flags.rst() {
        None
    } else if flags.ack() {
        Some((segment.from.other(), ClientBy::SynAck))
    } else {
        Some((segment.from, ClientBy::Syn))
    }
}
