//! CAPWAP data (RFC 5415, 4.3): frames between access points and their controller.

use super::cursor::{Cursor, be16};
use super::stats::Layer;
use super::udp::{Found, Inside};
use crate::model::Tunnel;

/// The binding for IEEE 802.11 (RFC 5415, 4.3, WBID).
const IEEE_802_11: u16 = 1;

/// Bits behind the length, radio and binding.
mod flag {
    /// The payload has the binding's own form, and is no IEEE 802.3 frame.
    pub(super) const NATIVE: u8 = 0x01;
    pub(super) const FRAGMENT: u8 = 0x80;
    /// Wireless information and a radio's address: both in the header, as its length says.
    pub(super) const KEEP_ALIVE: u8 = 0x08;
}

/// A data packet without DTLS.
pub(super) fn capwap(mut cursor: Cursor<'_>) -> Found<'_> {
    const LAYER: Layer = Layer::Capwap;
    let whole = cursor;
    let &[preamble, b1, b2, flags, ..] = cursor.take::<8>(LAYER).ok()?;
    let binding = (be16(b1, b2) >> 1) & 0x1f;
    // Version 0, and no DTLS. The length counts from the start, in 4-byte units.
    let header = usize::from(b1 >> 3) * 4;
    if preamble != 0 || header < 8 || flags & flag::KEEP_ALIVE != 0 {
        return None;
    }
    let mut inner = whole;
    inner.skip(header, LAYER).ok()?;
    let inside = if flags & flag::FRAGMENT != 0 {
        Inside::FragmentOf(LAYER)
    } else if b2 & flag::NATIVE == 0 {
        Inside::Ethernet
    } else if binding == IEEE_802_11 {
        Inside::Wifi
    } else {
        return None;
    };
    Some((Some(Tunnel::Capwap), inside, inner))
}
