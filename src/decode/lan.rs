//! Links of the time before Ethernet was everywhere, and those of data centres.

use super::DecodeSink;
use super::cursor::{Cursor, be16, be24, stop};
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;

const LAYER: Layer = Layer::Link;

impl<S: DecodeSink> Walk<'_, S> {
    /// FDDI: frame control and two addresses, then LLC.
    pub(super) fn fddi(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[control, ..] = cursor.take::<13>(LAYER)?;
        // Asynchronous LLC frames, of any priority.
        if control & 0xf0 == 0x50 {
            self.llc(cursor)
        } else {
            Ok(Class::link(LinkProtocol::Llc))
        }
    }

    /// IEEE 802.5: access and frame control, two addresses, maybe a route.
    pub(super) fn token_ring(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[_, control, _, _, _, _, _, _, source, ..] = cursor.take::<14>(LAYER)?;
        // The bit that is "group" in a destination means "route follows" in a source.
        if source & 0x80 != 0 {
            let &[route] = cursor.look(LAYER)?;
            cursor.skip(usize::from(route & 0x1f), LAYER)?;
        }
        // The others are the ring's own.
        if control & 0xc0 == 0x40 {
            self.llc(cursor)
        } else {
            Ok(Class::link(LinkProtocol::Llc))
        }
    }

    /// ARCNET: addresses (Linux puts two more bytes behind them) and a system code.
    pub(super) fn arcnet(&mut self, mut cursor: Cursor<'_>, header: usize) -> Decoded {
        let &[.., code] = cursor.slice(header, LAYER)? else {
            return Err(stop(LAYER, Reason::Truncated));
        };
        let protocol = match code {
            // RFC 1051: nothing more.
            240 => return self.ipv4(cursor),
            // RFC 1201: a split flag and a sequence number.
            212 | 196 => {
                let &[mut split, _, _] = cursor.take::<3>(LAYER)?;
                if split == 0xff {
                    // An exception packet: the real ones follow.
                    let &[real, _, _] = cursor.take::<3>(LAYER)?;
                    split = real;
                }
                if split != 0 {
                    return Err(stop(LAYER, Reason::LinkFragment));
                }
                return self.ip(cursor);
            }
            // Address resolution of both, and the reverse of the latter.
            241 | 213 | 214 => LinkProtocol::Arp,
            _ => LinkProtocol::OtherEthertype,
        };
        Ok(Class::link(protocol))
    }

    /// Sun's ATM devices: kind of traffic, virtual path and channel.
    pub(super) fn sunatm(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[kind, ..] = cursor.take::<4>(LAYER)?;
        match kind & 0x0f {
            // LAN emulation: an identifier of two bytes, then Ethernet.
            1 => {
                cursor.skip(2, LAYER)?;
                self.ethernet(cursor)
            }
            2 => self.llc(cursor),
            _ => Ok(Class::link(LinkProtocol::OtherEthertype)),
        }
    }

    /// Frame Relay (RFC 2427).
    pub(super) fn frame_relay(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        // Two to four bytes of address; the last has its lowest bit set (Q.922, 3.3).
        let mut length = 0;
        loop {
            let &[byte] = cursor.take(LAYER)?;
            length += 1;
            if byte & 1 == 1 {
                break;
            }
            if length == 4 {
                return Err(stop(LAYER, Reason::BadHeader));
            }
        }
        if let Some([0x03, _]) = cursor.peek() {
            self.multiprotocol(cursor)
        } else {
            // Cisco's own encapsulation: an Ethernet type.
            self.then_ethertype(cursor)
        }
    }

    /// Unnumbered information, then a network layer protocol's identifier (RFC 2427, 4).
    pub(super) fn multiprotocol(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        cursor.skip(1, LAYER)?;
        if let Some([0]) = cursor.peek() {
            // Padding to an even boundary.
            cursor.skip(1, LAYER)?;
        }
        match cursor.take(LAYER)? {
            [0xcc] => self.ipv4(cursor),
            [0x8e] => self.ipv6(cursor),
            [0x80] => {
                let &[o0, o1, o2, p0, p1] = cursor.take::<5>(LAYER)?;
                self.snap(be24(o0, o1, o2), be16(p0, p1), cursor)
            }
            _ => Ok(Class::link(LinkProtocol::Iso)),
        }
    }

    /// IP over InfiniBand as captured there: a global route header of 40 bytes, whose contents
    /// need not be valid, then an Ethernet type and two reserved bytes (RFC 4391, 6).
    pub(super) fn ipoib(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        cursor.skip(40, LAYER)?;
        let &[t0, t1, _, _] = cursor.take::<4>(LAYER)?;
        self.ethertype(be16(t0, t1), cursor)
    }
}
