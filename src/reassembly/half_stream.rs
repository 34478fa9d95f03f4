//! One direction of a flow: from 32-bit sequence numbers to stream offsets, and what may count as
//! stream data at all.

mod doubted;
mod end;
mod filler;
mod origin;
mod outlying;

use super::assembler::{Assembler, Rules};
use super::held::{Held, narrow, note_fates};
use super::notes::{Hole, Notes};
use super::ranges::RangeSet;
use super::seldom::Seldom;
use super::unseen::Unseen;
use crate::model::seq::{distance, unwrap};
use crate::model::{GapCause, Segment, SegmentFacts, SegmentKind, TcpFlags, Timestamp};
use doubted::Doubted;
pub(super) use doubted::Standing;
pub(super) use end::RstPlace;
use outlying::Claim;
pub(super) use outlying::WILD_QUORUM;

/// A segment that begins this far beyond everything known of its stream, and beyond the
/// receiver's window, is wild: it is held until something confirms it. Bytes. The same 16 MiB as
/// the default of `--max-gap`.
pub(super) const WILD_DISTANCE: i64 = 16 << 20;

/// The same where the handshake was seen, so that the greatest window that the receiver has offered is known:
/// what lies further beyond that, no receiver takes (RFC 9293, 3.10.7.4). Bytes, a choice: what the capture may
/// lack of the stream so far.
pub(super) const KNOWN_WINDOW_DISTANCE: i64 = 1 << 20;

/// How far behind the end of a closed stream a stray may lie, where the window is not larger: a
/// segment sent again was under way within the last window, and unscaled windows are common in
/// captures that miss the handshake. Bytes.
const STRAY_DISTANCE: i64 = 1 << 20;

/// What a half-stream needs from outside.
pub(super) struct Context<'a> {
    /// What an insertion goes by.
    pub rules: Rules<'a>,
    /// How far beyond everything known of a stream what belongs to it may begin, bytes.
    pub reach: i64,
    /// When what is at hand was captured.
    pub at: Timestamp,
    /// Nothing of the connection was captured for as long as an idle connection is left alone before it is
    /// probed.
    pub quiet: bool,
    /// Bytes from this offset on are not kept.
    pub depth: u64,
}

/// What became of a half-stream's captured payload, bytes. The first six add up to all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Bytes {
    /// Kept.
    pub unique: u64,
    /// Captured before, and the same or not comparable.
    pub duplicate: u64,
    /// Captured before and different; one of the copies was not kept.
    pub conflicting: u64,
    /// No stream data: before offset 0, behind the end, wild, on a RST, in a hole that is closed up, or in a segment
    /// that no receiver takes.
    pub rejected: u64,
    /// Beyond the depth to which streams are kept.
    pub limited: u64,
    /// Part of `duplicate` that could not be compared.
    pub unverified: u64,
    /// Part of `rejected` that lies behind the acknowledged end of the stream: nothing of the stream.
    pub behind_end: u64,
    /// Part of `rejected` that might have found its place, had a table had more room.
    pub crowded_out: u64,
}

/// What waits, and what was cut.
#[derive(Debug, Default)]
struct Aside {
    /// Segments that wait for offset 0 to become known.
    head: Vec<Held>,
    /// Segments that wait to be confirmed.
    wild: Vec<Held>,
    /// Segments that acknowledge what the peer was not seen to send.
    doubted: Vec<Doubted>,
    /// A segment that may be nothing but padding.
    filler: Option<Held>,
    /// There was one before.
    had_filler: bool,
    /// What the peer acknowledged while nothing of this direction was captured.
    unseen: Option<Unseen>,
    /// What it acknowledged beyond everything sent.
    claim: Option<Claim>,
    /// Offsets of FINs besides the first.
    fins: Vec<i64>,
    /// Offsets that were captured without their bytes (snap length).
    truncated: RangeSet,
}

/// One direction of a flow.
#[derive(Debug, Default)]
pub(super) struct HalfStream {
    /// The sequence number of offset 0, once it is known.
    origin: Option<u32>,
    assembler: Assembler,
    /// One past the highest offset that a segment covered.
    next: i64,
    /// Highest acknowledgement by the peer that is believed.
    acked: i64,
    /// Offset of the FIN: one past the last byte.
    fin: Option<i64>,
    /// The peer has acknowledged exactly that FIN: the stream ends there.
    ended: bool,
    /// Holes below this offset have been told by [`HalfStream::acknowledge`].
    holes_told: u64,
    /// Payload bytes kept.
    unique: u64,
    /// What became of all others.
    others: Seldom<Bytes>,
    aside: Seldom<Aside>,
}

impl HalfStream {
    /// What became of the payload.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes {
            unique: self.unique,
            ..self.others.get()
        }
    }

    /// Takes a segment of this direction. Returns whether it, and others, wait for offset 0 to become known.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        facts: SegmentFacts,
        context: &mut Context<'_>,
    ) -> bool {
        let flags = segment.flags;
        let held = Held::new(segment, facts);
        if flags.rst() {
            // Text on a RST tells why the connection was reset (RFC 9293, 3.5.3); it is no part
            // of the stream.
            self.reject(&held, context.rules.notes);
            return false;
        }
        if segment.wire_len() == 0 && !flags.fin() {
            return false;
        }
        match self.origin {
            None => self.wait_for_origin(held, context),
            Some(origin) => {
                let end = unwrap(origin, 0, held.seq) + i64::from(held.payload.len());
                let captured = self.assembler.captured().prefix();
                if flags.syn() && (origin != held.seq || to_offset(end) > captured) {
                    // A SYN of no connection that this is: neither is its data. One that comes when the handshake is
                    // over brings nothing new (RFC 5961, 4.2).
                    self.reject(&held, context.rules.notes);
                } else {
                    self.accept(held, context);
                }
                false
            }
        }
    }

    /// Takes a segment that no receiver would take: its bytes are rejected.
    pub(super) fn refuse(
        &mut self,
        segment: &Segment,
        facts: SegmentFacts,
        context: &mut Context<'_>,
    ) {
        self.reject(&Held::new(segment, facts), context.rules.notes);
    }

    /// Whether the peer has acknowledged exactly so much already, and nothing waits that another acknowledgement of it
    /// could tell about.
    #[inline]
    pub(super) const fn is_acknowledged_up_to(&self, ack: u32) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "mod 2³²"
        )]
        match self.origin {
            Some(origin) => {
                origin.wrapping_add(self.acked as u32) == ack && !self.aside.is_changed()
            }
            None => false,
        }
    }

    /// Takes an acknowledgement by the peer. Returns how many holes it passed that no earlier one
    /// had passed: bytes that the receiver has and the capture has not.
    pub(super) fn acknowledge(&mut self, ack: u32, context: &mut Context<'_>) -> u32 {
        let Some(origin) = self.origin else {
            let unseen = &mut self.aside.get_mut().unseen;
            let unseen = unseen.get_or_insert(Unseen::new(ack));
            unseen.acknowledge(ack, context.reach);
            return 0;
        };
        let offset = unwrap(origin, self.reached(), ack);
        if self.aside.changed().is_some() {
            self.settle_filler(offset, context);
        }
        let told = if offset <= self.sent_end().max(self.acked) {
            self.contradict_claim(context.at);
            self.acked = self.acked.max(offset);
            if self.fin.is_some() {
                self.settle_end();
            }
            self.data_acked()
        } else if self.claim(offset, context) {
            offset
        } else {
            return 0;
        };
        let settled = to_offset(self.data_acked());
        self.assembler.acknowledge(settled, &mut context.rules);
        let told = to_offset(told);
        if told <= self.holes_told {
            return 0;
        }
        let before = std::mem::replace(&mut self.holes_told, told);
        let captured = self.assembler.captured();
        if captured.prefix() >= told {
            return 0;
        }
        u32::try_from(captured.holes(before, told).count()).unwrap_or(u32::MAX)
    }

    /// Whether `seq` is near what this half-stream has sent: it may belong to this connection.
    pub(super) fn is_near(&self, seq: u32, window: i64) -> bool {
        let near = |at: u32| i64::from(distance(at, seq)).abs() <= WILD_DISTANCE + window;
        match self.origin {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "mod 2³²"
            )]
            Some(origin) => near(origin.wrapping_add(self.next as u32)),
            None => self.head().first().is_none_or(|held| near(held.seq)),
        }
    }

    /// The stream is over: everything held finds its place or is rejected, and every hole is final.
    /// Returns its span (the highest offset reached). Offset 0 is known if anything can tell it. `closed` tells that both
    /// sides have said that there is no more.
    pub(super) fn finish(&mut self, closed: bool, context: &mut Context<'_>) -> u64 {
        self.finish_filler(context);
        let aside = self.aside.changed_mut();
        let unseen = aside.as_ref().and_then(|aside| aside.unseen);
        if let (None, Some(unseen)) = (self.origin, unseen) {
            self.acked = unseen.data();
        }
        let wild = aside.map_or_else(Vec::new, |aside| std::mem::take(&mut aside.wild));
        for held in wild {
            self.reject(&held, context.rules.notes);
        }
        self.believe_last_claim(context);
        let end = self.cut_at_end(closed);
        self.assembler.finish(&mut context.rules);
        let captured = self.assembler.captured();
        let last = captured.end();
        let span = end.unwrap_or_else(|| {
            last.max(self.truncated().map_or(0, RangeSet::end))
                .max(to_offset(self.likely_fin().unwrap_or(0)))
                .max(to_offset(self.data_acked()))
        });
        let kept = span.min(context.depth);
        for (start, end) in captured.holes(0, kept) {
            self.split_by_cause(start, end, last, &mut context.rules.notes.holes);
        }
        if kept < span {
            context.rules.notes.holes.push(Hole {
                start: kept,
                end: span,
                cause: GapCause::Limit,
                elided: false,
            });
        }
        span
    }

    /// Whether it has state beyond the struct itself and recent pieces.
    #[inline]
    pub(super) const fn has_rare_state(&self) -> bool {
        self.aside.is_changed() | self.assembler.has_rare_state()
    }

    /// Bytes that recent pieces and counts take.
    #[inline]
    pub(super) fn history_memory(&self) -> usize {
        self.assembler.history_memory() + self.others.memory()
    }

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        let aside = self.aside.changed().map_or(0, |aside| {
            let owned =
                |held: &[Held]| -> usize { held.iter().map(|h| h.payload.owned_len()).sum() };
            let doubted: usize = aside.doubted.iter().map(Doubted::owned_len).sum();
            (aside.head.capacity() + aside.wild.capacity()) * size_of::<Held>()
                + aside.doubted.capacity() * size_of::<Doubted>()
                + aside.fins.capacity() * size_of::<i64>()
                + owned(&aside.head)
                + owned(&aside.wild)
                + owned(aside.filler.as_slice())
                + doubted
                + aside.truncated.memory()
        });
        self.assembler.memory() + self.others.memory() + self.aside.memory() + aside
    }

    /// Forgets what is set aside once it is nothing: the next segments need not look.
    fn tidy(&mut self) {
        let nothing = self.aside.changed().is_some_and(|aside| {
            aside.head.is_empty()
                && aside.wild.is_empty()
                && aside.doubted.is_empty()
                && aside.fins.is_empty()
                && aside.filler.is_none()
                && !aside.had_filler
                && aside.unseen.is_none()
                && aside.claim.is_none()
                && aside.truncated.end() == 0
        });
        if nothing {
            self.aside = Seldom::default();
        }
    }

    /// Offsets that were captured without their bytes.
    fn truncated(&self) -> Option<&RangeSet> {
        self.aside.changed().map(|aside| &aside.truncated)
    }

    /// Tells the parts of a hole by their causes. `last` is the end of what was captured.
    fn split_by_cause(&self, start: u64, end: u64, last: u64, holes: &mut Vec<Hole>) {
        let cause = if start >= last {
            GapCause::NotCapturedAtEnd
        } else if start == 0 {
            GapCause::NotCapturedAtStart
        } else {
            GapCause::Lost
        };
        let hole = |start, end, cause| Hole {
            start,
            end,
            cause,
            elided: self.assembler.is_elided(start),
        };
        let Some(truncated) = self.truncated() else {
            holes.push(hole(start, end, cause));
            return;
        };
        let mut at = start;
        for (from, to) in truncated.holes(start, end) {
            if at < from {
                holes.push(hole(at, from, GapCause::Truncated));
            }
            holes.push(hole(from, to, cause));
            at = to;
        }
        if at < end {
            holes.push(hole(at, end, GapCause::Truncated));
        }
    }

    /// What the peer has acknowledged of the data, the FIN's own number not counted. One beyond
    /// the last byte captured, with no FIN in sight, is taken for a FIN that was not captured: a
    /// single missing byte at the very end is the rarer thing.
    fn data_acked(&self) -> i64 {
        match self.fin {
            Some(fin) if self.acked == fin + 1 => fin,
            None if self.acked == self.next + 1 => self.next,
            _ => self.acked,
        }
    }

    fn reject(&mut self, held: &Held, notes: &mut Notes) {
        if held.payload.is_empty() {
            return;
        }
        self.others.get_mut().rejected += u64::from(held.payload.len());
        held.reject(notes);
    }

    /// A probe of an idle connection: no byte or one, just before the next (RFC 1122, 4.2.3.6). The peer has
    /// acknowledged what is sent so. A byte that was not captured before is none, unless the connection was quiet
    /// since: it was reordered behind its acknowledgement or a FIN, or cut off by the snap length and sent again.
    /// Where no acknowledgement tells, neither is one that is pushed to the receiver.
    fn is_keepalive(&self, held: &Held, offset: i64, quiet: bool) -> bool {
        if held.wire_len() > 1 || held.fin {
            return false;
        }
        let behind_fin = self.likely_fin().map_or(0, |fin| fin + 1);
        if offset != self.reached().max(behind_fin) - 1 {
            return false;
        }
        let known = offset < 0
            || self.fin.is_some_and(|fin| offset >= fin)
            || self.assembler.captured().contains(to_offset(offset));
        let pushed = held.facts.flags.0 & TcpFlags::PSH != 0;
        if self.acked > offset {
            known || quiet && !pushed
        } else {
            known && !pushed
        }
    }

    /// A keep-alive's byte is filler, and means nothing even where it differs. So are a few NULs that are no data.
    fn pass_over(
        &mut self,
        held: &Held,
        offset: Option<i64>,
        kind: SegmentKind,
        notes: &mut Notes,
    ) {
        let bytes = u64::from(held.payload.len());
        if bytes == 0 {
            return;
        }
        let others = self.others.get_mut();
        others.duplicate += bytes;
        others.unverified += bytes;
        if notes.wants_fates {
            notes
                .fates
                .push(held.fate(offset, 0, u32::MAX, kind, false));
        }
    }

    /// The highest offset known of: sent or acknowledged. Sequence numbers are read near it.
    fn reached(&self) -> i64 {
        self.next.max(self.acked)
    }

    /// What the peer may acknowledge: one beyond the last byte is a FIN, captured or not.
    fn sent_end(&self) -> i64 {
        self.next.max(self.fin.unwrap_or(0)) + 1
    }

    fn plausible_end(&self, context: &Context<'_>) -> i64 {
        self.reached() + context.reach
    }

    fn accept(&mut self, held: Held, context: &mut Context<'_>) {
        let Some(origin) = self.origin else { return };
        let offset = unwrap(origin, self.reached(), held.seq);
        if self.aside.changed().is_some() {
            self.resolve_filler(&held, context);
        }
        if self.is_keepalive(&held, offset, context.quiet) {
            self.pass_over(
                &held,
                Some(offset),
                SegmentKind::Keepalive,
                context.rules.notes,
            );
        } else if offset > self.plausible_end(context) {
            self.hold_wild(held, context);
        } else if held.small {
            if let Some(held) = self.take_filler(held, offset, context) {
                self.place(offset, &held, context);
            }
        } else {
            self.place(offset, &held, context);
        }
    }

    fn place(&mut self, offset: i64, held: &Held, context: &mut Context<'_>) {
        let end = offset + i64::from(held.wire_len());
        if held.fin {
            self.take_fin(end);
        }
        // Bytes before offset 0 are not of this stream, nor are those behind its end, and those beyond the depth are
        // not wanted.
        let before = narrow(-offset).min(held.payload.len());
        let len = self.before_end(offset, held).max(before);
        let behind = held.payload.len() - len;
        let within = narrow(
            i64::try_from(context.depth)
                .unwrap_or(i64::MAX)
                .saturating_sub(offset),
        )
        .min(len);
        let beyond = len - within.max(before);
        if before > 0 || beyond > 0 || behind > 0 {
            let others = self.others.get_mut();
            others.rejected += u64::from(before) + u64::from(behind);
            others.behind_end += u64::from(behind);
            others.limited += u64::from(beyond);
        }
        let start = to_offset(offset + i64::from(before));
        let part = held.payload.slice(before, len - before - beyond);
        let outcome = self
            .assembler
            .insert(start, &part, held.facts.frame, &mut context.rules);
        self.unique += outcome.unique;
        if outcome.unique < u64::from(part.len()) {
            let others = self.others.get_mut();
            others.duplicate += outcome.duplicate;
            others.conflicting += outcome.conflicting;
            others.rejected += outcome.rejected;
            others.crowded_out += outcome.rejected;
            others.unverified += outcome.unverified;
        }
        note_fates(
            held,
            offset,
            (before, len - beyond, len),
            outcome,
            context.rules.notes,
        );
        if held.truncated > 0 && behind == 0 {
            let from = to_offset(offset + i64::from(held.payload.len()));
            let truncated = &mut self.aside.get_mut().truncated;
            truncated.insert(from, to_offset(end), |_| ());
        }
        while let Some((start, end)) = self.assembler.take_final_hole() {
            self.split_by_cause(start, end, u64::MAX, &mut context.rules.notes.holes);
            // Nothing below is asked for again.
            if let Some(aside) = self.aside.changed_mut() {
                aside.truncated.insert(0, end, |_| ());
            }
        }
        if end > self.next && !self.ended {
            self.next = end;
            self.absorb_claim();
        }
    }
}

/// An offset that is not below 0.
fn to_offset(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
