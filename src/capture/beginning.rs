//! The beginning of a capture, walked once before anything else: which link types it has, and when
//! it begins.

use super::head::FormatInfo;
use super::state::{WalkState, Window};
use super::walk::Walker;
use crate::model::Timestamp;

/// Bytes of frames without a time after which no time is looked for: a choice, so that a capture that
/// has none is not read twice. Blocks that are no packets do not count.
const MOST_UNTIMED: u64 = 1 << 20;

/// How far behind the first frame with a time others are looked for, bytes: a choice, since damage behind it
/// may be all of the file.
const MOST_BETWEEN: u64 = 1 << 20;

/// What a frame takes besides its data, at least, bytes.
const RECORD: u64 = 16;

/// How much earlier than the frame behind it a first frame may lie, nanoseconds. A network may be
/// quiet for a day, and clocks that were never set are years behind.
const QUIET_NS: i64 = 86_400 * 1_000_000_000;

/// What the beginning of a capture tells, as far as it has been seen.
#[derive(Debug)]
pub(super) struct Beginning {
    /// The state in which a walk of the whole capture begins.
    pub(super) start: WalkState,
    state: WalkState,
    info: Option<FormatInfo>,
    /// Times of the first frames that have one.
    times: Vec<Timestamp>,
    untimed: u64,
    /// Frames that begin behind this place tell no more, once there is a time.
    horizon: u64,
}

impl Beginning {
    /// Nothing has been seen but the header.
    pub(super) fn new(start: WalkState) -> Beginning {
        Beginning {
            state: start.clone(),
            start,
            info: None,
            times: Vec::new(),
            untimed: 0,
            horizon: u64::MAX,
        }
    }

    /// The offset from which on bytes are needed.
    pub(super) const fn offset(&self) -> u64 {
        self.state.offset()
    }

    /// Walks on in a window that begins there or before, and tells whether that was enough.
    pub(super) fn look(&mut self, window: &Window<'_>) -> bool {
        let mut walker = Walker::new(window, self.state.clone(), u64::MAX);
        while !self.is_told() {
            let Some(frame) = walker.next() else { break };
            if self.info.is_none() {
                self.start.learn(&frame);
                self.info = Some(FormatInfo::of(walker.format()));
            }
            let at = frame.at.offset();
            match frame.ts {
                _ if at > self.horizon => break,
                Timestamp::NONE => self.untimed += frame.data.len() as u64 + RECORD,
                ts => {
                    if self.times.is_empty() {
                        self.horizon = at.saturating_add(MOST_BETWEEN);
                    }
                    self.times.push(ts);
                }
            }
        }
        self.state = walker.finish().0;
        self.is_told()
    }

    /// Nothing that follows would tell more.
    fn is_told(&self) -> bool {
        let times = match self.times.as_slice() {
            [] => self.untimed > MOST_UNTIMED,
            _ if self.state.offset() > self.horizon => true,
            [_] => false,
            // A third frame is only asked where two do not agree.
            [first, second, rest @ ..] => !rest.is_empty() || agree(*first, *second),
        };
        times && self.info.is_some()
    }

    /// When the capture begins: the time of its first frame that has one, unless the two behind it say
    /// that the clock had slipped there; then that of the second. [`Timestamp::NONE`] where there is no
    /// time.
    pub(super) fn begins(&self) -> Timestamp {
        match *self.times.as_slice() {
            [] => Timestamp::NONE,
            [first] | [first, _] => first,
            [first, second, third, ..] => {
                let slipped = if first.is_credible_before(second) {
                    !agree(first, second) && second.is_credible_before(third)
                } else {
                    !first.is_credible_before(third)
                };
                if slipped { second } else { first }
            }
        }
    }

    /// The format, as far as it is known.
    pub(super) fn info(&self) -> FormatInfo {
        self.info
            .clone()
            .unwrap_or_else(|| FormatInfo::of(self.state.format()))
    }
}

/// Whether the clock may have gone from the one to the other.
fn agree(first: Timestamp, second: Timestamp) -> bool {
    first.is_credible_before(second) && second.since(first).is_none_or(|ahead| ahead <= QUIET_NS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::pcapng::Section;
    use super::super::state::Format;
    use super::*;

    #[test]
    fn a_first_time_that_the_next_two_belie_is_not_the_beginning() {
        const HOUR: i64 = 3600;
        let year = 365 * 24 * HOUR;
        let now = 50 * year;
        for (seconds, wanted) in [
            (&[now][..], now),
            (&[now, now + 1], now),
            (&[0, now], 0),
            // Early, and late.
            (&[0, now, now + 1], now),
            (&[0, now, now - HOUR], now),
            (&[now + 20 * year, now, now + 1], now),
            (&[now + 2 * HOUR, now, now + 1], now),
            // The second is wrong.
            (&[now, now - 21 * year, now + 1], now),
            (&[now, now - 2 * HOUR, now + 1], now),
            (&[now, now + 21 * year, now + 1], now),
            // Quiet for long.
            (&[now, now + 20 * HOUR, now + 20 * HOUR + 1], now),
            (&[now, now - 21 * year, now + 3 * HOUR], now),
            // The clock is set back for good.
            (&[now, now - year, now - year + 1], now - year),
        ] {
            let mut beginning = Beginning::new(WalkState::new(
                0,
                Format::Pcapng(Arc::new(Section::new(false))),
            ));
            beginning.times = seconds
                .iter()
                .map(|second| Timestamp::from_ns(second * 1_000_000_000))
                .collect();
            let wanted = Timestamp::from_ns(wanted * 1_000_000_000);
            assert_eq!(beginning.begins(), wanted, "{seconds:?}");
        }
    }
}
