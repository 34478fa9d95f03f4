//! Segments that acknowledge what the peer was not seen to send.
//!
//! A receiver drops them (RFC 9293, 3.10.7.4, fifth; RFC 5961, 5.2). But the capture may lack what they
//! acknowledge, or have it in another order. So they wait until that is told.

use super::{Context, HalfStream, Held, unwrap};

/// Segments that wait so at most; beyond that the oldest is taken. A choice, against what forged ones can cost.
const MOST_DOUBTED: usize = 64;

/// A segment that waits to be judged.
#[derive(Debug)]
pub(super) struct Doubted {
    held: Held,
    /// Nothing but the end of the connection can tell.
    late: bool,
}

impl Doubted {
    pub(super) fn owned_len(&self) -> usize {
        self.held.payload.owned_len()
    }
}

/// What an acknowledgement number is to what was captured of the stream that it acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Of what was sent, or what the capture may lack.
    Sent,
    /// Of what was not sent, as far as is known.
    Unsent,
    /// Older than what any receiver takes.
    Stale,
    /// Of what was never sent, for certain.
    False,
}

impl HalfStream {
    /// What an acknowledgement of this stream, captured from its SYN on, is worth. `window` is the greatest one that
    /// its sender has offered, bytes: acknowledgements older than that are not taken (RFC 5961, 5.2).
    pub(crate) fn standing(&self, ack: u32, window: i64) -> Standing {
        let Some(origin) = self.origin else {
            return Standing::Sent;
        };
        let offset = unwrap(origin, self.reached(), ack);
        if offset < self.acked - window {
            Standing::Stale
        } else if offset <= self.sent_end().max(self.acked).max(self.doubted_end() + 1) {
            Standing::Sent
        } else if self.has_ended() {
            Standing::False
        } else if self.is_claimed_again(offset) {
            Standing::Sent
        } else {
            Standing::Unsent
        }
    }

    /// One past what the segments that wait to be judged cover: it may have been sent.
    pub(super) fn doubted_end(&self) -> i64 {
        let (Some(origin), Some(aside)) = (self.origin, self.aside.changed()) else {
            return 0;
        };
        let ends = aside.doubted.iter().map(|Doubted { held, .. }| {
            let end = unwrap(origin, self.reached(), held.seq) + i64::from(held.wire_len());
            end + i64::from(held.fin)
        });
        ends.max().unwrap_or(0)
    }

    /// Whether, at the end, an acknowledgement may be of something that the capture lacks.
    pub(crate) fn may_have_sent(&self, ack: u32, reach: i64) -> bool {
        let Some(origin) = self.origin else {
            return true;
        };
        let offset = unwrap(origin, self.reached(), ack);
        let claimed = self.claimed().is_some_and(|highest| offset <= highest);
        offset <= self.sent_end().max(self.acked)
            || (!self.has_ended() && claimed && offset <= self.reached() + reach)
    }

    /// Keeps a segment until it is known whether what it acknowledges was sent, or, if it is `late`, until nothing else
    /// has taken its place.
    pub(crate) fn doubt(&mut self, held: Held, late: bool, context: &mut Context<'_>) {
        let doubted = &mut self.aside.get_mut().doubted;
        doubted.push(Doubted { held, late });
        if doubted.len() > MOST_DOUBTED {
            let oldest = doubted.remove(0);
            self.accept(oldest.held, context);
        }
    }

    /// Whether segments wait to be judged.
    pub(crate) fn has_doubted(&self) -> bool {
        let aside = self.aside.changed();
        aside.is_some_and(|aside| !aside.doubted.is_empty())
    }

    /// What the segments that wait acknowledge, and whether only the end can tell.
    pub(crate) fn doubted(&self) -> impl Iterator<Item = (Option<u32>, bool)> + '_ {
        let aside = self.aside.changed().into_iter();
        aside.flat_map(|aside| {
            let doubted = aside.doubted.iter();
            doubted.map(|doubted| (doubted.held.ack, doubted.late))
        })
    }

    /// Takes or rejects the segments that wait, each by its verdict; without one it goes on waiting.
    pub(crate) fn judge_doubted(&mut self, verdicts: Vec<Option<bool>>, context: &mut Context<'_>) {
        let Some(aside) = self.aside.changed_mut() else {
            return;
        };
        let waiting = std::mem::take(&mut aside.doubted);
        for (doubted, verdict) in waiting.into_iter().zip(verdicts) {
            match verdict {
                None => self.aside.get_mut().doubted.push(doubted),
                Some(true) => self.accept(doubted.held, context),
                Some(false) => self.reject(&doubted.held, context.rules.notes),
            }
        }
        self.tidy();
    }
}
