//! TaZmen sniffer protocol: frames that a sensor or a router captured and sends on.

use super::cursor::{Cursor, be16};
use super::link;
use super::stats::Layer;
use super::udp::{Found, Inside};
use crate::model::Tunnel;

/// A captured frame. Its tags tell of radio, sensor and length, and are stepped over.
pub(super) fn tzsp(mut cursor: Cursor<'_>) -> Found<'_> {
    const LAYER: Layer = Layer::Udp;
    const PADDING: u8 = 0;
    const END: u8 = 1;
    let &[version, kind, e0, e1] = cursor.take(LAYER).ok()?;
    // Received, or to be sent; the others are of the sensor's own.
    if version != 1 || kind > 1 {
        return None;
    }
    loop {
        match cursor.take(LAYER).ok()? {
            [PADDING] => {}
            [END] => break,
            [_] => {
                let &[length] = cursor.take(LAYER).ok()?;
                cursor.skip(usize::from(length), LAYER).ok()?;
            }
        }
    }
    // Numbers like those of link types, but not in all.
    let inside = match be16(e0, e1) {
        1 => Inside::Ethernet,
        2 => Inside::Link(link::TOKEN_RING),
        4 => Inside::Link(link::PPP),
        5 => Inside::Link(link::FDDI),
        7 => Inside::Ip,
        18 => Inside::Wifi,
        119 => Inside::Link(link::PRISM),
        127 => Inside::Link(link::AVS),
        _ => return None,
    };
    Some((Some(Tunnel::Tzsp), inside, cursor))
}
