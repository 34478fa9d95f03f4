//! Ethernet, the tags between its addresses and its type, LLC and SNAP.

use super::DecodeSink;
use super::cursor::{Cursor, be16, be24, stop};
use super::ip::looks_like_ip;
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason, Undecoded};
use super::walk::Walk;
use crate::model::Tunnel;

/// Ethernet types (IANA, IEEE 802 Numbers).
pub(super) mod ethertype {
    pub(in crate::decode) const IPV4: u16 = 0x0800;
    pub(in crate::decode) const ARP: u16 = 0x0806;
    pub(in crate::decode) const TRILL: u16 = 0x22f3;
    pub(in crate::decode) const TRANSPARENT_ETHERNET: u16 = 0x6558;
    pub(in crate::decode) const RARP: u16 = 0x8035;
    pub(in crate::decode) const VLAN: u16 = 0x8100;
    pub(in crate::decode) const IPX: u16 = 0x8137;
    pub(in crate::decode) const IPV6: u16 = 0x86dd;
    pub(in crate::decode) const SLOW: u16 = 0x8809;
    pub(in crate::decode) const PPP: u16 = 0x880b;
    pub(in crate::decode) const MPLS: u16 = 0x8847;
    pub(in crate::decode) const MPLS_MULTICAST: u16 = 0x8848;
    pub(in crate::decode) const PPPOE_DISCOVERY: u16 = 0x8863;
    pub(in crate::decode) const PPPOE_SESSION: u16 = 0x8864;
    pub(in crate::decode) const EAPOL: u16 = 0x888e;
    pub(in crate::decode) const SERVICE_VLAN: u16 = 0x88a8;
    pub(in crate::decode) const LLDP: u16 = 0x88cc;
    pub(in crate::decode) const MACSEC: u16 = 0x88e5;
    pub(in crate::decode) const PBB: u16 = 0x88e7;
    pub(in crate::decode) const PTP: u16 = 0x88f7;
    pub(in crate::decode) const FABRICPATH: u16 = 0x8903;
    pub(in crate::decode) const CISCO_METADATA: u16 = 0x8909;
    pub(in crate::decode) const VN_TAG: u16 = 0x8926;
    pub(in crate::decode) const HSR: u16 = 0x892f;
    pub(in crate::decode) const NSH: u16 = 0x894f;
    /// QinQ types from before IEEE 802.1ad gave one.
    pub(in crate::decode) const OLD_QINQ: [u16; 3] = [0x9100, 0x9200, 0x9300];
}

/// Types below this are lengths of an LLC frame (IEEE 802.3, 3.2.6).
const LEAST_ETHERTYPE: u16 = 0x0600;
/// How many tags are followed. The standard knows three.
const MAX_TAGS: u8 = 16;

impl<S: DecodeSink> Walk<'_, S> {
    /// Ethernet II, or IEEE 802.3 with LLC.
    #[inline]
    pub(super) fn ethernet(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        self.enter(Layer::Ethernet)?;
        let &[.., t0, t1] = cursor.take::<14>(Layer::Ethernet)?;
        let ethertype = be16(t0, t1);
        if ethertype == ethertype::IPV4 {
            return self.ipv4(cursor);
        }
        self.ethertype_or_length(ethertype, cursor)
    }

    /// What follows the two bytes that are a type or a length.
    pub(super) fn ethertype_or_length(&mut self, field: u16, mut cursor: Cursor<'_>) -> Decoded {
        if field >= LEAST_ETHERTYPE {
            return self.ethertype(field, cursor);
        }
        if field > 0 {
            cursor.bound(usize::from(field));
        }
        self.llc(cursor)
    }

    /// What follows an Ethernet type, tags first.
    pub(super) fn ethertype(&mut self, mut ethertype: u16, mut cursor: Cursor<'_>) -> Decoded {
        for _ in 0..MAX_TAGS {
            match ethertype {
                ethertype::VLAN | ethertype::SERVICE_VLAN => {}
                other if ethertype::OLD_QINQ.contains(&other) => {}
                ethertype::VN_TAG | ethertype::CISCO_METADATA | ethertype::HSR => {
                    ethertype = skip_tag(ethertype, &mut cursor)?;
                    continue;
                }
                _ => return self.untagged(ethertype, cursor),
            }
            let &[tci0, tci1, t0, t1] = cursor.take::<4>(Layer::Vlan)?;
            self.vlan_tag(be16(tci0, tci1));
            ethertype = be16(t0, t1);
            if ethertype < LEAST_ETHERTYPE {
                return self.ethertype_or_length(ethertype, cursor);
            }
        }
        Err(stop(Layer::Vlan, Reason::TooDeep))
    }

    /// Records a VLAN tag if it is the first or second of the outermost Ethernet header.
    pub(super) fn vlan_tag(&mut self, tci: u16) {
        if !self.outermost {
            return;
        }
        let id = Some(tci & 0x0fff);
        if self.encapsulation.vlan.is_none() {
            self.encapsulation.vlan = id;
        } else if self.encapsulation.inner_vlan.is_none() {
            self.encapsulation.inner_vlan = id;
        }
    }

    fn untagged(&mut self, ethertype: u16, mut cursor: Cursor<'_>) -> Decoded {
        let protocol = match ethertype {
            ethertype::IPV4 => return self.ipv4(cursor),
            ethertype::IPV6 => return self.ipv6(cursor),
            ethertype::MPLS | ethertype::MPLS_MULTICAST => return self.mpls(cursor),
            ethertype::PPPOE_SESSION => return self.pppoe(cursor),
            ethertype::PPP => return self.ppp(cursor),
            ethertype::TRANSPARENT_ETHERNET => return self.ethernet(cursor),
            ethertype::PBB => {
                // Flags, then 24 bits of service identifier (IEEE 802.1Q, 9.7).
                let &[_, a, b, c] = cursor.take::<4>(Layer::Pbb)?;
                self.tunnel(Tunnel::Pbb(be24(a, b, c)));
                return self.ethernet(cursor);
            }
            ethertype::FABRICPATH => {
                // Forwarding tag and hop count.
                cursor.skip(2, Layer::FabricPath)?;
                self.tunnel(Tunnel::FabricPath);
                return self.ethernet(cursor);
            }
            ethertype::TRILL => {
                // Two of the first two bytes' bits after version, reserved and multicast: five
                // bits of option length in 4-byte units; then two nicknames (RFC 6325, 3).
                let &[a, b, ..] = cursor.take::<6>(Layer::FabricPath)?;
                let options = usize::from((be16(a, b) >> 6) & 0x1f) * 4;
                cursor.skip(options, Layer::FabricPath)?;
                self.outermost = false;
                return self.ethernet(cursor);
            }
            ethertype::MACSEC => return self.macsec(cursor),
            ethertype::NSH => return self.nsh(cursor),
            ethertype::ARP | ethertype::RARP => LinkProtocol::Arp,
            ethertype::IPX => LinkProtocol::Ipx,
            ethertype::SLOW => LinkProtocol::Slow,
            ethertype::PPPOE_DISCOVERY => LinkProtocol::PppoeDiscovery,
            ethertype::EAPOL => LinkProtocol::Eapol,
            ethertype::LLDP => LinkProtocol::Lldp,
            ethertype::PTP => LinkProtocol::Ptp,
            _ => LinkProtocol::OtherEthertype,
        };
        Ok(Class::link(protocol))
    }

    /// IEEE 802.1AE (9.3): readable where it only authenticates.
    fn macsec(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Macsec;
        /// The tag holds a secure channel identifier of 8 bytes.
        const SCI: u8 = 0x20;
        /// Encrypted, and changed text.
        const SECRET: u8 = 0x0c;
        /// Bytes of integrity check value at the end, with the default cipher suites.
        const ICV: usize = 16;
        let &[tci, ..] = cursor.take::<6>(LAYER)?;
        if tci & SCI != 0 {
            cursor.skip(8, LAYER)?;
        }
        if tci & SECRET != 0 {
            return Err(stop(LAYER, Reason::Encrypted));
        }
        let &[t0, t1] = cursor.take::<2>(LAYER)?;
        cursor.trim_end(ICV);
        self.enter(LAYER)?;
        self.ethertype(be16(t0, t1), cursor)
    }

    /// Network service header (RFC 8300, 2).
    fn nsh(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Nsh;
        self.enter(LAYER)?;
        let &[version, length, _, next] = cursor.take::<4>(LAYER)?;
        if version >> 6 != 0 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        // In 4-byte units, the first four bytes included.
        let rest = (usize::from(length & 0x3f) * 4)
            .checked_sub(4)
            .ok_or(stop(LAYER, Reason::BadLength))?;
        cursor.skip(rest, LAYER)?;
        match next {
            1 => self.ipv4(cursor),
            2 => self.ipv6(cursor),
            3 => self.ethernet(cursor),
            5 => self.mpls(cursor),
            _ => Ok(Class::link(LinkProtocol::TunnelControl)),
        }
    }

    /// LLC (IEEE 802.2) and SNAP.
    pub(super) fn llc(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        const LAYER: Layer = Layer::Ethernet;
        let &[dsap, ssap] = cursor.look::<2>(LAYER)?;
        match (dsap, ssap) {
            // SNAP (IEEE 802, 10.3).
            (0xaa, 0xaa) => {
                let &[_, _, _, o0, o1, o2, p0, p1] = cursor.take::<8>(LAYER)?;
                self.snap(be24(o0, o1, o2), be16(p0, p1), cursor)
            }
            // IP directly over LLC (RFC 1042 names the SAP).
            (0x06, 0x06) => {
                cursor.skip(3, LAYER)?;
                self.ip(cursor)
            }
            (0x42, _) => Ok(Class::link(LinkProtocol::Stp)),
            (0xe0, _) | (0xff, 0xff) => Ok(Class::link(LinkProtocol::Ipx)),
            (0xfe, _) => {
                // IP in ISO's network layer identifiers (RFC 2427, 5): 0xcc and 0x8e.
                let &[_, _, control] = cursor.take::<3>(LAYER)?;
                match (control, cursor.peek()) {
                    (0x03, Some([0xcc | 0x8e])) => {
                        cursor.skip(1, LAYER)?;
                        self.ip(cursor)
                    }
                    _ => Ok(Class::link(LinkProtocol::Iso)),
                }
            }
            _ => Ok(Class::link(LinkProtocol::Llc)),
        }
    }

    /// What a SNAP header names.
    pub(super) fn snap(&mut self, oui: u32, protocol: u16, mut cursor: Cursor<'_>) -> Decoded {
        match (oui, protocol) {
            // Encapsulated Ethernet, and its bridge-tunnel twin (IEEE 802.1H).
            (0x00_0000 | 0x00_00f8, ethertype) => {
                self.enter(Layer::Ethernet)?;
                self.ethertype(ethertype, cursor)
            }
            // Bridged IEEE 802.3 with (1) and without (7) its checksum, two bytes of padding in
            // front (RFC 2684, 5.2).
            (0x00_80c2, 1 | 7) => {
                cursor.skip(2, Layer::Ethernet)?;
                self.ethernet(cursor)
            }
            // Spanning tree per VLAN.
            (0x00_000c, 0x010b) | (0x00_80c2, 0x000e) => Ok(Class::link(LinkProtocol::Stp)),
            (0x00_000c, _) => Ok(Class::link(LinkProtocol::Cdp)),
            _ => Ok(Class::link(LinkProtocol::Llc)),
        }
    }
}

/// Moves past a tag that names no VLAN and gives the type behind it.
fn skip_tag(ethertype: u16, cursor: &mut Cursor<'_>) -> Result<u16, Undecoded> {
    let length = match ethertype {
        // Version, length, option and security group.
        ethertype::CISCO_METADATA => 6,
        // VN-tag: both virtual interfaces. HSR: path, size and sequence number (IEC 62439-3).
        _ => 4,
    };
    cursor.skip(length, Layer::Vlan)?;
    let &[t0, t1] = cursor.take::<2>(Layer::Vlan)?;
    Ok(be16(t0, t1))
}

/// Whether this looks like an Ethernet frame that carries IP or ARP, tags allowed.
pub(super) fn looks_like_ethernet(mut cursor: Cursor<'_>) -> bool {
    let Ok(&[.., t0, t1]) = cursor.take::<14>(Layer::Ethernet) else {
        return false;
    };
    let mut field = be16(t0, t1);
    for _ in 0..MAX_TAGS {
        match field {
            ethertype::IPV4 | ethertype::IPV6 => return looks_like_ip(cursor),
            // Hardware type Ethernet, protocol type IPv4 (RFC 826).
            ethertype::ARP => return cursor.peek() == Some(&[0, 1, 8, 0]),
            ethertype::VLAN | ethertype::SERVICE_VLAN => {
                let Ok(&[_, _, t0, t1]) = cursor.take(Layer::Vlan) else {
                    return false;
                };
                field = be16(t0, t1);
            }
            _ => return false,
        }
    }
    false
}
