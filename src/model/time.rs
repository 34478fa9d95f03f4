//! Packet time.

/// Nanoseconds since the Unix epoch, or [`Timestamp::NONE`] where a record carries no time
/// (a pcapng Simple Packet Block).
///
/// `NONE` is less than every real time, so a maximum ignores it of itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// Two neighbouring frames further apart than this are taken for a clock that was set, nanoseconds. It is
/// a choice: beyond what queues and taps put out of order, and seldom reached by a network.
const JUMP_NS: i64 = 3600 * 1_000_000_000;

impl Timestamp {
    /// The record has no time.
    pub const NONE: Timestamp = Timestamp(i64::MIN);

    /// A time in nanoseconds since the Unix epoch; `i64::MIN` itself is [`Timestamp::NONE`].
    pub const fn from_ns(ns: i64) -> Timestamp {
        Timestamp(ns)
    }

    /// Nanoseconds since the Unix epoch; `None` where the record has no time.
    pub const fn ns(self) -> Option<i64> {
        if self.0 == i64::MIN {
            None
        } else {
            Some(self.0)
        }
    }

    /// Nanoseconds from `earlier` to `self`, saturating; `None` where either has no time.
    pub fn since(self, earlier: Timestamp) -> Option<i64> {
        Some(self.ns()?.saturating_sub(earlier.ns()?))
    }

    /// Whether this time moves the watermark: not if the frame after it lies more than an hour
    /// earlier. A clock that slips for a single frame would else end every open flow, and stop all
    /// timers until the capture has come so far.
    pub fn is_credible_before(self, next: Timestamp) -> bool {
        self.since(next).is_none_or(|back| back <= JUMP_NS)
    }

    /// Whether the clock jumps, forth or back, if `next` is the time after this one: by more than an hour.
    #[inline]
    pub fn jumps_to(self, next: Timestamp) -> bool {
        next.since(self)
            .is_some_and(|ahead| ahead.unsigned_abs() > JUMP_NS.unsigned_abs())
    }

    /// The lesser of two times, ignoring [`Timestamp::NONE`].
    #[must_use]
    pub fn earliest(self, other: Timestamp) -> Timestamp {
        match (self.ns(), other.ns()) {
            (None, _) => other,
            (_, None) => self,
            _ => self.min(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_ignored_by_both_extremes() {
        let t = Timestamp::from_ns(-5);
        assert_eq!(Timestamp::NONE.max(t), t);
        assert_eq!(Timestamp::NONE.earliest(t), t);
        assert_eq!(t.earliest(Timestamp::NONE), t);
        assert_eq!(t.earliest(Timestamp::from_ns(-7)), Timestamp::from_ns(-7));
    }

    #[test]
    fn a_time_that_the_next_frame_falls_far_behind_is_not_credible() {
        let hour = 3_600_000_000_000;
        let t = Timestamp::from_ns(hour);
        assert!(t.is_credible_before(Timestamp::from_ns(0)));
        assert!(!t.is_credible_before(Timestamp::from_ns(-1)));
        assert!(t.is_credible_before(Timestamp::from_ns(i64::MAX)));
        assert!(t.is_credible_before(Timestamp::NONE));
    }

    #[test]
    fn a_clock_jumps_by_more_than_an_hour() {
        let hour = 3_600_000_000_000;
        for (from, to, jumps) in [
            (0, hour, false),
            (0, hour + 1, true),
            (hour, 0, false),
            (hour + 1, 0, true),
            (i64::MIN, 0, false),
            (i64::MIN + 1, i64::MAX, true),
        ] {
            let (from, to) = (Timestamp::from_ns(from), Timestamp::from_ns(to));
            assert_eq!(from.jumps_to(to), jumps, "{from:?} {to:?}");
        }
    }

    #[test]
    fn differences_saturate() {
        let (least, most) = (
            Timestamp::from_ns(i64::MIN + 1),
            Timestamp::from_ns(i64::MAX),
        );
        assert_eq!(most.since(least), Some(i64::MAX));
        assert_eq!(most.since(Timestamp::NONE), None);
    }
}
