//! Where a stream ends: FINs, of which several may be captured, and RSTs.

use super::{HalfStream, Held, WILD_DISTANCE, narrow, to_offset};
use crate::model::seq::{distance, unwrap};

/// Offsets of FINs that are remembered besides the first, until one of them is acknowledged. A choice: an honest
/// side has one.
const MOST_FINS: usize = 4;

/// Where a RST lies (RFC 5961, 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RstPlace {
    /// Where the peer expects the next byte: it closes the connection.
    Exact,
    /// In the peer's window: the peer answers with an acknowledgement, and goes on.
    InWindow,
    /// Outside: the peer ignores it.
    Outside,
}

impl HalfStream {
    /// Where a RST with this sequence number lies for the peer, which expects a byte from what it has acknowledged to
    /// what was sent. With nothing known of the stream every RST is believed. `first` is the
    /// number of offset 0 as far as a SYN tells.
    pub(crate) fn rst_place(&self, seq: u32, first: Option<u32>, window: i64) -> RstPlace {
        let Some(origin) = self.origin.or(first) else {
            let near = self.head().first().is_none_or(|held| {
                i64::from(distance(held.seq, seq)).abs() <= WILD_DISTANCE + window
            });
            return if near {
                RstPlace::Exact
            } else {
                RstPlace::Outside
            };
        };
        let offset = unwrap(origin, self.reached(), seq);
        let claimed = self.claimed().unwrap_or(0);
        let waiting = if self.origin.is_none() {
            i64::from(self.sent_behind(origin))
        } else {
            0
        };
        let sent = self.next.max(self.acked).max(claimed).max(waiting);
        // What was sent but not acknowledged may be all that the sender still knows of.
        let low = self.acked.min(self.next) - 1;
        if offset < low || offset > sent + window.max(i64::from(u16::MAX)) + 1 {
            RstPlace::Outside
        } else if offset <= sent + 1 {
            RstPlace::Exact
        } else {
            RstPlace::InWindow
        }
    }

    /// Whether a segment with this number may be a stray of this half-stream after its connection
    /// was closed: something sent again, or what was under way when a RST came.
    pub(crate) fn may_be_stray(&self, seq: u32, window: i64) -> bool {
        let ahead = window.max(i64::from(u16::MAX));
        let behind = window.max(super::STRAY_DISTANCE);
        match self.origin {
            Some(origin) => {
                let offset = unwrap(origin, self.reached(), seq);
                // Nothing follows a FIN.
                let high = self.likely_fin().map_or(self.next + ahead, |fin| fin + 1);
                (self.next - behind..=high).contains(&offset)
            }
            None => self
                .head()
                .first()
                .is_none_or(|held| i64::from(distance(held.seq, seq)).abs() <= behind),
        }
    }

    /// Whether its sender has said that there is no more, as far as is known.
    pub(crate) fn is_finished(&self) -> bool {
        match self.origin {
            Some(_) => self.ended || self.likely_fin().is_some(),
            None => self.head().iter().any(|held| held.fin),
        }
    }

    /// Whether it is known for certain where the stream ends.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Notes a FIN at an offset. One before what the peer has acknowledged is forged, or from an older connection.
    pub(super) fn take_fin(&mut self, at: i64) {
        let stale = at + 1 == self.acked && self.assembler.captured().contains(to_offset(at));
        if self.ended || at < 0 || at + 1 < self.acked || stale {
            return;
        }
        match self.fin {
            None => self.fin = Some(at),
            Some(fin) if fin == at => {}
            Some(_) => {
                let fins = &mut self.aside.get_mut().fins;
                if !fins.contains(&at) {
                    if fins.len() >= MOST_FINS {
                        fins.remove(0);
                    }
                    fins.push(at);
                }
            }
        }
        self.settle_end();
    }

    /// A FIN that is acknowledged exactly is the end; one beyond which the peer has acknowledged something is none. A
    /// segment of one byte in its place leaves it open, until the stream is over, which of the two was acknowledged.
    pub(super) fn settle_end(&mut self) {
        let Some(fin) = self.fin else { return };
        let acked = self.acked;
        if self.ended {
            return;
        }
        if fin + 1 != acked
            && let Some(aside) = self.aside.changed_mut()
            && !aside.fins.is_empty()
        {
            aside.fins.push(fin);
            aside.fins.retain(|&at| at + 1 >= acked);
            let exact = aside.fins.iter().position(|&at| at + 1 == acked);
            self.fin = match exact {
                Some(exact) => Some(aside.fins.swap_remove(exact)),
                None => aside.fins.pop(),
            };
        } else if fin + 1 < acked {
            self.fin = None;
        }
        let Some(fin) = self.fin.filter(|fin| fin + 1 == acked) else {
            return;
        };
        let at = to_offset(fin);
        match self.assembler.piece_at(at) {
            // Acknowledged in the middle of a segment, whose bytes the receiver has not taken.
            Some((_, end)) if end > at + 1 => self.ended = true,
            Some((start, _)) if start == at => {}
            // What was acknowledged is that segment.
            Some(_) => self.fin = None,
            None if self.assembler.captured().contains(at) => self.fin = None,
            None => self.ended = true,
        }
    }

    /// The FIN that most likely is the end: the acknowledged one, or one at or behind everything that was sent, and of
    /// several the nearest.
    pub(super) fn likely_fin(&self) -> Option<i64> {
        let fin = self.fin?;
        if self.ended || fin + 1 == self.acked {
            return Some(fin);
        }
        let others = self.aside.changed().map_or(&[][..], |aside| &aside.fins);
        let all = std::iter::once(fin).chain(others.iter().copied());
        all.filter(|&at| at >= self.next).min()
    }

    /// How many of a segment's captured bytes lie before the end.
    pub(super) fn before_end(&self, offset: i64, held: &Held) -> u32 {
        let len = held.payload.len();
        match self.fin {
            Some(fin) if self.ended => narrow(fin - offset).min(len),
            _ => len,
        }
    }

    /// Takes back what was captured behind the FIN that the peer has acknowledged exactly; returns that end. Bytes
    /// that have gone out stand, and then that FIN was not the end. Where it is open what was acknowledged, it is the FIN
    /// of a connection that was `closed` with it.
    pub(super) fn cut_at_end(&mut self, closed: bool) -> Option<u64> {
        let fin = self.fin.filter(|fin| fin + 1 == self.acked)?;
        if !self.ended && !closed {
            return None;
        }
        let end = to_offset(fin);
        let cut = self.assembler.cut(end)?;
        self.next = self.next.min(fin);
        if cut > 0 {
            self.unique = self.unique.saturating_sub(cut);
            let others = self.others.get_mut();
            others.rejected += cut;
            others.behind_end += cut;
        }
        Some(end)
    }
}
