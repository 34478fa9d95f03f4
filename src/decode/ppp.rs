//! PPP (RFC 1661, RFC 1662), PPP over Ethernet (RFC 2516) and Cisco HDLC.

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;

const LAYER: Layer = Layer::Ppp;

/// PPP protocol numbers (IANA, Point-to-Point Protocol Field Assignments).
mod protocol {
    pub(super) const IPV4: u16 = 0x0021;
    /// Van Jacobson's compressed TCP, and the uncompressed packets between (RFC 1144).
    pub(super) const VJ_COMPRESSED: u16 = 0x002d;
    pub(super) const VJ_UNCOMPRESSED: u16 = 0x002f;
    pub(super) const BRIDGING: u16 = 0x0031;
    pub(super) const MULTILINK: u16 = 0x003d;
    pub(super) const ENCRYPTED: u16 = 0x0053;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const COMPRESSED: u16 = 0x00fd;
    pub(super) const MPLS: u16 = 0x0281;
    pub(super) const MPLS_MULTICAST: u16 = 0x0283;
    /// Network control and link layer protocols begin here (RFC 1661, 2).
    pub(super) const CONTROL: u16 = 0x8000;
}

impl<S: DecodeSink> Walk<'_, S> {
    /// PPP on a serial line, or Cisco HDLC there: the address tells which (`LINKTYPE_PPP_HDLC`).
    pub(super) fn ppp_serial(&mut self, cursor: Cursor<'_>) -> Decoded {
        match cursor.peek() {
            // Unicast and broadcast.
            Some([0x0f | 0x8f, _]) => self.cisco_hdlc(cursor),
            _ => self.ppp(cursor),
        }
    }

    /// PPP, with or without address and control (RFC 1662, 3.1; RFC 1661, 6.6 lets peers leave
    /// them out).
    pub(super) fn ppp(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        self.enter(LAYER)?;
        if let Some([0xff, 0x03]) = cursor.peek() {
            cursor.skip(2, LAYER)?;
        }
        // Numbers below 256 may be sent as one byte, which is odd then (RFC 1661, 6.5).
        let &[first] = cursor.take(LAYER)?;
        let number = if first & 1 == 1 {
            u16::from(first)
        } else {
            let &[second] = cursor.take(LAYER)?;
            be16(first, second)
        };
        match number {
            protocol::IPV4 => self.ipv4(cursor),
            protocol::IPV6 => self.ipv6(cursor),
            protocol::MPLS | protocol::MPLS_MULTICAST => self.mpls(cursor),
            protocol::BRIDGING => {
                // Flags, then the MAC type: 1 is Ethernet (RFC 3518, 4.2).
                match cursor.take(LAYER)? {
                    [_, 1] => self.ethernet(cursor),
                    _ => Ok(Class::link(LinkProtocol::PppOther)),
                }
            }
            protocol::MULTILINK => {
                // Beginning and end in one: a whole packet (RFC 1990, 3). Long sequence numbers.
                match cursor.take(LAYER)? {
                    [0xc0, _, _, _] => self.ppp(cursor),
                    _ => Err(stop(LAYER, Reason::LinkFragment)),
                }
            }
            protocol::ENCRYPTED => Err(stop(LAYER, Reason::Encrypted)),
            protocol::VJ_COMPRESSED | protocol::VJ_UNCOMPRESSED | protocol::COMPRESSED => {
                Err(stop(LAYER, Reason::Unsupported))
            }
            control if control >= protocol::CONTROL => Ok(Class::link(LinkProtocol::PppControl)),
            _ => Ok(Class::link(LinkProtocol::PppOther)),
        }
    }

    /// The session stage of PPP over Ethernet (RFC 2516, 4).
    pub(super) fn pppoe(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Pppoe;
        let &[version, code, _, _, len0, len1] = cursor.take::<6>(LAYER)?;
        if version != 0x11 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        if code != 0 {
            return Ok(Class::link(LinkProtocol::PppoeDiscovery));
        }
        let length = usize::from(be16(len0, len1));
        // Zero under segmentation offload.
        if length > 0 {
            self.bound_link(&mut cursor, length);
        }
        self.ppp(cursor)
    }

    /// Address, control, and an Ethernet type (`LINKTYPE_C_HDLC`).
    pub(super) fn cisco_hdlc(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        self.enter(LAYER)?;
        let &[_, _, t0, t1] = cursor.take::<4>(LAYER)?;
        match be16(t0, t1) {
            // Cisco's discovery protocol, and its address resolution and keep-alive, whose number
            // is another protocol's in Ethernet.
            0x2000 | 0x8035 => Ok(Class::link(LinkProtocol::Cdp)),
            0xfefe => Ok(Class::link(LinkProtocol::Iso)),
            ethertype => self.ethertype(ethertype, cursor),
        }
    }
}
