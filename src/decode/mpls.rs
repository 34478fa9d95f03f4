//! MPLS label stacks (RFC 3032) and Ethernet pseudowires (RFC 4448).

use super::DecodeSink;
use super::cursor::{Cursor, stop};
use super::ethernet::looks_like_ethernet;
use super::ip::{looks_like_ip, looks_like_whole_ip};
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;

/// How many labels are followed.
const MAX_LABELS: u8 = 32;

impl<S: DecodeSink> Walk<'_, S> {
    /// A label stack and what it carries. Nothing in MPLS names the payload: it is told by its
    /// first four bits, as routers do (RFC 4928), and by its own header where those could also
    /// begin a MAC address.
    pub(super) fn mpls(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Mpls;
        self.enter(LAYER)?;
        self.outermost = false;
        let mut labels = 0;
        loop {
            let &[_, _, bottom, _] = cursor.take::<4>(LAYER)?;
            if bottom & 1 != 0 {
                break;
            }
            labels += 1;
            if labels == MAX_LABELS {
                return Err(stop(LAYER, Reason::TooDeep));
            }
        }
        let &[first] = cursor.look(LAYER)?;
        // Here a length beyond what is there does tell; one of 0, which offload leaves elsewhere, nothing.
        let is_ip = looks_like_whole_ip(cursor) && !matches!(cursor.peek(), Some([_, _, 0, 0]));
        match first >> 4 {
            4 | 6 if is_ip || !looks_like_ethernet(cursor) => self.ip(cursor),
            // A control word (RFC 4385, 3), unless the MAC address begins with zeros.
            0 => {
                let mut behind = cursor;
                if behind.skip(4, LAYER).is_ok() && looks_like_ethernet(behind) {
                    return self.ethernet(behind);
                }
                if looks_like_ethernet(cursor) {
                    return self.ethernet(cursor);
                }
                Ok(Class::link(LinkProtocol::MplsOther))
            }
            _ if looks_like_ethernet(cursor) => self.ethernet(cursor),
            _ => Ok(Class::link(LinkProtocol::MplsOther)),
        }
    }
}

/// Whether this looks like a label stack that ends. What it carries is told from how that begins, so
/// only IP can look wrong.
pub(super) fn looks_like_mpls(mut cursor: Cursor<'_>) -> bool {
    for _ in 0..MAX_LABELS {
        match cursor.take(Layer::Mpls) {
            Ok(&[_, _, bottom, _]) if bottom & 1 == 0 => {}
            Ok(_) => {
                return looks_like_ip(cursor)
                    || looks_like_ethernet(cursor)
                    || matches!(cursor.peek(), Some([first]) if first >> 4 <= 1);
            }
            Err(_) => return false,
        }
    }
    false
}
