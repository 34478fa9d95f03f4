//! What a segment is to the two streams: bytes for one, an acknowledgement for the other.

use super::super::assembler::Rules;
use super::super::half_stream::{Context, KNOWN_WINDOW_DISTANCE, Standing, WILD_DISTANCE};
use super::super::held::Held;
use super::super::layout::Placed;
use super::{Connection, Half, Phase, StreamData, Surroundings};
use crate::model::{Segment, Side};

/// What is done with a segment's bytes and FIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Take,
    /// No receiver takes it.
    Refuse,
    /// A receiver may or may not have taken it: it waits.
    Doubt,
}

impl Connection {
    /// Gives the segment to its half-stream, and its acknowledgement to the other. Returns the new
    /// holes that the acknowledgement passed.
    pub(super) fn stream(
        &mut self,
        segment: &Segment,
        acceptable: bool,
        quiet: bool,
        around: &mut Surroundings<'_>,
    ) -> u32 {
        let side = segment.from;
        // The acknowledgement of a RST is not trusted: it often is stale, and forged as easily.
        let acknowledges = segment.flags.ack() && !segment.flags.rst() && acceptable;
        // An end that is connected to itself acknowledges its own stream.
        let acknowledged = if self.key.is_self_connected() {
            side
        } else {
            side.other()
        };
        if acknowledges {
            self.settle_syn_by_ack(acknowledged, segment.ack, around);
        }
        // An acknowledgement alone has no place in the stream that it is sent on.
        if segment.occupies() {
            self.stream_data(segment, acceptable, quiet, around);
        }
        if segment.wire_len() == 0 && !segment.flags.syn() && !segment.flags.rst() {
            self.half_mut(side)
                .stream
                .goes_on_at(segment.seq, segment.ts);
        }
        // From here on rows may name this direction.
        self.named = self.named
            || segment.flags.rst()
            || self
                .halves
                .iter()
                .any(|half| half.stream.origin().is_some());
        let mut holes = 0;
        let half = self.half(acknowledged);
        let acknowledges = acknowledges && !half.stream.is_acknowledged_up_to(segment.ack);
        // While no SYN is known to be right, an acknowledgement that fits none of them says nothing.
        let known = half.stream.origin().is_some() || half.syns.chosen().is_none();
        if acknowledges && known {
            holes = self.with_context(acknowledged, false, around, |half, context| {
                half.stream.acknowledge(segment.ack, context)
            });
        }
        let [lower, upper] = &self.halves;
        if lower.stream.has_doubted() || upper.stream.has_doubted() {
            self.judge_doubted(around);
        }
        holes
    }

    fn stream_data(
        &mut self,
        segment: &Segment,
        acceptable: bool,
        quiet: bool,
        around: &mut Surroundings<'_>,
    ) {
        let side = segment.from;
        let facts = self.facts(segment, around.notes.wants_fates);
        let verdict = if acceptable {
            self.verdict(segment)
        } else {
            Verdict::Refuse
        };
        let waits = self.with_context(side, quiet, around, |half, context| match verdict {
            Verdict::Take => half.stream.segment(segment, facts, context),
            Verdict::Refuse => {
                half.stream.refuse(segment, facts, context);
                false
            }
            Verdict::Doubt => {
                half.stream.doubt(Held::new(segment, facts), false, context);
                false
            }
        });
        if waits && self.half(side).stream.head_is_full() {
            self.guess_syn(side, around);
        }
        if verdict == Verdict::Doubt
            && let Some(ack) = self.half(side.other()).last_ack
        {
            // What it brings may be what the peer had acknowledged before.
            self.settle_syn_by_ack(side, ack, around);
        }
    }

    /// Finishes the stream that `side` sends: the rest of its bytes and its gaps go out now. Returns
    /// its span.
    pub(in crate::reassembly) fn finish_half(
        &mut self,
        side: Side,
        around: &mut Surroundings<'_>,
    ) -> u64 {
        let closed = self.phase == Phase::Finished;
        self.with_context(side, false, around, |half, context| {
            half.stream.finish(closed, context)
        })
    }

    /// Nothing more will come: what waited for offset 0, or to be believed, is judged by what there is.
    pub(in crate::reassembly) fn judge_last(&mut self, around: &mut Surroundings<'_>) {
        for side in [Side::Lower, Side::Upper] {
            self.guess_syn(side, around);
        }
        let whole = self.saw_handshake;
        for side in [Side::Lower, Side::Upper] {
            let reach = self.reach(side.other());
            self.judge(side, around, |peer, ack, late| {
                let sent = |ack| peer.stream.may_have_sent(ack, reach);
                Some(late || !whole || ack.is_some_and(sent))
            });
        }
        self.close_if_finished();
    }

    /// Segments that wait to be judged are looked at again.
    #[cold]
    #[inline(never)]
    pub(super) fn judge_doubted(&mut self, around: &mut Surroundings<'_>) {
        if !self.saw_handshake {
            return;
        }
        for side in [Side::Lower, Side::Upper] {
            let window = self.greatest_window(side);
            self.judge(side, around, |peer, ack, late| {
                if late {
                    return None;
                }
                match ack.map(|ack| peer.stream.standing(ack, window)) {
                    Some(Standing::Sent) => Some(true),
                    Some(Standing::Unsent) => None,
                    None | Some(Standing::Stale | Standing::False) => Some(false),
                }
            });
        }
    }

    fn judge(
        &mut self,
        side: Side,
        around: &mut Surroundings<'_>,
        verdict: impl Fn(&Half, Option<u32>, bool) -> Option<bool>,
    ) {
        if !self.half(side).stream.has_doubted() {
            return;
        }
        let doubted = self.half(side).stream.doubted();
        let verdicts: Vec<_> = doubted
            .map(|(ack, late)| verdict(self.half(side.other()), ack, late))
            .collect();
        self.with_context(side, false, around, |half, context| {
            half.stream.judge_doubted(verdicts, context);
        });
    }

    /// What the receiver of a segment does with it, as far as its acknowledgement tells, once the handshake is known
    /// (RFC 9293, 3.10.7.4, fifth).
    fn verdict(&self, segment: &Segment) -> Verdict {
        let flags = segment.flags;
        let (own, peer) = (self.half(segment.from), self.half(segment.from.other()));
        if flags.syn()
            || flags.rst()
            || own.syns.chosen().is_none()
            || peer.syns.chosen().is_none()
            || self.key.is_self_connected()
        {
            return Verdict::Take;
        }
        if !flags.ack() {
            return Verdict::Refuse;
        }
        if !self.saw_handshake {
            // What waits for offset 0 is judged later.
            return if own.stream.origin().is_some() {
                Verdict::Doubt
            } else {
                Verdict::Take
            };
        }
        if peer.stream.is_acknowledged_up_to(segment.ack) {
            return Verdict::Take;
        }
        let window = self.greatest_window(segment.from);
        match peer.stream.standing(segment.ack, window) {
            Standing::Sent => Verdict::Take,
            Standing::Unsent => Verdict::Doubt,
            Standing::Stale | Standing::False => Verdict::Refuse,
        }
    }

    /// The greatest window that this side has offered, scaled, bytes; at least what a SYN can offer.
    fn greatest_window(&self, side: Side) -> i64 {
        let half = self.half(side);
        (i64::from(half.greatest_window) << half.shift).max(i64::from(u16::MAX))
    }

    /// How far beyond everything known of the stream that `side` sends something of it may begin, bytes.
    fn reach(&self, side: Side) -> i64 {
        if self.saw_handshake {
            KNOWN_WINDOW_DISTANCE + self.greatest_window(side.other())
        } else {
            WILD_DISTANCE + self.window_of(side.other())
        }
    }

    /// Lets the half that `side` sends act, and tells what it has noted.
    pub(super) fn with_context<T>(
        &mut self,
        side: Side,
        quiet: bool,
        around: &mut Surroundings<'_>,
        act: impl FnOnce(&mut Half, &mut Context<'_>) -> T,
    ) -> T {
        let (flow, direction) = (self.name(), self.direction(side));
        let (reach, at) = (self.reach(side), self.last_seen);
        let own = self.half_mut(side);
        let policy = own.policy;
        let sink = &mut *around.sink;
        let mut place = |run: Placed| {
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
            reach,
            at,
            quiet,
            depth: around.depth,
        };
        let answer = act(own, &mut context);
        if !around.notes.is_empty() {
            self.tell_notes(side, around);
        }
        answer
    }
}
