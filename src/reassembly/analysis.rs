//! Counts of retransmission, reordering and the like, by the definitions of Wireshark's TCP
//! analysis (Wireshark User's Guide, "TCP Analysis"), so that both tools can be compared.
//!
//! The rules look at sequence numbers as they pass the tap, not at which bytes were captured, so
//! they stand apart from the reassembly.

use super::seldom::Seldom;
use crate::model::seq::distance;
use crate::model::{Segment, Timestamp};

/// A fast retransmission follows the duplicate acknowledgements within 20 ms.
const FAST_RETRANSMISSION_NS: i64 = 20_000_000;

/// A segment within 3 ms of the one it is behind is out of order where no round trip was measured.
const OUT_OF_ORDER_NS: i64 = 3_000_000;

/// What one direction counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    /// Retransmissions, the fast and spurious ones included.
    pub retrans_packets: u64,
    /// Their captured payload bytes.
    pub retrans_bytes: u64,
    /// Out-of-order segments.
    pub ooo_packets: u64,
    /// Duplicate acknowledgements.
    pub dup_acks: u64,
    /// Announcements of a zero window.
    pub zero_windows: u64,
    /// Keep-alives.
    pub keepalives: u64,
}

/// One direction, as Wireshark sees it.
#[derive(Clone, Debug)]
pub(super) struct Analysis {
    counts: Seldom<Counts>,
    /// Expected next sequence number, and when it was reached.
    next: Option<u32>,
    next_at: Timestamp,
    last_ack: Option<u32>,
    last_ack_at: Timestamp,
    window: u16,
    duplicates_in_row: u32,
    last_was_keepalive: bool,
}

impl Default for Analysis {
    fn default() -> Analysis {
        Analysis {
            counts: Seldom::default(),
            next: None,
            next_at: Timestamp::NONE,
            last_ack: None,
            last_ack_at: Timestamp::NONE,
            window: 0,
            duplicates_in_row: 0,
            last_was_keepalive: false,
        }
    }
}

impl Analysis {
    /// What was counted.
    pub(super) fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// The sequence number that is expected next.
    pub(super) const fn expected(&self) -> Option<u32> {
        self.next
    }

    /// Memory beyond the struct itself, bytes.
    pub(super) fn memory(&self) -> usize {
        self.counts.memory()
    }

    /// Takes a segment of this direction; `reverse` is the other one, `initial_rtt` the handshake's
    /// round trip in nanoseconds where it was seen.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        reverse: &Analysis,
        initial_rtt: Option<i64>,
    ) {
        let flags = segment.flags;
        let len = segment.wire_len();
        let control = flags.syn() || flags.fin() || flags.rst();
        let ahead = self.next.map(|next| distance(next, segment.seq));

        let probe = len == 1 && ahead == Some(0) && reverse.window == 0 && !control;
        if segment.window == 0 && !control {
            self.counts.get_mut().zero_windows += 1;
        }
        let keepalive = len <= 1 && ahead == Some(-1) && !control;
        if keepalive {
            self.counts.get_mut().keepalives += 1;
        }
        let repeats_ack =
            len == 0 && ahead == Some(0) && self.last_ack == Some(segment.ack) && !control;
        let answers_keepalive = reverse.last_was_keepalive && segment.window == self.window;
        if repeats_ack
            && segment.window != 0
            && (segment.window == self.window || segment.has_sack)
            && !answers_keepalive
        {
            self.counts.get_mut().dup_acks += 1;
            self.duplicates_in_row += 1;
        } else if len > 0 || self.last_ack != Some(segment.ack) || control {
            self.duplicates_in_row = 0;
        }

        if segment.occupies() && ahead.is_some_and(|ahead| ahead < 0) && !keepalive && !flags.rst()
        {
            self.behind(segment, reverse, initial_rtt);
        }
        if !probe && !flags.rst() {
            self.advance(segment);
        }
        self.last_was_keepalive = keepalive;
        self.window = segment.window;
        if flags.ack() {
            self.last_ack = Some(segment.ack);
            self.last_ack_at = segment.ts;
        }
    }

    /// The segment begins before the expected sequence number.
    fn behind(&mut self, segment: &Segment, reverse: &Analysis, initial_rtt: Option<i64>) {
        let end = segment.seq.wrapping_add(segment.wire_len());
        let control = segment.flags.syn() || segment.flags.fin();
        let spurious = segment.wire_len() > 0
            && !control
            && reverse.last_ack.is_some_and(|ack| distance(ack, end) <= 0);
        let fast = reverse.duplicates_in_row >= 2
            && reverse.last_ack == Some(segment.seq)
            && segment
                .ts
                .since(reverse.last_ack_at)
                .is_some_and(|ns| (0..FAST_RETRANSMISSION_NS).contains(&ns));
        let patience = initial_rtt.filter(|&ns| ns > 0).unwrap_or(OUT_OF_ORDER_NS);
        let out_of_order = segment
            .ts
            .since(self.next_at)
            .is_some_and(|ns| ns < patience)
            && self.next != Some(end.wrapping_add(u32::from(control)));
        let counts = self.counts.get_mut();
        if !spurious && !fast && out_of_order {
            counts.ooo_packets += 1;
        } else {
            counts.retrans_packets += 1;
            counts.retrans_bytes += u64::from(segment.payload.len());
        }
    }

    fn advance(&mut self, segment: &Segment) {
        let flags = segment.flags;
        let end = segment
            .seq
            .wrapping_add(segment.wire_len())
            .wrapping_add(u32::from(flags.syn() || flags.fin()));
        if self.next.is_none_or(|next| distance(next, end) > 0) {
            self.next = Some(end);
            self.next_at = segment.ts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reassembly::testing::{SegmentBuilder, ms};

    fn run(segments: &[(bool, Segment)]) -> (Counts, Counts) {
        let mut halves = [Analysis::default(), Analysis::default()];
        for (from_client, segment) in segments {
            let [client, server] = &mut halves;
            let (own, reverse) = if *from_client {
                (client, server)
            } else {
                (server, client)
            };
            own.segment(segment, reverse, Some(10_000_000));
        }
        (halves[0].counts(), halves[1].counts())
    }

    fn data(at: i64, seq: u32, len: u32) -> (bool, Segment) {
        (
            true,
            SegmentBuilder::client(seq, 500)
                .data(len)
                .at(ms(at))
                .build(),
        )
    }

    fn ack(at: i64, ack: u32) -> (bool, Segment) {
        (false, SegmentBuilder::server(500, ack).at(ms(at)).build())
    }

    #[test]
    fn a_late_segment_is_retransmitted_and_an_early_one_out_of_order() {
        let late = run(&[data(0, 100, 10), data(1, 120, 10), data(50, 110, 10)]).0;
        assert_eq!(
            (late.retrans_packets, late.retrans_bytes, late.ooo_packets),
            (1, 10, 0)
        );
        let early = run(&[data(0, 100, 10), data(1, 120, 10), data(2, 110, 10)]).0;
        assert_eq!((early.retrans_packets, early.ooo_packets), (0, 1));
    }

    #[test]
    fn two_duplicate_acks_make_a_fast_retransmission() {
        let (client, server) = run(&[
            data(0, 100, 10),
            data(0, 110, 10),
            ack(1, 100),
            ack(2, 100),
            ack(3, 100),
            data(4, 100, 10),
        ]);
        assert_eq!(server.dup_acks, 2);
        assert_eq!((client.retrans_packets, client.ooo_packets), (1, 0));
    }

    #[test]
    fn acknowledged_bytes_sent_again_are_spurious_however_soon() {
        let (client, _) = run(&[
            data(0, 100, 10),
            data(0, 110, 10),
            ack(1, 120),
            data(1, 100, 10),
        ]);
        assert_eq!((client.retrans_packets, client.ooo_packets), (1, 0));
    }

    #[test]
    fn a_probe_before_the_next_byte_is_a_keepalive_and_nothing_else() {
        let (client, _) = run(&[data(0, 100, 10), data(900, 109, 1), data(1900, 109, 0)]);
        assert_eq!((client.keepalives, client.retrans_packets), (2, 0));
    }

    #[test]
    fn zero_windows_count_but_not_on_a_reset() {
        let zero = SegmentBuilder::server(500, 100).window(0).build();
        let reset = SegmentBuilder::server(500, 100).window(0).rst().build();
        assert_eq!(run(&[(false, zero), (false, reset)]).1.zero_windows, 1);
    }
}
