//! Packets that a mirror port or a second tap delivered twice.

use crate::model::{Segment, Timestamp};

/// How long after a packet its copy may come, nanoseconds. Ports and taps are microseconds apart; hosts
/// wait for 10 ms at the very least before they send something again for want of an answer (RFC 8985,
/// 7.2: a tail loss probe).
const COPY_NS: i64 = 1_000_000;

/// Packets of a direction that are remembered. Copies come next to each other, or a few packets apart
/// where each direction has a queue of its own.
const REMEMBERED: usize = 4;

/// The last packets of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mirror {
    recent: [(u64, Timestamp); REMEMBERED],
    next: u8,
}

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror {
            recent: [(0, Timestamp::NONE); REMEMBERED],
            next: 0,
        }
    }
}

impl Mirror {
    /// Whether this packet is a copy of one of the last few, and not something that was sent again:
    /// it came within a millisecond, and header fields, identification and checksum, which covers the
    /// payload, are the same.
    pub(super) fn is_copy(&mut self, segment: &Segment) -> bool {
        if segment.mark == 0 {
            return false;
        }
        let identity = identity(segment);
        let copy = self.recent.iter().any(|&(other, at)| {
            other == identity
                && segment
                    .ts
                    .since(at)
                    .is_some_and(|ns| (0..=COPY_NS).contains(&ns))
        });
        if !copy {
            self.recent[usize::from(self.next) % REMEMBERED] = (identity, segment.ts);
            self.next = self.next.wrapping_add(1);
        }
        copy
    }
}

/// A digest of what a copy has in common with its original: hop counts and tags may differ.
fn identity(segment: &Segment) -> u64 {
    let numbers = u64::from(segment.seq) << 32 | u64::from(segment.ack);
    let packet = u64::from(segment.mark) << 32
        | u64::from(segment.window) << 16
        | u64::from(segment.flags.0) << 8;
    // Odd constants of the golden ratio (Knuth, TAOCP 3, 6.4) spread what is added.
    numbers
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_add(packet)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(segment.wire_len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reassembly::testing::SegmentBuilder as B;

    #[test]
    fn a_copy_has_the_same_number_and_comes_at_once() {
        let mut mirror = Mirror::default();
        let mut is_copy = |builder: B| mirror.is_copy(&builder.build());
        let sent = || B::client(100, 500).data(10).mark(7).at(0);
        assert!(!is_copy(sent()));
        assert!(is_copy(sent().at(500_000)));
        assert!(is_copy(sent().at(900_000)), "a third tap");
        assert!(!is_copy(sent().mark(8).at(600_000)), "sent again");
        assert!(!is_copy(sent().at(2_000_000)), "too late");
    }

    #[test]
    fn what_has_no_mark_is_no_copy() {
        let mut mirror = Mirror::default();
        for _ in 0..3 {
            assert!(!mirror.is_copy(&B::client(100, 500).build()));
        }
    }
}
