//! One direction of a flow: from 32-bit sequence numbers to stream offsets, and what may count as
//! stream data at all.

use super::assembler::{Assembler, Rules};
use super::held::{Held, narrow, note_fates};
use super::notes::{Hole, Notes};
use super::ranges::RangeSet;
use super::seldom::Seldom;
use super::unseen::Unseen;
use crate::model::seq::{distance, unwrap};
use crate::model::{GapCause, Segment, SegmentFacts, SegmentKind, TcpFlags};

/// Segments held at the start of a half-stream whose SYN was not seen, before the lowest sequence
/// number among them becomes offset 0. A choice: reordering in captures rarely spans more than a
/// handful of segments.
pub(super) const HEAD_SEGMENTS: usize = 32;

/// A segment that begins this far beyond everything known of its stream, and beyond the
/// receiver's window, is wild: it is held until something confirms it. Bytes. The same 16 MiB as
/// the default of `--max-gap`.
pub(super) const WILD_DISTANCE: i64 = 16 << 20;

/// How far behind the end of a closed stream a stray may lie, where the window is not larger: a
/// segment sent again was under way within the last window, and unscaled windows are common in
/// captures that miss the handshake. Bytes.
const STRAY_DISTANCE: i64 = 1 << 20;

/// Wild segments held at most; beyond that the oldest is rejected. They are rare in honest
/// traffic, so a small number serves, and bounds what forged ones can cost.
pub(super) const WILD_SEGMENTS: usize = 64;

/// So many wild segments near each other confirm each other.
const WILD_QUORUM: usize = 3;

/// What a half-stream needs from outside.
pub(super) struct Context<'a> {
    /// What an insertion goes by.
    pub rules: Rules<'a>,
    /// The peer's receive window, scaled, bytes.
    pub window: i64,
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
    /// No stream data: before offset 0, wild, on a RST, or in a hole that is closed up.
    pub rejected: u64,
    /// Beyond the depth to which streams are kept.
    pub limited: u64,
    /// Part of `duplicate` that could not be compared.
    pub unverified: u64,
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
    /// What the peer acknowledged while nothing of this direction was captured.
    unseen: Option<Unseen>,
    /// An acknowledgement far beyond everything known, as a sequence number.
    wild_ack: Option<u32>,
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
    /// Highest plausible acknowledgement by the peer.
    acked: i64,
    /// Offset of the FIN: one past the last byte.
    fin: Option<i64>,
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

    /// Takes a segment of this direction.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        facts: SegmentFacts,
        context: &mut Context<'_>,
    ) {
        let flags = segment.flags;
        let held = Held {
            seq: segment.seq.wrapping_add(u32::from(flags.syn())),
            payload: segment.payload.clone(),
            truncated: segment.truncated,
            fin: flags.fin(),
            facts,
        };
        if flags.rst() {
            // Text on a RST tells why the connection was reset (RFC 9293, 3.5.3); it is no part
            // of the stream.
            self.reject(&held, context.rules.notes);
            return;
        }
        if flags.syn() {
            let first = segment.seq.wrapping_add(1);
            match self.origin {
                None => self.set_origin(first, context),
                Some(origin) if origin != first => {
                    // A SYN of no connection that this is: neither is its data.
                    self.reject(&held, context.rules.notes);
                    return;
                }
                Some(_) => {}
            }
        }
        if segment.wire_len() == 0 && !flags.fin() {
            return;
        }
        if self.origin.is_some() {
            self.accept(held, context);
            return;
        }
        let head = &mut self.aside.get_mut().head;
        head.push(held);
        if head.len() >= HEAD_SEGMENTS {
            self.settle_head(context);
        }
    }

    /// Takes an acknowledgement by the peer. Returns how many holes it passed that no earlier one
    /// had passed: bytes that the receiver has and the capture has not.
    pub(super) fn acknowledge(&mut self, ack: u32, context: &mut Context<'_>) -> u32 {
        let Some(origin) = self.origin else {
            let unseen = &mut self.aside.get_mut().unseen;
            let unseen = unseen.get_or_insert(Unseen::new(ack));
            unseen.acknowledge(ack, context.window);
            return 0;
        };
        let offset = unwrap(origin, self.reached(), ack);
        if offset > self.plausible_end(context.window) {
            self.aside.get_mut().wild_ack = Some(ack);
            self.confirm_wild(context);
            return 0;
        }
        self.acked = self.acked.max(offset);
        let data_end = to_offset(self.data_acked());
        self.assembler.acknowledge(data_end, &mut context.rules);
        if data_end <= self.holes_told {
            return 0;
        }
        let told = std::mem::replace(&mut self.holes_told, data_end);
        let captured = self.assembler.captured();
        if captured.prefix() >= data_end {
            return 0;
        }
        u32::try_from(captured.holes(told, data_end).count()).unwrap_or(u32::MAX)
    }

    /// Whether a RST with this sequence number lies where the peer could accept it: from what it
    /// has acknowledged to the end of its window (RFC 9293, 3.10.7.4), or where the sender's next
    /// byte would be. With nothing known of the stream every RST is plausible.
    pub(super) fn rst_is_plausible(&self, seq: u32, window: i64) -> bool {
        match self.origin {
            Some(origin) => {
                let offset = unwrap(origin, self.reached(), seq);
                let high = self.next.max(self.acked) + window.max(i64::from(u16::MAX)) + 1;
                // What was sent but not acknowledged may be all that the sender still knows of.
                let low = self.acked.min(self.next) - 1;
                (low..=high).contains(&offset)
            }
            None => self.head().first().is_none_or(|held| {
                i64::from(distance(held.seq, seq)).abs() <= WILD_DISTANCE + window
            }),
        }
    }

    /// The sequence number of offset 0, where it is known.
    pub(super) const fn origin(&self) -> Option<u32> {
        self.origin
    }

    /// Segments that wait for offset 0 to become known.
    fn head(&self) -> &[Held] {
        self.aside.changed().map_or(&[], |aside| &aside.head)
    }

    /// Sequence number of the first segment that waits for offset 0 to become known.
    pub(super) fn head_seq(&self) -> Option<u32> {
        let head = self.head();
        let first = head.first()?.seq;
        head.iter()
            .map(|held| held.seq)
            .min_by_key(|&seq| distance(first, seq))
    }

    /// Whether a segment with this number may be a stray of this half-stream after its connection
    /// was closed: something sent again, or what was under way when a RST came.
    pub(super) fn may_be_stray(&self, seq: u32, window: i64) -> bool {
        let ahead = window.max(i64::from(u16::MAX));
        let behind = window.max(STRAY_DISTANCE);
        match self.origin {
            Some(origin) => {
                let offset = unwrap(origin, self.reached(), seq);
                // Nothing follows a FIN.
                let high = self.fin.map_or(self.next + ahead, |fin| fin + 1);
                (self.next - behind..=high).contains(&offset)
            }
            None => self
                .head()
                .first()
                .is_none_or(|held| i64::from(distance(held.seq, seq)).abs() <= behind),
        }
    }

    /// Whether `seq` is near what this half-stream has sent: it belongs to this connection.
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
    /// Returns its span (the highest offset reached).
    pub(super) fn finish(&mut self, context: &mut Context<'_>) -> u64 {
        self.settle_head(context);
        let aside = self.aside.changed_mut();
        let unseen = aside.as_ref().and_then(|aside| aside.unseen);
        if let (None, Some(unseen)) = (self.origin, unseen) {
            self.acked = unseen.data();
        }
        let wild = aside.map_or_else(Vec::new, |aside| std::mem::take(&mut aside.wild));
        for held in wild {
            self.reject(&held, context.rules.notes);
        }
        self.assembler.finish(&mut context.rules);
        let captured = self.assembler.captured();
        let last = captured.end();
        let span = last
            .max(self.truncated().map_or(0, RangeSet::end))
            .max(to_offset(self.fin.unwrap_or(0)))
            .max(to_offset(self.data_acked()));
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

    /// Bytes of state beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        let aside = self.aside.changed().map_or(0, |aside| {
            let owned =
                |held: &[Held]| -> usize { held.iter().map(|h| h.payload.owned_len()).sum() };
            (aside.head.capacity() + aside.wild.capacity()) * size_of::<Held>()
                + owned(&aside.head)
                + owned(&aside.wild)
                + aside.truncated.memory()
        });
        self.assembler.memory() + self.others.memory() + self.aside.memory() + aside
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

    /// A probe of an idle connection: no byte or one, just before the next (RFC 1122, 4.2.3.6). A
    /// byte that was not captured before is no probe: it was reordered behind a FIN, or cut off by
    /// the snap length and sent again. Neither is one that is pushed to the receiver.
    fn is_keepalive(&self, held: &Held, offset: i64) -> bool {
        held.wire_len() <= 1
            && !held.fin
            && held.facts.flags.0 & TcpFlags::PSH == 0
            && offset == self.next - 1
            && (offset < 0 || self.assembler.captured().contains(to_offset(offset)))
    }

    /// The highest offset known of: sent or acknowledged. Sequence numbers are read near it.
    fn reached(&self) -> i64 {
        self.next.max(self.acked)
    }

    fn plausible_end(&self, window: i64) -> i64 {
        self.reached() + WILD_DISTANCE + window
    }

    fn set_origin(&mut self, origin: u32, context: &mut Context<'_>) {
        self.origin = Some(origin);
        let Some(aside) = self.aside.changed_mut() else {
            return;
        };
        let (head, unseen) = (std::mem::take(&mut aside.head), aside.unseen.take());
        for held in head {
            self.accept(held, context);
        }
        // Acknowledgements that came meanwhile count from here on.
        if let Some(unseen) = unseen {
            self.acknowledge(unseen.ack(), context);
        }
    }

    /// Offset 0 becomes the lowest sequence number held. Segments that lie wildly apart from the
    /// first do not take part.
    fn settle_head(&mut self, context: &mut Context<'_>) {
        if self.origin.is_some() {
            return;
        }
        let head = self.head();
        // The first may itself be a stray: most of the others decide.
        let near = |a: u32, b: u32| i64::from(distance(a, b)).abs() <= WILD_DISTANCE;
        let company = |held: &Held| {
            head.iter()
                .filter(|other| near(held.seq, other.seq))
                .count()
        };
        let Some(anchor) = head.iter().rev().max_by_key(|held| company(held)) else {
            return;
        };
        let lowest = head
            .iter()
            .filter(|held| near(anchor.seq, held.seq))
            .map(|held| distance(anchor.seq, held.seq))
            .min()
            .unwrap_or(0);
        self.set_origin(anchor.seq.wrapping_add_signed(lowest), context);
    }

    fn accept(&mut self, held: Held, context: &mut Context<'_>) {
        let Some(origin) = self.origin else { return };
        let offset = unwrap(origin, self.reached(), held.seq);
        if self.is_keepalive(&held, offset) {
            // Its byte is filler, and means nothing even where it differs.
            if held.payload.is_empty() {
                return;
            }
            let others = self.others.get_mut();
            others.duplicate += u64::from(held.payload.len());
            others.unverified += u64::from(held.payload.len());
            if context.rules.notes.wants_fates {
                let fate = held.fate(Some(offset), 0, 1, SegmentKind::Keepalive, false);
                context.rules.notes.fates.push(fate);
            }
        } else if offset > self.plausible_end(context.window) {
            let wild = &mut self.aside.get_mut().wild;
            wild.push(held);
            if wild.len() > WILD_SEGMENTS {
                let oldest = wild.remove(0);
                self.others.get_mut().crowded_out += u64::from(oldest.payload.len());
                self.reject(&oldest, context.rules.notes);
            }
            self.confirm_wild(context);
        } else {
            self.place(offset, &held, context);
        }
    }

    /// Wild segments become part of the stream when the peer acknowledges their neighbourhood, or
    /// when [`WILD_QUORUM`] of them with different numbers lie together.
    fn confirm_wild(&mut self, context: &mut Context<'_>) {
        let (Some(origin), Some(aside)) = (self.origin, self.aside.changed_mut()) else {
            return;
        };
        let near = |a: u32, b: u32| i64::from(distance(a, b)).abs() <= WILD_DISTANCE;
        let Some(last) = aside.wild.last() else {
            return;
        };
        let anchor = last.seq;
        let end = last.seq.wrapping_add(last.wire_len());
        let acknowledged = aside
            .wild_ack
            .is_some_and(|ack| (0..=WILD_DISTANCE).contains(&i64::from(distance(end, ack))));
        let mut together: Vec<u32> = aside
            .wild
            .iter()
            .map(|held| held.seq)
            .filter(|&seq| near(anchor, seq))
            .collect();
        together.sort_unstable();
        together.dedup();
        if !acknowledged && together.len() < WILD_QUORUM {
            return;
        }
        let (confirmed, wild) = std::mem::take(&mut aside.wild)
            .into_iter()
            .partition(|held| near(anchor, held.seq));
        aside.wild = wild;
        let ack = aside.wild_ack.take_if(|&mut ack| near(anchor, ack));
        let confirmed: Vec<Held> = confirmed;
        for held in confirmed {
            let offset = unwrap(origin, self.reached(), held.seq);
            self.place(offset, &held, context);
        }
        if let Some(ack) = ack {
            self.acked = self.acked.max(unwrap(origin, self.reached(), ack));
        }
    }

    fn place(&mut self, offset: i64, held: &Held, context: &mut Context<'_>) {
        let end = offset + i64::from(held.wire_len());
        // A FIN before what was sent already is forged, or from an older connection.
        if held.fin && end >= self.next.max(0) {
            self.fin = Some(end);
        }
        // Bytes before offset 0 are not of this stream, and those beyond the depth not wanted.
        let len = held.payload.len();
        let before = narrow(-offset).min(len);
        let within = narrow(
            i64::try_from(context.depth)
                .unwrap_or(i64::MAX)
                .saturating_sub(offset),
        )
        .min(len);
        let beyond = len - within.max(before);
        if before > 0 || beyond > 0 {
            let others = self.others.get_mut();
            others.rejected += u64::from(before);
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
            (before, len - beyond),
            outcome,
            context.rules.notes,
        );
        if held.truncated > 0 {
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
        self.next = self.next.max(end);
    }
}

/// An offset that is not below 0.
fn to_offset(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
