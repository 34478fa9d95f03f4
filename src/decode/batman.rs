//! B.A.T.M.A.N. advanced: Ethernet over a mesh (Linux, `batadv_packet.h`).

use super::DecodeSink;
use super::cursor::{Cursor, stop};
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;
use crate::model::Tunnel;

/// Bytes of the header in front of a frame for one node: kind, version, lifetime, number of the
/// translation table, destination.
const UNICAST: usize = 10;
/// The same with the originator, a subtype and a reserved byte.
const UNICAST_4ADDR: usize = 18;
/// Kind, version, lifetime, reserved, sequence number, originator.
const BROADCAST: usize = 14;

impl<S: DecodeSink> Walk<'_, S> {
    /// A packet of version 14 or 15, whose kinds have different numbers; those before 14 had other
    /// headers.
    pub(super) fn batman(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Batman;
        self.enter(LAYER)?;
        let &[kind, version] = cursor.look::<2>(LAYER)?;
        let header = match (version, kind) {
            (14, 3) | (15, 0x40) => UNICAST,
            (14, 9) | (15, 0x42) => UNICAST_4ADDR,
            (14, 4) | (15, 0x01) => BROADCAST,
            (15, 0x05) => {
                // To several nodes: kind, version, lifetime, reserved, length of what says which.
                let &[_, _, _, _, t0, t1] = cursor.look::<6>(LAYER)?;
                6 + usize::from(u16::from_be_bytes([t0, t1]))
            }
            (14, 6) | (15, 0x41) => return Err(stop(LAYER, Reason::LinkFragment)),
            // Two frames, one added to the other.
            (14, 10) | (15, 0x02) => return Err(stop(LAYER, Reason::Unsupported)),
            (14 | 15, _) => return Ok(Class::link(LinkProtocol::TunnelControl)),
            _ => return Err(stop(LAYER, Reason::BadVersion)),
        };
        cursor.skip(header, LAYER)?;
        self.tunnel(Tunnel::Batman);
        self.ethernet(cursor)
    }
}
