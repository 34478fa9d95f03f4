//! What acknowledgements alone tell of a direction.

use super::half_stream::{WILD_DISTANCE, WILD_QUORUM};
use crate::model::seq::{distance, unwrap};

/// Acknowledgements of a direction of which nothing was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unseen {
    first: u32,
    /// Offset from the first, and what it was before it last grew.
    reached: i64,
    before: i64,
    /// Acknowledgements far beyond that rise: the highest, and how many.
    jump: Option<(u32, u8)>,
}

impl Unseen {
    pub(super) const fn new(first: u32) -> Unseen {
        Unseen {
            first,
            reached: 0,
            before: 0,
            jump: None,
        }
    }

    pub(super) fn acknowledge(&mut self, ack: u32, window: i64) {
        let offset = unwrap(self.first, self.reached, ack);
        let near = |from: i64| (1..=WILD_DISTANCE + window).contains(&(offset - from));
        if near(self.reached) {
            (self.before, self.reached, self.jump) = (self.reached, offset, None);
            return;
        }
        if offset <= self.reached {
            return;
        }
        // A jump beyond what can be under way shows nothing by itself: a forged one would invent a gap. When others go
        // on from there, the capture lacks what lay between.
        let rises = match self.jump {
            Some((last, rises)) if near(unwrap(self.first, self.reached, last)) => rises + 1,
            _ => 1,
        };
        if usize::from(rises) >= WILD_QUORUM {
            (self.before, self.reached, self.jump) = (self.reached, offset, None);
        } else {
            self.jump = Some((ack, rises));
        }
    }

    /// Bytes that the peer has received. A last step of one is taken for a FIN, as wherever an
    /// acknowledgement cannot tell.
    pub(super) const fn data(&self) -> i64 {
        if self.reached == self.before + 1 {
            self.before
        } else {
            self.reached
        }
    }

    /// Whether an acknowledgement may be one of these: it is near the one that has come furthest.
    pub(super) fn is_near(&self, ack: u32) -> bool {
        i64::from(distance(self.ack(), ack)).abs() <= WILD_DISTANCE
    }

    /// The acknowledgement that has come furthest.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "mod 2³²"
    )]
    pub(super) const fn ack(&self) -> u32 {
        self.first.wrapping_add(self.reached as u32)
    }
}
