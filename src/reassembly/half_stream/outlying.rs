//! What lies beyond everything known of a stream: segments, and acknowledgements by the peer.

use super::{Context, HalfStream, Held, WILD_DISTANCE, distance, unwrap};
use crate::model::Timestamp;

/// Wild segments held at most; beyond that the oldest is rejected. They are rare in honest
/// traffic, so a small number serves, and bounds what forged ones can cost.
pub(crate) const WILD_SEGMENTS: usize = 64;

/// So many wild segments near each other confirm each other, and so many acknowledgements that rise.
pub(crate) const WILD_QUORUM: usize = 3;

/// What the peer has acknowledged beyond everything that was captured: the capture lacks it, or the
/// acknowledgement is forged or stale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Offset of the lowest and of the highest of these acknowledgements.
    first: i64,
    pub(super) highest: i64,
    /// When the last of them was captured.
    at: Timestamp,
    /// How many there were, and how many different ones, rising.
    seen: u8,
    rises: u8,
    /// What was captured later and does not bear it out.
    lower: u8,
}

impl HalfStream {
    /// How far the peer has acknowledged beyond everything captured.
    pub(super) fn claimed(&self) -> Option<i64> {
        Some(self.aside.changed()?.claim?.highest)
    }

    /// Whether an acknowledgement of what was not captured is borne out by further ones.
    pub(super) fn is_claimed_again(&self, offset: i64) -> bool {
        let claim = self.aside.changed().and_then(|aside| aside.claim);
        claim.is_some_and(|claim| {
            claim.first <= offset
                && offset <= claim.highest
                && usize::from(claim.seen) >= WILD_QUORUM
        })
    }

    /// Takes an acknowledgement beyond everything sent. Returns whether it is plausible.
    pub(super) fn claim(&mut self, offset: i64, context: &mut Context<'_>) -> bool {
        let end = self.plausible_end(context);
        let plausible = offset <= end;
        let slot = &mut self.aside.get_mut().claim;
        let new = Claim {
            first: offset,
            highest: offset,
            at: context.at,
            seen: 1,
            rises: 1,
            lower: 0,
        };
        let claim = match slot {
            Some(claim) if offset >= claim.highest => {
                claim.seen = claim.seen.saturating_add(1);
                claim.rises = claim.rises.saturating_add(u8::from(offset > claim.highest));
                (claim.highest, claim.at) = (offset, context.at);
                *claim
            }
            // A lower one is as good where both are plausible, but does not bear out the higher one.
            Some(claim) if claim.highest <= end => {
                claim.first = claim.first.min(offset);
                claim.seen = claim.seen.saturating_add(1);
                claim.lower += u8::from(context.at > claim.at);
                if usize::from(claim.lower) >= WILD_QUORUM && claim.lower > claim.rises {
                    *claim = new;
                }
                *claim
            }
            _ => *slot.insert(new),
        };
        if usize::from(claim.rises) >= WILD_QUORUM {
            self.believe(claim.highest);
        }
        if !plausible {
            self.confirm_wild(context);
        }
        plausible
    }

    /// The sender goes on at a number, without data. From where the peer has claimed to have, it bears that out; one
    /// more than a keep-alive's byte before it, nothing lay between.
    pub(crate) fn goes_on_at(&mut self, seq: u32, at: Timestamp) {
        let claim = self.aside.changed().and_then(|aside| aside.claim);
        let (Some(origin), Some(claim)) = (self.origin, claim) else {
            return;
        };
        let offset = unwrap(origin, self.reached(), seq);
        if offset >= claim.highest {
            self.believe(claim.highest);
        } else if offset + 1 < claim.first {
            self.contradict_claim(at);
        }
    }

    /// Something captured at this time tells against what the peer has claimed to have, unless it was captured
    /// late. After a few such, as reordering does not bring, the claim was false.
    pub(super) fn contradict_claim(&mut self, at: Timestamp) {
        if let Some(aside) = self.aside.changed_mut()
            && let Some(claim) = &mut aside.claim
            && at > claim.at
        {
            claim.lower += 1;
            if usize::from(claim.lower) >= WILD_QUORUM && claim.lower > claim.rises {
                aside.claim = None;
                self.tidy();
            }
        }
    }

    /// What was sent has come to where the peer had acknowledged.
    pub(super) fn absorb_claim(&mut self) {
        if let Some(highest) = self.claimed()
            && highest <= self.sent_end()
        {
            self.believe(highest);
        }
    }

    fn believe(&mut self, offset: i64) {
        self.acked = self.acked.max(offset);
        if let Some(aside) = self.aside.changed_mut() {
            aside.claim = None;
        }
        self.settle_end();
        self.tidy();
    }

    /// At the end, an acknowledgement beyond everything captured tells what is missing, unless the stream is known to
    /// end before it, or later ones fell short of it.
    pub(super) fn believe_last_claim(&mut self, context: &Context<'_>) {
        let Some(claim) = self.aside.changed().and_then(|aside| aside.claim) else {
            return;
        };
        let exact = self.fin.is_some_and(|fin| fin + 1 == self.acked);
        let plausible = claim.highest <= self.plausible_end(context);
        if plausible && !exact && claim.rises >= claim.lower {
            self.believe(claim.highest);
        }
    }

    /// Keeps a segment far beyond everything known until something confirms it.
    pub(super) fn hold_wild(&mut self, held: Held, context: &mut Context<'_>) {
        let wild = &mut self.aside.get_mut().wild;
        wild.push(held);
        if wild.len() > WILD_SEGMENTS {
            let oldest = wild.remove(0);
            self.others.get_mut().crowded_out += u64::from(oldest.payload.len());
            self.reject(&oldest, context.rules.notes);
        }
        self.confirm_wild(context);
    }

    /// Wild segments become part of the stream when the peer acknowledges their neighbourhood, or
    /// when [`WILD_QUORUM`] of them with different numbers lie together.
    fn confirm_wild(&mut self, context: &mut Context<'_>) {
        let reached = self.reached();
        let (Some(origin), Some(aside)) = (self.origin, self.aside.changed_mut()) else {
            return;
        };
        let near = |a: u32, b: u32| i64::from(distance(a, b)).abs() <= WILD_DISTANCE;
        let Some(last) = aside.wild.last() else {
            return;
        };
        let anchor = last.seq;
        let end = unwrap(origin, reached, last.seq) + i64::from(last.wire_len());
        let claim = aside.claim.map(|claim| claim.highest);
        let acknowledged = claim.is_some_and(|at| (0..=WILD_DISTANCE).contains(&(at - end)));
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
        let (confirmed, wild): (Vec<Held>, Vec<Held>) = std::mem::take(&mut aside.wild)
            .into_iter()
            .partition(|held| near(anchor, held.seq));
        aside.wild = wild;
        for held in confirmed {
            let offset = unwrap(origin, self.reached(), held.seq);
            self.place(offset, &held, context);
        }
        self.tidy();
        if let Some(highest) = claim
            && highest - end <= WILD_DISTANCE
        {
            self.believe(highest);
        }
    }
}
