//! Packets that a mirror port or a second tap delivered twice.

use crate::model::Segment;

/// Times are kept in units of so many bits of nanoseconds.
const TIME_SHIFT: u32 = 8;

/// How long after a packet its copy may come, a millisecond in those units. Ports and taps are microseconds apart; hosts
/// wait for 10 ms at the very least before they send something again for want of an answer (RFC 8985,
/// 7.2: a tail loss probe).
const COPY_TIME: u32 = 1_000_000 >> TIME_SHIFT;

/// Packets of a direction that are remembered. Copies come next to each other, or a few packets apart
/// where each direction has a queue of its own.
const REMEMBERED: usize = 4;

/// The last packets of one direction: a digest of each, and its time in units of 2⁸ ns, of which 32 bits
/// go round in 18 minutes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mirror {
    recent: [(u32, u32); REMEMBERED],
    next: u8,
}

impl Mirror {
    /// Whether this packet is a copy of one of the last few, and not something that was sent again:
    /// it came within a millisecond, and header fields, identification and checksum, which covers the
    /// payload, are the same.
    pub(super) fn is_copy(&mut self, segment: &Segment) -> bool {
        let Some(ns) = segment.ts.ns().filter(|_| segment.mark != 0) else {
            return false;
        };
        let identity = identity(segment);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the lower bits of a time that goes round"
        )]
        let now = (ns >> TIME_SHIFT) as u32;
        let copy = self
            .recent
            .iter()
            .any(|&(other, at)| other == identity && now.wrapping_sub(at) <= COPY_TIME);
        if !copy {
            self.recent[usize::from(self.next) % REMEMBERED] = (identity, now);
            self.next = self.next.wrapping_add(1);
        }
        copy
    }
}

/// A digest of what a copy has in common with its original: hop counts and tags may differ. Not 0, which
/// stands for none.
fn identity(segment: &Segment) -> u32 {
    let numbers = u64::from(segment.seq) << 32 | u64::from(segment.ack);
    let packet = u64::from(segment.mark) << 32
        | u64::from(segment.window) << 16
        | u64::from(segment.flags.0) << 8;
    // Odd constants of the golden ratio (Knuth, TAOCP 3, 6.4) spread what is added.
    let mixed = numbers
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_add(packet)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(segment.wire_len()))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper half of a product is mixed best.
    u32::try_from(mixed >> 32).unwrap_or(0).max(1)
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
