//! What Juniper's routers put in front of the packets that they capture: a magic number, flags and
//! extensions, then a link header of the interface's kind, or only what it would carry.

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ethernet::looks_like_ethernet;
use super::ip::looks_like_ip;
use super::link;
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;

const LAYER: Layer = Layer::Juniper;

/// Bits of the byte behind the magic number.
mod flag {
    /// The frame has lost its link header; four bytes of protocol stand there.
    pub(super) const NO_LINK_HEADER: u8 = 0x02;
    pub(super) const EXTENSIONS: u8 = 0x80;
}

impl<S: DecodeSink> Walk<'_, S> {
    /// A frame of any of Juniper's link types.
    pub(super) fn juniper(&mut self, link: u16, mut cursor: Cursor<'_>) -> Decoded {
        self.enter(LAYER)?;
        let &[m0, m1, m2, flags] = cursor.take::<4>(LAYER)?;
        if [m0, m1, m2] != *b"MGC" {
            return Err(stop(LAYER, Reason::BadHeader));
        }
        if flags & flag::EXTENSIONS != 0 {
            let &[l0, l1] = cursor.take(LAYER)?;
            cursor.skip(usize::from(be16(l0, l1)), LAYER)?;
        }
        if flags & flag::NO_LINK_HEADER != 0 {
            let protocol = u32::from_le_bytes(*cursor.take(LAYER)?);
            return self.juniper_protocol(protocol, cursor);
        }
        match link {
            // PPPoE is Ethernet with a type like others.
            link::JUNIPER_ETHERNET | link::JUNIPER_PPPOE => self.ethernet(cursor),
            link::JUNIPER_PPP => self.ppp(cursor),
            link::JUNIPER_CHDLC => self.cisco_hdlc(cursor),
            link::JUNIPER_FRELAY => self.frame_relay(cursor),
            link::JUNIPER_PPPOE_ATM => self.then_ethertype(cursor),
            link::JUNIPER_GGSN => {
                // Protocol and VLAN, in the router's byte order.
                let &[p0, p1, _, _] = cursor.take::<4>(LAYER)?;
                self.juniper_protocol(u32::from(u16::from_le_bytes([p0, p1])), cursor)
            }
            link::JUNIPER_ATM1 => self.behind_cookie(&[4], cursor),
            link::JUNIPER_ATM2 | link::JUNIPER_MONITOR => self.behind_cookie(&[8], cursor),
            link::JUNIPER_VP => self.behind_cookie(&[18], cursor),
            // Shorter where the packet leaves.
            link::JUNIPER_SERVICES => self.behind_cookie(&[8, 12, 16], cursor),
            // Bundles of links: the cookie's first byte tells its length.
            _ => match cursor.peek() {
                Some([0x54]) => self.behind_cookie(&[4], cursor),
                Some([0x40 | 0x47]) => self.behind_cookie(&[8], cursor),
                _ => self.behind_cookie(&[0, 2], cursor),
            },
        }
    }

    /// A protocol by Juniper's own number.
    fn juniper_protocol(&mut self, protocol: u32, cursor: Cursor<'_>) -> Decoded {
        match protocol {
            // Alone, and what was or is to be inside MPLS.
            2 | 3 => self.ipv4(cursor),
            6 | 7 => self.ipv6(cursor),
            4 | 5 | 8 | 32 => self.mpls(cursor),
            200 => self.ppp(cursor),
            202 | 203 => self.llc(cursor),
            204 => self.ethernet(cursor),
            207 => self.frame_relay(cursor),
            208 => self.cisco_hdlc(cursor),
            _ if looks_like_ip(cursor) => self.ip(cursor),
            _ => Ok(Class::link(LinkProtocol::Iso)),
        }
    }

    /// What stands behind a cookie of one of these lengths. Nothing names it: it is told by how it
    /// begins.
    fn behind_cookie(&mut self, lengths: &[usize], cursor: Cursor<'_>) -> Decoded {
        for &length in lengths {
            let mut inner = cursor;
            inner.skip(length, LAYER)?;
            if looks_like_ip(inner) {
                return self.ip(inner);
            }
            match inner.peek() {
                Some([0xaa, 0xaa, 0x03] | [0xfe, 0xfe, 0x03]) => return self.llc(inner),
                // Address and control, or at once PPP's numbers for IPv4, ISO, IPv6 and MPLS, and its
                // control protocols.
                Some(
                    [0xff, 0x03, _]
                    | [0x00, 0x21 | 0x23 | 0x3d | 0x57, _]
                    | [0x02, 0x81 | 0x83, _]
                    | [0x80, 0x21 | 0x23 | 0x57, _]
                    | [0xc0, 0x21 | 0x23, _]
                    | [0x82, 0x81, _]
                    | [0xc2, 0x23, _],
                ) => return self.ppp(inner),
                Some([0x03, _, _]) => return self.multiprotocol(inner),
                _ => {}
            }
            if looks_like_ethernet(inner) {
                return self.ethernet(inner);
            }
        }
        Err(stop(LAYER, Reason::Unsupported))
    }
}
