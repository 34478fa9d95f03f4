//! What a segment is to the two streams: bytes for one, an acknowledgement for the other.

use super::super::assembler::Rules;
use super::super::half_stream::{Context, KNOWN_WINDOW_DISTANCE, Standing, WILD_DISTANCE};
use super::super::held::Held;
use super::super::layout::Placed;
use super::{Connection, Half, StreamData, Surroundings};
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
        // An acknowledgement alone has no place in the stream that it is sent on.
        if segment.occupies() {
            let facts = self.facts(segment, around.notes.wants_fates);
            let verdict = if acceptable {
                self.verdict(segment)
            } else {
                Verdict::Refuse
            };
            let waits =
                self.with_context(side, quiet, around, |half, context| match verdict {
                    Verdict::Take => half.stream.segment(segment, facts, context),
                    Verdict::Refuse => {
                        half.stream.refuse(segment, facts, context);
                        false
                    }
                    Verdict::Doubt => {
                        let held = Held::new(segment, facts);
                        half.stream.doubt(held, segment.ack, context);
                        false
                    }
                });
            if waits {
                self.settle_syn_by_data(side, segment.seq, around);
            }
        }
        // From here on rows may name this direction.
        self.named |= self.half(side).stream.origin().is_some() || segment.flags.rst();
        // The acknowledgement of a RST is not trusted: it often is stale, and forged as easily.
        let mut holes = 0;
        if segment.flags.ack() && !segment.flags.rst() && acceptable {
            // An end that is connected to itself acknowledges its own stream.
            let acknowledged = if self.key.is_self_connected() {
                side
            } else {
                side.other()
            };
            self.settle_syn_by_ack(acknowledged, segment.ack, around);
            let half = self.half(acknowledged);
            // While no SYN is known to be right, an acknowledgement that fits none of them says nothing.
            if half.stream.origin().is_some() || half.syns.chosen().is_none() {
                holes = self.with_context(acknowledged, false, around, |half, context| {
                    half.stream.acknowledge(segment.ack, context)
                });
            }
        }
        if self.halves.iter().any(|half| half.stream.has_doubted()) {
            self.judge_doubted(around);
        }
        holes
    }

    /// Finishes the stream that `side` sends: the rest of its bytes and its gaps go out now. Returns
    /// its span.
    pub(in crate::reassembly) fn finish_half(
        &mut self,
        side: Side,
        around: &mut Surroundings<'_>,
    ) -> u64 {
        self.with_context(side, false, around, |half, context| {
            half.stream.finish(context)
        })
    }

    /// Nothing more will come: what waited for offset 0, or to be believed, is judged by what there is.
    pub(in crate::reassembly) fn judge_last(&mut self, around: &mut Surroundings<'_>) {
        for side in [Side::Lower, Side::Upper] {
            self.guess_syn(side, around);
        }
        for side in [Side::Lower, Side::Upper] {
            if !self.half(side).stream.has_doubted() {
                continue;
            }
            let reach = self.reach(side.other());
            self.judge(side, around, |peer, ack| {
                Some(peer.stream.may_have_sent(ack, reach))
            });
        }
    }

    /// Segments that acknowledged what the peer was not seen to send are looked at again.
    fn judge_doubted(&mut self, around: &mut Surroundings<'_>) {
        for side in [Side::Lower, Side::Upper] {
            let window = self.greatest_window(side);
            self.judge(side, around, |peer, ack| {
                match peer.stream.standing(ack, window) {
                    Standing::Sent | Standing::Stale => Some(true),
                    Standing::Unsent => None,
                    Standing::False => Some(false),
                }
            });
        }
    }

    fn judge(
        &mut self,
        side: Side,
        around: &mut Surroundings<'_>,
        verdict: impl Fn(&Half, u32) -> Option<bool>,
    ) {
        let doubted = self.half(side).stream.doubted();
        let verdicts: Vec<_> = doubted
            .map(|ack| verdict(self.half(side.other()), ack))
            .collect();
        self.with_context(side, false, around, |half, context| {
            half.stream.judge_doubted(verdicts, context);
        });
    }

    /// What the receiver of a segment does with it, as far as its acknowledgement tells, once the handshake is known
    /// (RFC 9293, 3.10.7.4, fifth).
    fn verdict(&self, segment: &Segment) -> Verdict {
        let flags = segment.flags;
        if flags.syn() || flags.rst() || !self.saw_handshake() || self.key.is_self_connected() {
            return Verdict::Take;
        }
        if !flags.ack() {
            return Verdict::Refuse;
        }
        let window = self.greatest_window(segment.from);
        let peer = self.half(segment.from.other());
        match peer.stream.standing(segment.ack, window) {
            Standing::Sent => Verdict::Take,
            Standing::Unsent => Verdict::Doubt,
            Standing::Stale | Standing::False => Verdict::Refuse,
        }
    }

    /// Whether both SYNs were captured and are known to be the right ones.
    fn saw_handshake(&self) -> bool {
        self.halves
            .iter()
            .all(|half| half.syns.is_settled() && half.syns.chosen().is_some())
    }

    /// The greatest window that this side has offered, scaled, bytes; at least what a SYN can offer.
    fn greatest_window(&self, side: Side) -> i64 {
        let offered = i64::from(self.half(side).greatest_window) << self.window_shift(side);
        offered.max(i64::from(u16::MAX))
    }

    /// How far beyond everything known of the stream that `side` sends something of it may begin, bytes.
    fn reach(&self, side: Side) -> i64 {
        if self.saw_handshake() {
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
        let (window, reach) = (self.window_of(side.other()), self.reach(side));
        let (own, _) = self.halves_mut(side);
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
            window,
            reach,
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
