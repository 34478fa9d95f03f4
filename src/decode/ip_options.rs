//! Options of IPv4 and of the extension headers of IPv6.

use super::cursor::{Cursor, stop};
use super::stats::{Layer, Reason, Undecoded};

/// What the first option of this kind says, in an extension header that holds options (RFC 8200, 4.2).
/// Fails where one runs out of the header: no host takes such a packet.
pub(super) fn option6(mut cursor: Cursor<'_>, wanted: u8) -> Result<Option<&[u8]>, Undecoded> {
    const LAYER: Layer = Layer::IpExtension;
    let &[_, units] = cursor.take(LAYER)?;
    let mut options = cursor.slice(usize::from(units) * 8 + 6, LAYER)?;
    let mut found = None;
    loop {
        match *options {
            [] => return Ok(found),
            // Pad1 has no length.
            [0, ref rest @ ..] => options = rest,
            [kind, len, ref rest @ ..] if usize::from(len) <= rest.len() => {
                let (value, next) = rest.split_at(usize::from(len));
                if kind == wanted && found.is_none() {
                    found = Some(value);
                }
                options = next;
            }
            _ => return Err(stop(LAYER, Reason::BadOptions)),
        }
    }
}

/// Whether IPv4 options can be stepped through: each but the two that are one byte long says its length,
/// and none reaches out of the header. No host takes a packet in which one does (RFC 1122, 3.2.1.8; RFC
/// 1812, 4.2.2.1). A route or time stamps must have room for their pointer, which cannot lie before the
/// first entry (RFC 791, 3.1).
pub(super) fn are_well_formed(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const RECORD_ROUTE: u8 = 7;
    const TIMESTAMPS: u8 = 68;
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    loop {
        match *options {
            [] | [END, ..] => return true,
            [NOP, ref rest @ ..] => options = rest,
            [kind, len, ..] if len >= 2 && usize::from(len) <= options.len() => {
                let least_pointer = match kind {
                    RECORD_ROUTE | LOOSE | STRICT => 4,
                    TIMESTAMPS => 5,
                    _ => 0,
                };
                let pointer = options.get(2).filter(|_| len >= 3).copied().unwrap_or(0);
                if pointer < least_pointer {
                    return false;
                }
                options = options.get(usize::from(len)..).unwrap_or_default();
            }
            _ => return false,
        }
    }
}

/// Whether IPv4 options hold a source route with stops left: until its end the packet is addressed
/// to the next of them (RFC 791, 3.1).
pub(super) fn has_stops_left(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    loop {
        match *options {
            [NOP, ref rest @ ..] => options = rest,
            // The pointer is behind the route once all stops are passed.
            [LOOSE | STRICT, len, pointer, ..] => return pointer <= len,
            [kind, len, ..] if kind != END && len >= 2 => {
                options = options.get(usize::from(len)..).unwrap_or_default();
            }
            _ => return false,
        }
    }
}
