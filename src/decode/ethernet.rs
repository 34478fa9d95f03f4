//! Ethernet, the tags between its addresses and its type, LLC and SNAP.

use super::DecodeSink;
use super::cursor::{Cursor, be16, be24, stop};
use super::ip::looks_like_ip;
use super::mpls::looks_like_mpls;
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason, Undecoded};
use super::walk::Walk;
use crate::model::Tunnel;

/// Ethernet types (IANA, IEEE 802 Numbers).
pub(super) mod ethertype {
    pub(in crate::decode) const IPV4: u16 = 0x0800;
    pub(in crate::decode) const BATMAN: u16 = 0x4305;
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
    pub(in crate::decode) const E_TAG: u16 = 0x893f;
    pub(in crate::decode) const NSH: u16 = 0x894f;
    pub(in crate::decode) const ARISTA: u16 = 0xd28b;
}

/// What an Ethernet type announces. One table for the walk and for whoever must tell whether an Ethernet
/// header is one: a frame inside a tunnel is what it would be outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Announced {
    /// A tag, and another type behind it.
    Tag(Tag),
    /// A protocol that is followed.
    Layer(NextLayer),
    /// A protocol without IP.
    Other(LinkProtocol),
}

/// What stands between the addresses and the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    Vlan,
    /// So many bytes that name no VLAN.
    Skipped(u8),
    /// A time stamp of Arista's switches.
    Arista,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NextLayer {
    Ipv4,
    Ipv6,
    Mpls,
    Pppoe,
    Ppp,
    Ethernet,
    Pbb,
    FabricPath,
    Trill,
    Macsec,
    Nsh,
    Batman,
}

impl Announced {
    /// `None` for types that nothing here knows.
    const fn by(ethertype: u16) -> Option<Announced> {
        Some(match ethertype {
            ethertype::IPV4 => Announced::Layer(NextLayer::Ipv4),
            ethertype::IPV6 => Announced::Layer(NextLayer::Ipv6),
            // The last three are QinQ types from before IEEE 802.1ad gave one.
            ethertype::VLAN | ethertype::SERVICE_VLAN | 0x9100 | 0x9200 | 0x9300 => {
                Announced::Tag(Tag::Vlan)
            }
            // Both virtual interfaces; path, size and sequence number (IEC 62439-3).
            ethertype::VN_TAG | ethertype::HSR => Announced::Tag(Tag::Skipped(4)),
            // Version, length, option and security group; priority and both ports (IEEE 802.1BR, 7).
            ethertype::CISCO_METADATA | ethertype::E_TAG => Announced::Tag(Tag::Skipped(6)),
            ethertype::ARISTA => Announced::Tag(Tag::Arista),
            ethertype::MPLS | ethertype::MPLS_MULTICAST => Announced::Layer(NextLayer::Mpls),
            ethertype::PPPOE_SESSION => Announced::Layer(NextLayer::Pppoe),
            ethertype::PPP => Announced::Layer(NextLayer::Ppp),
            ethertype::TRANSPARENT_ETHERNET => Announced::Layer(NextLayer::Ethernet),
            ethertype::PBB => Announced::Layer(NextLayer::Pbb),
            ethertype::FABRICPATH => Announced::Layer(NextLayer::FabricPath),
            ethertype::TRILL => Announced::Layer(NextLayer::Trill),
            ethertype::MACSEC => Announced::Layer(NextLayer::Macsec),
            ethertype::NSH => Announced::Layer(NextLayer::Nsh),
            ethertype::BATMAN => Announced::Layer(NextLayer::Batman),
            ethertype::ARP | ethertype::RARP => Announced::Other(LinkProtocol::Arp),
            ethertype::IPX => Announced::Other(LinkProtocol::Ipx),
            ethertype::SLOW => Announced::Other(LinkProtocol::Slow),
            ethertype::PPPOE_DISCOVERY => Announced::Other(LinkProtocol::PppoeDiscovery),
            ethertype::EAPOL => Announced::Other(LinkProtocol::Eapol),
            ethertype::LLDP => Announced::Other(LinkProtocol::Lldp),
            ethertype::PTP => Announced::Other(LinkProtocol::Ptp),
            _ => return None,
        })
    }
}

impl Tag {
    /// Moves past the tag and gives the VLAN that it names and the type behind it.
    fn read(self, cursor: &mut Cursor<'_>) -> Result<(Option<u16>, u16), Undecoded> {
        const LAYER: Layer = Layer::Vlan;
        let mut tci = None;
        match self {
            Tag::Vlan => {
                let &[tci0, tci1] = cursor.take::<2>(LAYER)?;
                tci = Some(be16(tci0, tci1));
            }
            Tag::Skipped(length) => cursor.skip(usize::from(length), LAYER)?,
            Tag::Arista => {
                // Kind (1 is a time stamp), time scale, and in the upper four bits of the fourth byte
                // the form: 32 or 16 bits of seconds, then 32 of nanoseconds.
                let &[k0, k1, _, form] = cursor.take::<4>(LAYER)?;
                match (be16(k0, k1), form >> 4) {
                    (1, 1) => cursor.skip(8, LAYER)?,
                    (1, 2) => cursor.skip(6, LAYER)?,
                    _ => return Err(stop(LAYER, Reason::Unsupported)),
                }
            }
        }
        let &[t0, t1] = cursor.take::<2>(LAYER)?;
        Ok((tci, be16(t0, t1)))
    }
}

/// Types below this are lengths of an LLC frame (IEEE 802.3, 3.2.6).
pub(super) const LEAST_ETHERTYPE: u16 = 0x0600;
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
            self.bound_link(&mut cursor, usize::from(field));
        }
        self.llc(cursor)
    }

    /// What follows an Ethernet type, tags first.
    pub(super) fn ethertype(&mut self, mut ethertype: u16, mut cursor: Cursor<'_>) -> Decoded {
        for _ in 0..MAX_TAGS {
            match Announced::by(ethertype) {
                Some(Announced::Tag(tag)) => {
                    let (tci, next) = tag.read(&mut cursor)?;
                    if let Some(tci) = tci {
                        self.vlan_tag(tci);
                    }
                    ethertype = next;
                    if ethertype < LEAST_ETHERTYPE {
                        return self.ethertype_or_length(ethertype, cursor);
                    }
                }
                Some(Announced::Layer(next)) => return self.next_layer(next, cursor),
                Some(Announced::Other(protocol)) => return Ok(Class::link(protocol)),
                None => return Ok(Class::link(LinkProtocol::OtherEthertype)),
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

    fn next_layer(&mut self, next: NextLayer, mut cursor: Cursor<'_>) -> Decoded {
        match next {
            NextLayer::Ipv4 => self.ipv4(cursor),
            NextLayer::Ipv6 => self.ipv6(cursor),
            NextLayer::Mpls => self.mpls(cursor),
            NextLayer::Pppoe => self.pppoe(cursor),
            NextLayer::Ppp => self.ppp(cursor),
            NextLayer::Ethernet => self.ethernet(cursor),
            NextLayer::Pbb => {
                // Flags, then 24 bits of service identifier (IEEE 802.1Q, 9.7).
                let &[_, a, b, c] = cursor.take::<4>(Layer::Pbb)?;
                self.tunnel(Tunnel::Pbb(be24(a, b, c)));
                self.ethernet(cursor)
            }
            NextLayer::FabricPath => {
                // Forwarding tag and hop count.
                cursor.skip(2, Layer::FabricPath)?;
                self.tunnel(Tunnel::FabricPath);
                self.ethernet(cursor)
            }
            NextLayer::Trill => {
                // Two of the first two bytes' bits after version, reserved and multicast: five
                // bits of option length in 4-byte units; then two nicknames (RFC 6325, 3).
                let &[a, b, ..] = cursor.take::<6>(Layer::FabricPath)?;
                let options = usize::from((be16(a, b) >> 6) & 0x1f) * 4;
                cursor.skip(options, Layer::FabricPath)?;
                self.outermost = false;
                self.ethernet(cursor)
            }
            NextLayer::Macsec => self.macsec(cursor),
            NextLayer::Nsh => self.nsh(cursor),
            NextLayer::Batman => self.batman(cursor),
        }
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
    pub(super) fn nsh(&mut self, mut cursor: Cursor<'_>) -> Decoded {
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
            4 => self.nsh(cursor),
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

/// Whether this looks like an Ethernet frame of a type that is known here, tags allowed. Used where
/// nothing but a port number or four bits say that one begins here.
pub(super) fn looks_like_ethernet(mut cursor: Cursor<'_>) -> bool {
    match cursor.take::<14>(Layer::Ethernet) {
        Ok(&[.., t0, t1]) => looks_like_type(be16(t0, t1), cursor),
        Err(_) => false,
    }
}

/// Whether an Ethernet type is known here, and what follows looks like it.
pub(super) fn looks_like_type(mut ethertype: u16, mut cursor: Cursor<'_>) -> bool {
    for _ in 0..MAX_TAGS {
        match Announced::by(ethertype) {
            Some(Announced::Tag(tag)) => match tag.read(&mut cursor) {
                Ok((_, next)) => ethertype = next,
                Err(_) => return false,
            },
            Some(Announced::Layer(NextLayer::Ipv4 | NextLayer::Ipv6)) => {
                return looks_like_ip(cursor);
            }
            Some(Announced::Layer(NextLayer::Nsh)) => return looks_like_nsh(cursor),
            Some(Announced::Layer(NextLayer::Mpls)) => return looks_like_mpls(cursor),
            // Hardware type Ethernet, protocol type IPv4 (RFC 826).
            Some(Announced::Other(LinkProtocol::Arp)) => {
                return cursor.peek() == Some(&[0, 1, 8, 0]);
            }
            Some(_) => return true,
            None => return ethertype < LEAST_ETHERTYPE && looks_like_llc(cursor),
        }
    }
    false
}

/// Whether this looks like network service headers around something that is known here.
pub(super) fn looks_like_nsh(mut cursor: Cursor<'_>) -> bool {
    /// How many are looked through: service functions nest few.
    const MOST: u8 = 4;
    for _ in 0..MOST {
        let Some(&[version, length, _, next]) = cursor.peek() else {
            return false;
        };
        let words = usize::from(length & 0x3f);
        if version >> 6 != 0 || words < 2 || cursor.skip(words * 4, Layer::Nsh).is_err() {
            return false;
        }
        match next {
            1 | 2 => return looks_like_ip(cursor),
            3 => return looks_like_ethernet(cursor),
            4 => {}
            5 => return looks_like_mpls(cursor),
            _ => return false,
        }
    }
    false
}

/// Whether this looks like LLC around something that is known here.
fn looks_like_llc(mut cursor: Cursor<'_>) -> bool {
    /// Unnumbered information (IEEE 802.2, 5.4.3).
    const UI: u8 = 0x03;
    match cursor.peek() {
        Some([0xaa, 0xaa, UI]) => match cursor.take(Layer::Ethernet) {
            Ok(&[_, _, _, o0, o1, o2, t0, t1]) => match be24(o0, o1, o2) {
                0 | 0x00_00f8 => {
                    let ethertype = be16(t0, t1);
                    ethertype >= LEAST_ETHERTYPE && looks_like_type(ethertype, cursor)
                }
                0x00_80c2 | 0x00_000c => true,
                _ => false,
            },
            Err(_) => false,
        },
        Some([0x42, 0x42, UI] | [0xfe, 0xfe, UI] | [0xe0, 0xe0, UI]) => true,
        _ => false,
    }
}
