//! Which frames' times move the clocks, and where a file's clock jumps.

use crate::model::{RawFrame, Timestamp};

/// How far behind a frame the next one of its file may begin to have a say in its time, bytes. It is a
/// choice: far more than lies between frames that nothing has come between.
const LOOK_AHEAD: u64 = 1 << 20;

/// A frame, as far as it has a say in the time of the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Successor {
    pub(super) ts: Timestamp,
    /// Where its data begins in the file.
    pub(super) at: u64,
}

impl Successor {
    pub(super) const fn of(frame: &RawFrame<'_>) -> Successor {
        Successor {
            ts: frame.ts,
            at: frame.at.offset(),
        }
    }
}

/// A frame whose time may move the clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Judged {
    ts: Timestamp,
    /// Where its data begins and ends in the file.
    at: u64,
    end: u64,
    /// Not before its file begins.
    is_above_floor: bool,
}

impl Judged {
    /// A frame of a file that begins at `floor`.
    #[inline]
    pub(super) fn new(frame: &RawFrame<'_>, floor: Timestamp) -> Judged {
        Judged {
            ts: frame.ts,
            at: frame.at.offset(),
            end: frame.at.offset() + frame.data.len() as u64,
            is_above_floor: frame.ts >= floor,
        }
    }

    /// Its time.
    pub(super) const fn ts(&self) -> Timestamp {
        self.ts
    }

    /// What it is to the frame before it.
    pub(super) const fn successor(&self) -> Successor {
        Successor {
            ts: self.ts,
            at: self.at,
        }
    }

    /// The last place at which a frame may begin that has a say.
    pub(super) const fn horizon(&self) -> u64 {
        self.end.saturating_add(LOOK_AHEAD)
    }

    /// Whether its time counts, when `next` is the file's next frame.
    #[inline]
    pub(super) fn counts(&self, next: Option<Successor>) -> bool {
        self.is_above_floor
            && next
                .is_none_or(|next| self.ts.is_credible_before(next.ts) || next.at > self.horizon())
    }
}

/// Where the clock of a file jumps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Jump {
    /// The frame behind the jump.
    pub(super) frame: u64,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// How often the clock of a file jumps, from one of its frames to the next that has a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Jumps {
    pub(super) count: u64,
    pub(super) first: Option<Jump>,
    /// The first frame with a time, and its time.
    begin: Option<(u64, Timestamp)>,
    last: Timestamp,
}

impl Jumps {
    /// Without any frame.
    pub(super) const NONE: Jumps = Jumps {
        count: 0,
        first: None,
        begin: None,
        last: Timestamp::NONE,
    };

    /// Adds the next frame of the file.
    #[inline]
    pub(super) fn add(&mut self, frame: u64, ts: Timestamp) {
        if ts == Timestamp::NONE {
            return;
        }
        if self.last.jumps_to(ts) {
            self.jump(Jump {
                frame,
                from: self.last,
                to: ts,
            });
        }
        if self.begin.is_none() {
            self.begin = Some((frame, ts));
        }
        self.last = ts;
    }

    /// Adds those of the part of the file right behind this one, whose frames are numbered from there:
    /// `before` lie in front of them.
    pub(super) fn merge(&mut self, next: &Jumps, before: u64) {
        let Some((frame, ts)) = next.begin else {
            return;
        };
        self.add(before + frame, ts);
        self.count += next.count;
        self.first = self.first.or(next.first.map(|jump| Jump {
            frame: before + jump.frame,
            ..jump
        }));
        self.last = next.last;
    }

    #[cold]
    fn jump(&mut self, jump: Jump) {
        self.count += 1;
        self.first.get_or_insert(jump);
    }
}

/// The greatest of the times that count; whether the last does cannot be known here.
pub(super) fn greatest_before_last(frames: impl Iterator<Item = (Judged, Successor)>) -> Timestamp {
    let mut greatest = Timestamp::NONE;
    let mut before: Option<Judged> = None;
    for (judged, this) in frames {
        if let Some(before) = before
            && before.counts(Some(this))
        {
            greatest = greatest.max(before.ts);
        }
        before = Some(judged);
    }
    greatest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_counted_alike_however_the_frames_are_divided() {
        const HOUR: i64 = 3600 * 1_000_000_000;
        let times: Vec<Timestamp> = [0, HOUR, 2 * HOUR + 1, 2 * HOUR, i64::MIN, 9 * HOUR, 3]
            .map(Timestamp::from_ns)
            .to_vec();
        let jumps_of = |times: &[Timestamp]| {
            let mut jumps = Jumps::NONE;
            for (frame, ts) in (1..).zip(times) {
                jumps.add(frame, *ts);
            }
            jumps
        };
        let whole = jumps_of(&times);
        let first = Jump {
            frame: 3,
            from: Timestamp::from_ns(HOUR),
            to: Timestamp::from_ns(2 * HOUR + 1),
        };
        assert_eq!((whole.count, whole.first), (3, Some(first)));
        for cut in 0..=times.len() {
            for second in cut..=times.len() {
                let mut joined = Jumps::NONE;
                let parts = [(0, cut), (cut, second), (second, times.len())];
                for (from, to) in parts {
                    joined.merge(&jumps_of(&times[from..to]), from as u64);
                }
                assert_eq!(joined, whole, "{cut} {second}");
            }
        }
    }
}
