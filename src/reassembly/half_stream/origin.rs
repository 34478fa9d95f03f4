//! Which sequence number is offset 0.

use super::super::syns::{Syns, first_of};
use super::{Context, HalfStream, Held, STRAY_DISTANCE, WILD_DISTANCE, narrow};
use crate::model::seq::{distance, unwrap};
use crate::model::{SegmentKind, SynFacts};

/// Segments held at the start of a half-stream before one of its SYNs is known to be right, or before the lowest
/// sequence number among them becomes offset 0 where there is none. A choice: reordering in captures rarely
/// spans more than a handful of segments.
pub(crate) const HEAD_SEGMENTS: usize = 32;

/// Bytes that may follow a SYN before anything of the peer acknowledges them, where only one SYN can be meant: a
/// window without scaling (RFC 7323, 2.2), and what the capture may lack.
const BEHIND_SYN: i64 = WILD_DISTANCE;

impl HalfStream {
    /// The sequence number of offset 0, where it is known.
    pub(crate) const fn origin(&self) -> Option<u32> {
        self.origin
    }

    /// Segments that wait for offset 0 to become known.
    pub(super) fn head(&self) -> &[Held] {
        self.aside.changed().map_or(&[], |aside| &aside.head)
    }

    /// Lowest sequence number of the segments that wait for offset 0 to become known.
    pub(crate) fn head_seq(&self) -> Option<u32> {
        let head = self.head();
        let first = head.first()?.seq;
        head.iter()
            .map(|held| held.seq)
            .min_by_key(|&seq| distance(first, seq))
    }

    /// The sequence number at which it begins, so far as is known.
    pub(crate) fn begin(&self) -> Option<u32> {
        self.head_seq().or(self.origin)
    }

    /// Whether the stream has, or may go on with, a byte of this sequence number. `first` is the number of offset 0 as
    /// far as a SYN tells.
    pub(crate) fn expects(&self, seq: u32, first: Option<u32>) -> bool {
        if let Some(origin) = self.origin {
            return (0..=self.reached()).contains(&unwrap(origin, self.reached(), seq));
        }
        let near = |held: &Held| i64::from(distance(held.seq, seq)).abs() <= WILD_DISTANCE;
        match first {
            Some(first) => {
                let behind = i64::from(distance(first, seq));
                (0..=i64::from(self.sent_behind(first))).contains(&behind)
            }
            None => self.head().iter().any(near),
        }
    }

    /// Whether an acknowledgement number is one of this stream, as far as is known of it.
    pub(crate) fn knows_ack(&self, ack: u32) -> bool {
        if let Some(origin) = self.origin {
            let offset = unwrap(origin, self.reached(), ack);
            return (self.acked - STRAY_DISTANCE..=self.sent_end()).contains(&offset);
        }
        let unseen = self.aside.changed().and_then(|aside| aside.unseen);
        let near = |held: &Held| i64::from(distance(held.seq, ack)).abs() <= WILD_DISTANCE;
        unseen.is_some_and(|unseen| unseen.is_near(ack)) || self.head().iter().any(near)
    }

    /// Whether so many segments wait for offset 0 that what is known must decide.
    pub(crate) fn head_is_full(&self) -> bool {
        self.head().len() >= HEAD_SEGMENTS
    }

    /// Bytes that were sent behind `first`, as far as the segments go that wait for offset 0.
    pub(crate) fn sent_behind(&self, first: u32) -> u32 {
        if self.origin == Some(first) {
            return narrow(self.sent_end().max(self.doubted_end() + 1));
        }
        let ends = self.head().iter().map(|held| {
            let end = held.seq.wrapping_add(held.wire_len());
            distance(first, end.wrapping_add(u32::from(held.fin)))
        });
        let sent = ends.filter(|&sent| i64::from(sent) <= BEHIND_SYN).max();
        u32::try_from(sent.unwrap_or(0)).unwrap_or(0)
    }

    /// Keeps a segment until offset 0 is known. A keep-alive is none that could tell it: the peer has acknowledged the
    /// byte that follows.
    pub(super) fn wait_for_origin(&mut self, held: Held, context: &mut Context<'_>) -> bool {
        let unseen = self.aside.changed().and_then(|aside| aside.unseen);
        if self.head().is_empty()
            && held.wire_len() <= 1
            && !held.fin
            && !held.syn
            && context.quiet
            && unseen.is_some_and(|unseen| unseen.ack() == held.seq.wrapping_add(1))
        {
            self.pass_over(&held, None, SegmentKind::Keepalive, context.rules.notes);
            return false;
        }
        self.aside.get_mut().head.push(held);
        true
    }

    /// The SYN that an acknowledgement by the peer shows to be right, of those that came, and whether that is certain.
    /// Where there is no better one, it is right if what is acknowledged can lie behind it at all.
    pub(crate) fn syn_acknowledged(&self, ack: u32, syns: &Syns) -> Option<(SynFacts, bool)> {
        match syns.acknowledged(ack, |first| self.sent_behind(first)) {
            Some(syn) => Some((syn, true)),
            None => Some((syns.before(ack, BEHIND_SYN)?, false)),
        }
    }

    /// Whether a segment that waits begins before the byte behind a SYN and ends behind it, as none does that follows
    /// that SYN.
    pub(crate) fn straddles(&self, first: u32) -> bool {
        self.head().iter().any(|held| {
            let before = i64::from(distance(held.seq, first));
            !held.syn && before > 0 && before < i64::from(held.wire_len())
        })
    }

    /// Whether something was captured already that was sent before the byte behind a SYN: then that SYN is none of this
    /// stream.
    pub(crate) fn precedes(&self, first: u32) -> bool {
        let before = |seq| (1..=STRAY_DISTANCE).contains(&i64::from(distance(seq, first)));
        self.begin().is_some_and(before)
    }

    /// What follows a SYN without an acknowledgement that tells: the SYN before the segments that wait,
    /// and the sequence number of offset 0; `None` where nothing was captured that could tell.
    pub(crate) fn guess_origin(&self, syns: &Syns) -> Option<(u32, Option<SynFacts>)> {
        let head = || self.head().iter().filter(|held| !held.syn);
        let near = |a: u32, b: u32| i64::from(distance(a, b)).abs() <= WILD_DISTANCE;
        let company = |held: &Held| head().filter(|other| near(held.seq, other.seq)).count();
        // The first may itself be a stray: most of the others decide.
        let Some(anchor) = head().rev().max_by_key(|held| company(held)) else {
            let syn = syns.chosen()?;
            return Some((first_of(syn), Some(syn)));
        };
        let lowest = head()
            .filter(|held| near(anchor.seq, held.seq))
            .map(|held| distance(anchor.seq, held.seq))
            .min()
            .unwrap_or(0);
        let lowest = anchor.seq.wrapping_add_signed(lowest);
        let exact = syns
            .all()
            .find(|&syn| head().any(|held| held.seq == first_of(syn)));
        let syn = exact.or_else(|| syns.before(lowest, BEHIND_SYN));
        Some((syn.map_or(lowest, first_of), syn))
    }

    /// Offset 0 has this sequence number, if nothing waits for it and there was none before; else nothing is done.
    pub(crate) const fn set_plain_origin(&mut self, origin: u32) -> bool {
        if self.origin.is_some() || self.aside.is_changed() {
            return false;
        }
        self.origin = Some(origin);
        true
    }

    /// Offset 0 has this sequence number: what waited for it finds its place, or goes on waiting to be judged
    /// (`judged`) until the peer's numbers are known, too. `acked` is the acknowledgement that told: a SYN's data that
    /// it does not cover, the receiver has refused (RFC 7413, 4.2.2), and it comes again.
    pub(crate) fn set_origin(
        &mut self,
        origin: u32,
        acked: Option<u32>,
        judged: bool,
        context: &mut Context<'_>,
    ) {
        if self.origin.is_some() {
            return;
        }
        self.origin = Some(origin);
        let Some(aside) = self.aside.changed_mut() else {
            return;
        };
        let (head, unseen) = (std::mem::take(&mut aside.head), aside.unseen.take());
        for held in head {
            let end = held.seq.wrapping_add(held.wire_len());
            if held.syn && held.seq != origin {
                self.reject(&held, context.rules.notes);
            } else if held.syn && acked.is_some_and(|ack| distance(ack, end) > 0) {
                self.doubt(held, true, context);
            } else if judged && !held.syn {
                self.doubt(held, false, context);
            } else {
                self.accept(held, context);
            }
        }
        // Acknowledgements that came meanwhile count from here on.
        if let Some(unseen) = unseen {
            self.acknowledge(unseen.ack(), context);
        }
        self.tidy();
    }
}
