//! Packet time.

/// Nanoseconds since the Unix epoch, or [`Timestamp::NONE`] where a record carries no time
/// (a pcapng Simple Packet Block).
///
/// `NONE` is less than every real time, so a maximum ignores it of itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

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
    /// timers until the capture has come so far. An hour is what an idle flow is given by default.
    pub fn is_credible_before(self, next: Timestamp) -> bool {
        const FALL_BACK_NS: i64 = 3600 * 1_000_000_000;
        self.since(next).is_none_or(|back| back <= FALL_BACK_NS)
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
    fn differences_saturate() {
        let (least, most) = (
            Timestamp::from_ns(i64::MIN + 1),
            Timestamp::from_ns(i64::MAX),
        );
        assert_eq!(most.since(least), Some(i64::MAX));
        assert_eq!(most.since(Timestamp::NONE), None);
    }
}
