//! What acknowledgements alone tell of a direction.

use super::half_stream::WILD_DISTANCE;
use crate::model::seq::unwrap;

/// Acknowledgements of a direction of which nothing was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unseen {
    first: u32,
    /// Offset from the first, and what it was before it last grew.
    reached: i64,
    before: i64,
}

impl Unseen {
    pub(super) const fn new(first: u32) -> Unseen {
        Unseen {
            first,
            reached: 0,
            before: 0,
        }
    }

    pub(super) fn acknowledge(&mut self, ack: u32, window: i64) {
        let offset = unwrap(self.first, self.reached, ack);
        // A jump beyond what can be under way shows nothing: a forged one would invent a gap.
        if (1..=WILD_DISTANCE + window).contains(&(offset - self.reached)) {
            (self.before, self.reached) = (self.reached, offset);
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
