//! IEEE 802.11.

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;

const LAYER: Layer = Layer::Wifi;

/// Bits of the frame control field (IEEE 802.11, 9.2.4.1).
mod control {
    pub(super) const TO_DS: u8 = 0x01;
    pub(super) const FROM_DS: u8 = 0x02;
    pub(super) const MORE_FRAGMENTS: u8 = 0x04;
    pub(super) const PROTECTED: u8 = 0x40;
    pub(super) const ORDER: u8 = 0x80;
}

/// The bit of the quality-of-service control field that says the body is several frames (9.2.4.5).
const AGGREGATE: u8 = 0x80;

/// Bytes of the header of each of those: two addresses and a length (9.3.2.2).
const SUBFRAME_HEADER: usize = 14;

impl<S: DecodeSink> Walk<'_, S> {
    /// A frame without its check sequence. `padded`: the header was filled up to four bytes.
    pub(super) fn wifi(&mut self, mut cursor: Cursor<'_>, padded: bool) -> Decoded {
        self.enter(LAYER)?;
        let &[kind, flags] = cursor.look(LAYER)?;
        if kind & 0x03 != 0 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        match (kind >> 2) & 0x03 {
            0 => return Ok(Class::link(LinkProtocol::WifiManagement)),
            1 => return Ok(Class::link(LinkProtocol::WifiControl)),
            2 => {}
            _ => return Err(stop(LAYER, Reason::BadHeader)),
        }
        let start = cursor.at();
        let &[.., sequence, _] = cursor.take::<24>(LAYER)?;
        if flags & (control::TO_DS | control::FROM_DS) == control::TO_DS | control::FROM_DS {
            // The fourth address.
            cursor.skip(6, LAYER)?;
        }
        let subtype = kind >> 4;
        let mut is_aggregate = false;
        if subtype & 0x08 != 0 {
            let &[qos, _] = cursor.take::<2>(LAYER)?;
            is_aggregate = qos & AGGREGATE != 0;
            if flags & control::ORDER != 0 {
                // HT control.
                cursor.skip(4, LAYER)?;
            }
        }
        if subtype & 0x04 != 0 {
            return Ok(Class::link(LinkProtocol::WifiNull));
        }
        if padded {
            let header = cursor.at() - start;
            cursor.skip(header.next_multiple_of(4) - header, LAYER)?;
        }
        if flags & control::PROTECTED != 0 {
            return Err(stop(LAYER, Reason::Encrypted));
        }
        // Fragment number, or more to come (9.2.4.4.2).
        if sequence & 0x0f != 0 || flags & control::MORE_FRAGMENTS != 0 {
            return Err(stop(LAYER, Reason::LinkFragment));
        }
        if is_aggregate {
            self.aggregate(cursor)
        } else {
            self.llc(cursor)
        }
    }

    /// Several frames in one (9.3.2.2): addresses, length, LLC; each but the last is filled up to
    /// four bytes. The frame counts as what its most telling part is.
    fn aggregate(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        self.sole = false;
        let (depth, outermost) = (self.depth, self.outermost);
        let tunnels = self.encapsulation.tunnels.len();
        let mut outcome = None;
        while cursor.len() > 0 {
            let part = cursor
                .take::<SUBFRAME_HEADER>(LAYER)
                .and_then(|&[.., l0, l1]| {
                    let length = usize::from(be16(l0, l1));
                    let mut body = cursor;
                    body.bound(length);
                    let padded = (SUBFRAME_HEADER + length).next_multiple_of(4) - SUBFRAME_HEADER;
                    cursor.skip(padded.min(cursor.len()), LAYER)?;
                    Ok(body)
                });
            (self.depth, self.outermost) = (depth, outermost);
            self.encapsulation.tunnels.truncate(tunnels);
            let this = part.and_then(|body| self.llc(body));
            outcome = Some(outcome.map_or(this, |so_far| more_telling(so_far, this)));
            if part.is_err() {
                break;
            }
        }
        outcome.unwrap_or(Err(stop(LAYER, Reason::Truncated)))
    }
}

/// TCP, left out or not, before fragments before other protocols before failures; the first among
/// equals.
fn more_telling(a: Decoded, b: Decoded) -> Decoded {
    let rank = |outcome: &Decoded| match outcome {
        Ok(Class::Tcp) => 4,
        Ok(Class::Filtered) => 3,
        Ok(Class::Fragment) => 2,
        Ok(Class::Other(_)) => 1,
        Err(_) => 0,
    };
    if rank(&b) > rank(&a) { b } else { a }
}
