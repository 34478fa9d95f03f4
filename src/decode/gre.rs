//! GRE (RFC 2784, RFC 2890, RFC 2637) and ERSPAN in it.

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ethernet::ethertype;
use super::ip::protocol;
use super::stats::{Class, Decoded, Layer, LinkProtocol, Other, Reason};
use super::walk::Walk;
use crate::model::Tunnel;

/// Bits of the first two bytes (RFC 2784, 2.1; RFC 2890, 2; RFC 1701; RFC 2637, 4.1).
mod flag {
    pub(super) const CHECKSUM: u16 = 0x8000;
    pub(super) const ROUTING: u16 = 0x4000;
    pub(super) const KEY: u16 = 0x2000;
    pub(super) const SEQUENCE: u16 = 0x1000;
    pub(super) const ACKNOWLEDGEMENT: u16 = 0x0080;
    pub(super) const VERSION: u16 = 0x0007;
}

/// Types that only GRE uses.
mod payload {
    pub(super) const ERSPAN: u16 = 0x88be;
    pub(super) const ERSPAN_III: u16 = 0x22eb;
    pub(super) const WCCP: u16 = 0x883e;
    /// MikroTik's Ethernet over IP, in version 1.
    pub(super) const EOIP: u16 = 0x6400;
    /// Aruba's access points: 802.11 frames, one type per priority.
    pub(super) const ARUBA: std::ops::RangeInclusive<u16> = 0x8200..=0x837f;
}

impl<S: DecodeSink> Walk<'_, S> {
    /// GRE of either version.
    pub(super) fn gre(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Gre;
        self.enter(LAYER)?;
        self.outermost = false;
        let &[f0, f1, p0, p1] = cursor.take::<4>(LAYER)?;
        let (flags, protocol) = (be16(f0, f1), be16(p0, p1));
        match flags & flag::VERSION {
            0 => {}
            1 if protocol == payload::EOIP => return self.eoip(cursor),
            1 => return self.pptp(flags, cursor),
            _ => return Err(stop(LAYER, Reason::BadVersion)),
        }
        if flags & (flag::CHECKSUM | flag::ROUTING) != 0 {
            cursor.skip(4, LAYER)?;
        }
        let mut key = None;
        if flags & flag::KEY != 0 {
            key = Some(u32::from_be_bytes(*cursor.take(LAYER)?));
        }
        if flags & flag::SEQUENCE != 0 {
            cursor.skip(4, LAYER)?;
        }
        if flags & flag::ROUTING != 0 {
            loop {
                // Source route entries end with one of length 0 (RFC 1701).
                let &[f0, f1, _, length] = cursor.take::<4>(LAYER)?;
                cursor.skip(usize::from(length), LAYER)?;
                if length == 0 && f0 == 0 && f1 == 0 {
                    break;
                }
            }
        }
        match protocol {
            // Type I has no header and no sequence number, type II has both.
            payload::ERSPAN if flags & flag::SEQUENCE == 0 => {
                self.tunnel(Tunnel::Erspan(0));
                self.ethernet(cursor)
            }
            payload::ERSPAN => self.erspan_ii(cursor),
            payload::ERSPAN_III => self.erspan_iii(cursor),
            _ => {
                let key = key.filter(|_| self.config.track.tunnel);
                self.tunnel(Tunnel::Gre(key.map(|key| network_of(key, protocol))));
                self.gre_payload(protocol, cursor)
            }
        }
    }

    /// What a GRE header's type names.
    pub(super) fn gre_payload(&mut self, protocol: u16, mut cursor: Cursor<'_>) -> Decoded {
        match protocol {
            ethertype::PPP => self.ppp(cursor),
            // A keep-alive.
            0 => Ok(Class::link(LinkProtocol::TunnelControl)),
            payload::WCCP => {
                // Version 2 puts four bytes in front, which never look like IPv4's first.
                if !matches!(cursor.peek(), Some([first]) if first >> 4 == 4) {
                    cursor.skip(4, Layer::Gre)?;
                }
                self.ipv4(cursor)
            }
            aruba if payload::ARUBA.contains(&aruba) => self.wifi(cursor, false),
            ethertype => match self.ethertype(ethertype, cursor)? {
                Class::Other(Other::Link(LinkProtocol::OtherEthertype)) => {
                    Ok(Class::ip(protocol::GRE))
                }
                class => Ok(class),
            },
        }
    }

    /// PPTP's enhanced GRE (RFC 2637, 4.1): PPP, or an acknowledgement alone.
    fn pptp(&mut self, flags: u16, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Gre;
        let &[len0, len1, _, _] = cursor.take::<4>(LAYER)?;
        if flags & flag::SEQUENCE != 0 {
            cursor.skip(4, LAYER)?;
        }
        if flags & flag::ACKNOWLEDGEMENT != 0 {
            cursor.skip(4, LAYER)?;
        }
        let length = usize::from(be16(len0, len1));
        if length == 0 {
            return Ok(Class::link(LinkProtocol::TunnelControl));
        }
        cursor.bound(length);
        // The call id in place of the key is another one in each direction.
        self.tunnel(Tunnel::Gre(None));
        self.ppp(cursor)
    }

    /// MikroTik's Ethernet over IP: the frame's length, and a tunnel's number in little-endian order, both
    /// in place of the key. No length is a keep-alive.
    fn eoip(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[len0, len1, id0, id1] = cursor.take::<4>(Layer::Gre)?;
        let length = usize::from(be16(len0, len1));
        if length == 0 {
            return Ok(Class::link(LinkProtocol::TunnelControl));
        }
        cursor.bound(length);
        self.tunnel(Tunnel::Eoip(u16::from_le_bytes([id0, id1])));
        self.ethernet(cursor)
    }

    /// ERSPAN type II (draft-foschiano-erspan, 4.2).
    fn erspan_ii(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Erspan;
        let &[version, _, id0, id1, ..] = cursor.take::<8>(LAYER)?;
        if version >> 4 != 1 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        self.tunnel(Tunnel::Erspan(be16(id0, id1) & 0x03ff));
        self.ethernet(cursor)
    }

    /// ERSPAN type III (draft-foschiano-erspan, 4.3).
    fn erspan_iii(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Erspan;
        let &[version, _, id0, id1, _, _, _, _, _, _, kind, options] = cursor.take::<12>(LAYER)?;
        if version >> 4 != 2 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        if options & 1 != 0 {
            // A sub-header that depends on the platform.
            cursor.skip(8, LAYER)?;
        }
        self.tunnel(Tunnel::Erspan(be16(id0, id1) & 0x03ff));
        match (kind >> 2) & 0x1f {
            0 => self.ethernet(cursor),
            2 => self.ip(cursor),
            _ => Err(stop(LAYER, Reason::Unsupported)),
        }
    }
}

/// The part of a key that names a network. NVGRE (RFC 7637, 3.2) has a network in the upper 24 bits
/// and below them a mark of the inner flow, which each end chooses; networks up to 0xfff are
/// reserved there, so a key that small is an ordinary one.
const fn network_of(key: u32, protocol: u16) -> u32 {
    if protocol == ethertype::TRANSPARENT_ETHERNET && key > 0x000f_ffff {
        key & !0xff
    } else {
        key
    }
}
