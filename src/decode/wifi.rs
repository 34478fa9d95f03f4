//! IEEE 802.11.

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ethernet::{LEAST_ETHERTYPE, looks_like_type};
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason, Undecoded};
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

/// The bit of that field's second byte that says the body begins with mesh control (9.2.4.5.8). Outside
/// meshes it has other meanings.
const MESH: u8 = 0x01;

/// Bytes of the header of each of those: two addresses and a length (9.3.2.2).
const SUBFRAME_HEADER: usize = 14;

impl<S: DecodeSink> Walk<'_, S> {
    /// A frame without its check sequence. `padded`: the header was filled up to four bytes.
    pub(super) fn wifi(&mut self, cursor: Cursor<'_>, padded: bool) -> Decoded {
        let &control = cursor.look(LAYER)?;
        self.wifi_frame(control, cursor, padded)
    }

    /// A frame as a controller of access points gets it. Some of these send the two bytes of the frame
    /// control field in the other order.
    pub(super) fn wifi_from_controller(&mut self, cursor: Cursor<'_>) -> Decoded {
        let control = control_of(cursor).ok_or_else(|| cursor.short(LAYER))?;
        self.wifi_frame(control, cursor, false)
    }

    fn wifi_frame(
        &mut self,
        [kind, flags]: [u8; 2],
        mut cursor: Cursor<'_>,
        padded: bool,
    ) -> Decoded {
        self.enter(LAYER)?;
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
        let (mut is_aggregate, mut mesh) = (false, false);
        if subtype & 0x08 != 0 {
            let &[qos, more] = cursor.take::<2>(LAYER)?;
            is_aggregate = qos & AGGREGATE != 0;
            mesh = more & MESH != 0;
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
            self.aggregate(mesh, cursor)
        } else {
            self.wifi_body(mesh, cursor)
        }
    }

    /// What a frame or a part of it carries: LLC, or an Ethernet type at once where the stations agreed
    /// on that (EPD, IEEE 802.11, 5.1.4), of which no frame tells. `mesh`: the header says that mesh
    /// control may stand in front.
    fn wifi_body(&mut self, mesh: bool, mut cursor: Cursor<'_>) -> Decoded {
        if mesh {
            skip_mesh_control(&mut cursor)?;
        }
        let mut behind = cursor;
        if let Ok(&[t0, t1]) = behind.take(LAYER)
            && be16(t0, t1) >= LEAST_ETHERTYPE
            && looks_like_type(be16(t0, t1), behind)
        {
            return self.ethertype(be16(t0, t1), behind);
        }
        self.llc(cursor)
    }

    /// Several frames in one (9.3.2.2): addresses, length, LLC; each but the last is filled up to
    /// four bytes. The frame counts as what its most telling part is.
    fn aggregate(&mut self, mesh: bool, mut cursor: Cursor<'_>) -> Decoded {
        self.sole = false;
        let (depth, outermost, ends_at) = (self.depth, self.outermost, self.ends_at);
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
            (self.depth, self.outermost, self.ends_at) = (depth, outermost, ends_at);
            self.encapsulation.tunnels.truncate(tunnels);
            let this = part.and_then(|body| self.wifi_body(mesh, body));
            outcome = Some(outcome.map_or(this, |so_far| more_telling(so_far, this)));
            if part.is_err() {
                break;
            }
        }
        outcome.unwrap_or(Err(stop(LAYER, Reason::Truncated)))
    }
}

/// Moves past mesh control (9.2.4.7.3), if it stands here: flags, lifetime, sequence number, and up to two
/// more addresses. No LLC header and no Ethernet type begins like its flags, of which six are reserved.
fn skip_mesh_control(cursor: &mut Cursor<'_>) -> Result<(), Undecoded> {
    let &[flags] = cursor.look(LAYER)?;
    match flags {
        0..=2 => cursor.skip(6 + 6 * usize::from(flags), LAYER),
        _ => Ok(()),
    }
}

/// The frame control field in its own order. The lowest two bits of its first byte are zero, and those of
/// its second say which way a data frame goes; in a data frame through an access point one is set.
fn control_of(cursor: Cursor<'_>) -> Option<[u8; 2]> {
    match *cursor.peek::<2>()? {
        [flags, kind] if kind.trailing_zeros() >= 2 && flags.trailing_zeros() < 2 => {
            Some([kind, flags])
        }
        control => Some(control),
    }
}

/// Whether this looks like a data frame.
pub(super) fn looks_like_wifi(cursor: Cursor<'_>) -> bool {
    matches!(control_of(cursor), Some([kind, _]) if kind & 0x0f == 0x08)
        && cursor.peek::<24>().is_some()
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
