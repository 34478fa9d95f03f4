//! The handshake: which SYNs count, and how long it took.

use super::super::half_stream::RstPlace;
use super::super::syns::first_of;
use super::{Connection, Half, Surroundings};
use crate::model::seq::distance;
use crate::model::{Segment, Side, SynFacts};

impl Connection {
    /// Whether a SYN or SYN-ACK is none that its receiver discards for acknowledging a SYN that was not sent (RFC 9293,
    /// 3.10.7.3): such a one sets no sequence numbers and tells nothing of its peer's.
    pub(super) fn is_acceptable(&self, segment: &Segment) -> bool {
        !segment.flags.ack() || self.answers_syn(segment)
    }

    /// Whether a segment acknowledges a SYN of the peer, or what was sent with it (RFC 7413, 4.2.2); also where
    /// nothing of the peer was captured that could tell.
    pub(in crate::reassembly) fn answers_syn(&self, segment: &Segment) -> bool {
        let peer = self.half(segment.from.other());
        if peer.syns.chosen().is_some() {
            let sent = |first| peer.stream.sent_behind(first);
            return peer.syns.acknowledged(segment.ack, sent).is_some();
        }
        peer.stream.origin().is_none_or(|origin| {
            let behind = i64::from(distance(origin, segment.ack));
            (0..=i64::from(peer.stream.sent_behind(origin))).contains(&behind)
        })
    }

    /// Whether this flow has a SYN with the number of this one.
    pub(in crate::reassembly) fn has_sent_syn(&self, syn: Option<&Segment>) -> bool {
        syn.is_some_and(|syn| self.half(syn.from).syns.has(syn.seq))
    }

    /// Whether an acceptable SYN may be of the stream that its side sends: not behind data that was captured before
    /// it, unless it answers one.
    pub(super) fn may_begin(&self, segment: &Segment) -> bool {
        let own = self.half(segment.from);
        let peer = self.half(segment.from.other());
        let answers = segment.flags.ack() && peer.syns.chosen().is_some();
        answers || own.syns.chosen().is_some() || !own.stream.precedes(segment.seq.wrapping_add(1))
    }

    /// Takes note of the SYN that a segment is.
    #[inline(never)]
    pub(super) fn take_syn(&mut self, segment: &Segment, around: &mut Surroundings<'_>) {
        let syn = SynFacts {
            isn: segment.seq,
            options: segment.syn_options,
        };
        let own = self.half_mut(segment.from);
        if !own.syns.add(syn) {
            return;
        }
        if own.stream.origin() == Some(first_of(syn)) {
            // It comes late, and fits what was taken for the beginning.
            self.settle_syn(segment.from, first_of(syn), Some(syn), None, around);
        }
        self.note_syns();
        // Acknowledgements may have been captured before it.
        if let Some(ack) = self.half(segment.from.other()).last_ack {
            self.settle_syn_by_ack(segment.from, ack, around);
        }
    }

    /// Keeps what every segment asks of both SYNs. Windows are scaled only where both carry the option (RFC 7323,
    /// 2.2); shifts above 14 count as 14 (2.3).
    fn note_syns(&mut self) {
        self.saw_handshake = self.halves.iter().all(|half| half.syns.is_proven());
        let scale = |half: &Half| half.syns.chosen().and_then(|syn| syn.options.wscale);
        let both = self.halves.iter().all(|half| scale(half).is_some());
        for half in &mut self.halves {
            half.shift = scale(half)
                .filter(|_| both)
                .map_or(0, |scale| scale.min(14));
        }
    }

    /// An acknowledgement of what `side` sent tells which of its SYNs counts.
    pub(super) fn settle_syn_by_ack(
        &mut self,
        side: Side,
        ack: u32,
        around: &mut Surroundings<'_>,
    ) {
        let half = self.half(side);
        if half.syns.chosen().is_none() || half.syns.is_proven() {
            return;
        }
        if half.stream.origin().is_some() {
            let sent = |first| half.stream.sent_behind(first);
            if half.syns.is_settled() && half.syns.acknowledged(ack, sent).is_some() {
                self.half_mut(side).syns.prove();
                self.note_syns();
                self.judge_doubted(around);
            }
            return;
        }
        if let Some((syn, certain)) = half.stream.syn_acknowledged(ack, &half.syns) {
            let unanswered = self.half(side.other()).syns.chosen().is_none();
            if unanswered && half.stream.straddles(first_of(syn)) {
                // Nobody answered that SYN, and what was sent does not begin with it.
                self.half_mut(side).syns.settle(None, false);
                self.note_syns();
                return;
            }
            let acked = certain.then_some(ack);
            self.settle_syn(side, first_of(syn), Some(syn), acked, around);
        }
    }

    /// Nothing more will tell where the stream of `side` begins.
    pub(super) fn guess_syn(&mut self, side: Side, around: &mut Surroundings<'_>) {
        let half = self.half(side);
        if half.stream.origin().is_none()
            && let Some((origin, syn)) = half.stream.guess_origin(&half.syns)
        {
            self.settle_syn(side, origin, syn, None, around);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_syn(
        &mut self,
        side: Side,
        origin: u32,
        syn: Option<SynFacts>,
        acked: Option<u32>,
        around: &mut Surroundings<'_>,
    ) {
        let own = self.half_mut(side);
        if syn.is_some() || own.syns.chosen().is_some() {
            own.syns.settle(syn, acked.is_some());
        }
        self.note_syns();
        if self.half_mut(side).stream.set_plain_origin(origin) {
            return;
        }
        let (_, peer) = self.halves_mut(side);
        let judged = syn.is_some() && peer.syns.chosen().is_some();
        self.with_context(side, false, around, |half, context| {
            half.stream.set_origin(origin, acked, judged, context);
        });
        self.judge_doubted(around);
    }

    /// Where a RST lies for the one who is sent it.
    #[inline(never)]
    pub(super) fn rst_place(&self, segment: &Segment) -> RstPlace {
        let (own, peer) = (self.half(segment.from), self.half(segment.from.other()));
        let first = own.syns.chosen().map(first_of);
        let unknown = own
            .stream
            .origin()
            .or(first)
            .or(own.stream.head_seq())
            .is_none();
        // Who waits for the answer to a SYN takes a RST only if it acknowledges that (RFC 9293, 3.10.7.3).
        if unknown
            && segment.flags.ack()
            && peer.syns.chosen().is_some()
            && !self.answers_syn(segment)
        {
            return RstPlace::Outside;
        }
        let window = self.window_of(segment.from.other());
        own.stream.rst_place(segment.seq, first, window)
    }

    /// Round trips from the last SYN before its answer: of several, the last one was answered
    /// (RFC 6298, 3, leaves the others out for the same doubt).
    #[inline(never)]
    pub(super) fn handshake_times(&mut self, segment: &Segment) {
        let flags = segment.flags;
        if flags.rst() {
            return;
        }
        let is_client = segment.from == self.client;
        let answers = |half: &Half| {
            half.syns.chosen().is_some_and(|syn| {
                let first = first_of(syn);
                let behind = u32::try_from(distance(first, segment.ack));
                behind.is_ok_and(|bytes| bytes <= half.stream.sent_behind(first))
            }) && flags.ack()
        };
        let peer = self.half(segment.from.other());
        let own = &self.half(segment.from).syns;
        // A SYN-ACK with another number than the first may be the one that counts.
        let new = self.syn_rtt_ns.is_none()
            || !own.is_proven() && own.chosen().is_none_or(|syn| syn.isn != segment.seq);
        if flags.syn() && !flags.ack() && is_client && !self.saw_handshake {
            self.syn_at = segment.ts;
        } else if flags.syn() && !is_client && new && answers(peer) {
            self.syn_rtt_ns = segment.ts.since(self.syn_at).filter(|&ns| ns >= 0);
            self.syn_ack_at = segment.ts;
        } else if !flags.syn() && is_client && self.ack_rtt_ns.is_none() && answers(peer) {
            self.ack_rtt_ns = segment.ts.since(self.syn_ack_at).filter(|&ns| ns >= 0);
        }
    }

    /// The handshake's whole round trip, which Wireshark compares reordering with.
    pub(super) fn initial_rtt(&self) -> Option<i64> {
        Some(self.syn_rtt_ns?.saturating_add(self.ack_rtt_ns?))
    }
}
