//! Dispatch by link type, and the headers that say little more than which IP version follows.
//!
//! A new link type is added here: its number, its name, and the call that reads it. Numbers and
//! layouts are those of the registry of link types at tcpdump.org.

use super::DecodeSink;
use super::cursor::{Cursor, be16, stop};
use super::ip::looks_like_ip;
use super::stats::{Class, Decoded, Layer, LinkProtocol, Reason};
use super::walk::Walk;
use crate::model::LinkType;

const LAYER: Layer = Layer::Link;

/// The third of the link types for private use.
const USER2: u16 = 149;

/// An address family that is neither IPv4 nor IPv6.
const OTHER_FAMILY: Class = Class::link(LinkProtocol::OtherFamily);

/// Linux's hardware types that change how a cooked header's protocol is read (ARPHRD_*).
mod hardware {
    /// None that changes anything.
    pub(super) const ANY: u16 = 0;
    pub(super) const IPGRE: u16 = 778;
    pub(super) const IEEE80211_RADIOTAP: u16 = 803;
    pub(super) const NETLINK: u16 = 824;
}

/// Declares the link types that can be read: number and name in one place.
macro_rules! link_types {
    ($($const:ident = $number:literal, $name:literal;)*) => {
        $(pub(super) const $const: u16 = $number;)*

        const fn readable_name(link: u16) -> Option<&'static str> {
            match link {
                $($const => Some($name),)*
                _ => None,
            }
        }
    };
}

link_types! {
    NULL = 0, "null";
    ETHERNET = 1, "ethernet";
    TOKEN_RING = 6, "ieee802_5";
    ARCNET = 7, "arcnet_bsd";
    SLIP = 8, "slip";
    PPP = 9, "ppp";
    FDDI = 10, "fddi";
    // The three numbers that "raw" and "ATM" have on different systems.
    DLT_ATM = 11, "atm_rfc1483";
    DLT_RAW = 12, "raw";
    DLT_RAW_OPENBSD = 14, "raw";
    PPP_HDLC = 50, "ppp_hdlc";
    PPP_ETHER = 51, "ppp_ether";
    ATM_RFC1483 = 100, "atm_rfc1483";
    RAW = 101, "raw";
    CISCO_HDLC = 104, "c_hdlc";
    IEEE802_11 = 105, "ieee802_11";
    FRAME_RELAY = 107, "frelay";
    LOOP = 108, "loop";
    ENC = 109, "enc";
    LINUX_SLL = 113, "linux_sll";
    PFLOG = 117, "pflog";
    PRISM = 119, "ieee802_11_prism";
    IP_OVER_FC = 122, "ip_over_fc";
    SUNATM = 123, "sunatm";
    RADIOTAP = 127, "ieee802_11_radiotap";
    ARCNET_LINUX = 129, "arcnet_linux";
    JUNIPER_MLPPP = 130, "juniper_mlppp";
    JUNIPER_MLFR = 131, "juniper_mlfr";
    JUNIPER_GGSN = 133, "juniper_ggsn";
    JUNIPER_MFR = 134, "juniper_mfr";
    JUNIPER_ATM2 = 135, "juniper_atm2";
    JUNIPER_SERVICES = 136, "juniper_services";
    JUNIPER_ATM1 = 137, "juniper_atm1";
    APPLE_IP_OVER_1394 = 138, "apple_ip_over_ieee1394";
    AVS = 163, "ieee802_11_avs";
    JUNIPER_MONITOR = 164, "juniper_monitor";
    PPP_PPPD = 166, "ppp_pppd";
    JUNIPER_PPPOE = 167, "juniper_pppoe";
    JUNIPER_PPPOE_ATM = 168, "juniper_pppoe_atm";
    JUNIPER_ETHERNET = 178, "juniper_ether";
    JUNIPER_PPP = 179, "juniper_ppp";
    JUNIPER_FRELAY = 180, "juniper_frelay";
    JUNIPER_CHDLC = 181, "juniper_chdlc";
    JUNIPER_VP = 183, "juniper_vp";
    PPI = 192, "ppi";
    ERF = 197, "erf";
    PPP_WITH_DIRECTION = 204, "ppp_with_dir";
    CISCO_HDLC_WITH_DIRECTION = 205, "c_hdlc_with_dir";
    MPLS = 219, "mpls";
    IPNET = 226, "ipnet";
    IPV4 = 228, "ipv4";
    IPV6 = 229, "ipv6";
    NFLOG = 239, "nflog";
    NETANALYZER = 240, "netanalyzer";
    NETANALYZER_TRANSPARENT = 241, "netanalyzer_transparent";
    IPOIB = 242, "ipoib";
    PKTAP = 258, "pktap";
    ETHERNET_MPACKET = 274, "ethernet_mpacket";
    LINUX_SLL2 = 276, "linux_sll2";
    DSA_BROADCOM = 281, "dsa_tag_brcm";
    DSA_BROADCOM_PREPENDED = 282, "dsa_tag_brcm_prepend";
    DSA = 284, "dsa_tag_dsa";
    EDSA = 285, "dsa_tag_edsa";
}

/// The registry's name of a link type, in small letters and without its prefix; `unknown` for
/// numbers that few have heard of.
pub const fn link_type_name(link: u16) -> &'static str {
    if let Some(name) = readable_name(link) {
        return name;
    }
    match link {
        3 => "ax25",
        143 => "docsis",
        147..=162 => "user",
        177 => "linux_lapd",
        187 => "bluetooth_hci_h4",
        189 => "usb_linux",
        195 => "ieee802_15_4_withfcs",
        201 => "bluetooth_hci_h4_with_phdr",
        209 => "ipmb_linux",
        215 => "ieee802_15_4_nonask_phy",
        220 => "usb_linux_mmapped",
        227 => "can_socketcan",
        230 => "ieee802_15_4_nofcs",
        245 => "nfc_llcp",
        247 => "infiniband",
        249 => "usbpcap",
        251 => "bluetooth_le_ll",
        252 => "wireshark_upper_pdu",
        253 => "netlink",
        254 => "bluetooth_linux_monitor",
        256 => "bluetooth_le_ll_with_phdr",
        271 => "vsock",
        272 => "nordic_ble",
        283 => "ieee802_15_4_tap",
        289 => "elee",
        _ => "unknown",
    }
}

impl<S: DecodeSink> Walk<'_, S> {
    /// The first layer of a frame.
    #[inline]
    pub(super) fn link(&mut self, link: LinkType, cursor: Cursor<'_>) -> Decoded {
        if link.0 == ETHERNET {
            return self.ethernet(cursor);
        }
        self.uncommon_link(link, cursor)
    }

    fn uncommon_link(&mut self, link: LinkType, mut cursor: Cursor<'_>) -> Decoded {
        match link.0 {
            ETHERNET => self.ethernet(cursor),
            NULL => self.null(cursor),
            LOOP => {
                let family = u32::from_be_bytes(*cursor.take(LAYER)?);
                self.family(family, cursor)
            }
            DLT_RAW | DLT_RAW_OPENBSD | RAW => self.ip(cursor),
            IPV4 => self.ipv4(cursor),
            IPV6 => self.ipv6(cursor),
            LINUX_SLL => self.linux_sll(cursor),
            LINUX_SLL2 => self.linux_sll2(cursor),
            PPP => self.ppp(cursor),
            PPP_HDLC => self.ppp_serial(cursor),
            PPP_ETHER => self.pppoe(cursor),
            PPP_WITH_DIRECTION | PPP_PPPD => {
                cursor.skip(1, LAYER)?;
                self.ppp_serial(cursor)
            }
            CISCO_HDLC => self.cisco_hdlc(cursor),
            CISCO_HDLC_WITH_DIRECTION => {
                cursor.skip(1, LAYER)?;
                self.cisco_hdlc(cursor)
            }
            IEEE802_11 => self.wifi(cursor, false),
            RADIOTAP => self.radiotap(cursor),
            PRISM => self.prism(cursor),
            AVS => self.avs(cursor),
            PPI => self.ppi(cursor),
            TOKEN_RING => self.token_ring(cursor),
            FDDI => self.fddi(cursor),
            ARCNET => self.arcnet(cursor, 3),
            ARCNET_LINUX => self.arcnet(cursor, 5),
            DLT_ATM | ATM_RFC1483 => self.llc(cursor),
            SUNATM => self.sunatm(cursor),
            FRAME_RELAY => self.frame_relay(cursor),
            IP_OVER_FC => {
                // Two addresses of eight bytes (RFC 2625, 3.2).
                cursor.skip(16, LAYER)?;
                self.llc(cursor)
            }
            IPOIB => self.ipoib(cursor),
            APPLE_IP_OVER_1394 => {
                // Two addresses of eight bytes, then an Ethernet type.
                cursor.skip(16, LAYER)?;
                self.then_ethertype(cursor)
            }
            SLIP => {
                // Direction, and a copy of the header that compression saw.
                cursor.skip(16, LAYER)?;
                self.ip(cursor)
            }
            MPLS => self.mpls(cursor),
            NFLOG => self.nflog(cursor),
            PFLOG => self.pflog(cursor),
            ENC => {
                // Family in the machine's byte order, security parameter index, flags.
                self.null_header(cursor, 8)
            }
            NETANALYZER | DSA_BROADCOM_PREPENDED => {
                cursor.skip(4, LAYER)?;
                self.ethernet(cursor)
            }
            NETANALYZER_TRANSPARENT => {
                // The preamble and its delimiter follow the pseudo-header.
                cursor.skip(12, LAYER)?;
                self.ethernet(cursor)
            }
            ETHERNET_MPACKET => self.mpacket(cursor),
            PKTAP => self.pktap(cursor),
            JUNIPER_MLPPP | JUNIPER_MLFR | JUNIPER_GGSN | JUNIPER_MFR | JUNIPER_ATM2
            | JUNIPER_SERVICES | JUNIPER_ATM1 | JUNIPER_MONITOR | JUNIPER_PPPOE
            | JUNIPER_PPPOE_ATM | JUNIPER_ETHERNET | JUNIPER_PPP | JUNIPER_FRELAY
            | JUNIPER_CHDLC | JUNIPER_VP => self.juniper(link.0, cursor),
            IPNET => {
                // Solaris: version, family, hardware type, length, two interfaces and two zones.
                let &[_, family, ..] = cursor.take::<24>(LAYER)?;
                match family {
                    26 => self.ipv6(cursor),
                    family => self.family(u32::from(family), cursor),
                }
            }
            // On macOS, whose library took a number that is free for private use.
            USER2 if looks_like_pktap(cursor) => self.pktap(cursor),
            ERF => self.erf(cursor),
            DSA | EDSA | DSA_BROADCOM => self.dsa(link.0, cursor),
            unknown => {
                *self.stats.unknown_link_types.entry(unknown).or_default() += 1;
                Err(stop(LAYER, Reason::Unsupported))
            }
        }
    }

    /// A frame of another link type inside a capture tool's header. Headers do not nest without
    /// end: each goes one layer deeper.
    pub(super) fn inner_link(&mut self, link: u32, cursor: Cursor<'_>) -> Decoded {
        self.enter(LAYER)?;
        let link = u16::try_from(link).map_err(|_| stop(LAYER, Reason::BadHeader))?;
        self.link(LinkType(link), cursor)
    }

    /// Two bytes of Ethernet type, then what they say.
    pub(super) fn then_ethertype(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[t0, t1] = cursor.take(LAYER)?;
        self.ethertype_or_length(be16(t0, t1), cursor)
    }

    /// An address family of any BSD, Linux or Windows.
    fn family(&mut self, family: u32, cursor: Cursor<'_>) -> Decoded {
        match family {
            2 => self.ipv4(cursor),
            // Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS.
            10 | 23 | 24 | 28 | 30 => self.ipv6(cursor),
            _ => Ok(OTHER_FAMILY),
        }
    }

    fn null(&mut self, cursor: Cursor<'_>) -> Decoded {
        self.null_header(cursor, 0)
    }

    /// A family in the byte order of whatever machine captured it: families are small numbers, so
    /// the wrong order shows. Then `more` bytes of header.
    fn null_header(&mut self, mut cursor: Cursor<'_>, more: usize) -> Decoded {
        let raw = *cursor.take::<4>(LAYER)?;
        let family = u32::from_be_bytes(raw).min(u32::from_le_bytes(raw));
        cursor.skip(more, LAYER)?;
        self.family(family, cursor)
    }

    fn linux_sll(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[_, _, h0, h1, .., p0, p1] = cursor.take::<16>(LAYER)?;
        self.cooked(be16(h0, h1), be16(p0, p1), cursor)
    }

    fn linux_sll2(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[p0, p1, _, _, _, _, _, _, h0, h1, ..] = cursor.take::<20>(LAYER)?;
        self.cooked(be16(h0, h1), be16(p0, p1), cursor)
    }

    fn cooked(&mut self, hardware: u16, protocol: u16, cursor: Cursor<'_>) -> Decoded {
        match (hardware, protocol) {
            (hardware::NETLINK, _) => Ok(OTHER_FAMILY),
            (hardware::IEEE80211_RADIOTAP, _) => self.radiotap(cursor),
            (hardware::IPGRE, protocol) => self.gre_payload(protocol, cursor),
            // Linux's own numbers below the least Ethernet type: 802.2 LLC.
            (_, 0x0004) => self.llc(cursor),
            (_, 0x0001..0x0600) => Ok(OTHER_FAMILY),
            (_, ethertype) => self.ethertype(ethertype, cursor),
        }
    }

    /// Netfilter log: attributes in the machine's byte order, one of which is the packet.
    fn nflog(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        /// The attributes that begin with the packet's Ethernet type, and hold the packet
        /// (`NFULA_PACKET_HDR`, `NFULA_PAYLOAD`).
        const PACKET_HEADER: u8 = 1;
        const PAYLOAD: u8 = 9;
        let &[family, version, _, _] = cursor.take::<4>(LAYER)?;
        if version != 0 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        let (mut protocol, mut packet) = (0, None);
        while packet.is_none() || cursor.len() >= 4 {
            let &[l0, l1, t0, t1] = cursor.take::<4>(LAYER)?;
            // Types are below 64, so their byte is told from the one whose upper two bits are flags.
            let (length, kind) = if t1.trailing_zeros() >= 6 {
                (u16::from_le_bytes([l0, l1]), t0)
            } else {
                (be16(l0, l1), t1)
            };
            let length = usize::from(length)
                .checked_sub(4)
                .ok_or(stop(LAYER, Reason::BadLength))?;
            match (kind, cursor.peek()) {
                (PACKET_HEADER, Some(&[p0, p1])) => protocol = be16(p0, p1),
                (PAYLOAD, _) => {
                    let mut bounded = cursor;
                    bounded.bound(length);
                    packet = Some(bounded);
                }
                _ => {}
            }
            // Attributes are padded to four bytes; the last need not be.
            cursor.skip(length.next_multiple_of(4).min(cursor.len()), LAYER)?;
        }
        let Some(packet) = packet else {
            return Err(stop(LAYER, Reason::BadHeader));
        };
        match (family, protocol) {
            (2 | 10, _) => self.ip(packet),
            (_, 0) if looks_like_ip(packet) => self.ip(packet),
            (_, 0) => Ok(OTHER_FAMILY),
            // Bridges and devices log every protocol, from behind the Ethernet header on.
            (_, protocol) => self.cooked(hardware::ANY, protocol, packet),
        }
    }

    /// The packet filter of BSD systems: a header whose length, without padding, is its first byte.
    fn pflog(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[length, family] = cursor.look::<2>(LAYER)?;
        cursor.skip(usize::from(length).next_multiple_of(4), LAYER)?;
        self.family(u32::from(family), cursor)
    }

    /// A preamble, possibly shortened, whose last byte says what follows (IEEE 802.3br).
    fn mpacket(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        loop {
            match cursor.take(LAYER)? {
                [0x55] => {}
                // An express frame, or the start of a preemptable one.
                [0xd5 | 0xe6 | 0x4c | 0x7f | 0xb3] => return self.ethernet(cursor),
                // A continuation.
                [0x61 | 0x52 | 0x9e | 0x2a] => return Err(stop(LAYER, Reason::LinkFragment)),
                _ => return Err(stop(LAYER, Reason::BadHeader)),
            }
        }
    }

    /// macOS: length of the header, record type and link type, little-endian, and more.
    fn pktap(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let mut header = cursor;
        let length = u32::from_le_bytes(*header.take(LAYER)?) as usize;
        header.skip(4, LAYER)?;
        let link = u32::from_le_bytes(*header.take(LAYER)?);
        if length < 12 {
            return Err(stop(LAYER, Reason::BadLength));
        }
        cursor.skip(length, LAYER)?;
        self.inner_link(link, cursor)
    }

    /// Endace's extensible record format.
    fn erf(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        /// An extension header of eight bytes follows; its first bit says the same.
        const MORE: u8 = 0x80;
        let &[_, _, _, _, _, _, _, _, kind, ..] = cursor.take::<16>(LAYER)?;
        let mut more = kind & MORE;
        while more != 0 {
            let &[first, ..] = cursor.take::<8>(LAYER)?;
            more = first & MORE;
        }
        match kind & !MORE {
            1 => self.ppp_serial(cursor),
            // Ethernet, alone or with a colour or a channel: two bytes of offset in front.
            2 | 11 | 16 | 20 => {
                cursor.skip(2, LAYER)?;
                self.ethernet(cursor)
            }
            22 => self.ipv4(cursor),
            23 => self.ipv6(cursor),
            _ => Err(stop(LAYER, Reason::Unsupported)),
        }
    }

    /// A switch's tag between the MAC addresses and the type.
    fn dsa(&mut self, link: u16, mut cursor: Cursor<'_>) -> Decoded {
        cursor.skip(12, LAYER)?;
        if link == EDSA {
            // An Ethernet type of its own, and two reserved bytes.
            cursor.skip(4, LAYER)?;
        }
        let &[first, _, t0, t1] = cursor.take::<4>(LAYER)?;
        // Marvell's tag takes the place of the VLAN tag of a frame that had one.
        if link != DSA_BROADCOM && first & 0x20 != 0 {
            self.vlan_tag(be16(t0, t1));
        }
        self.then_ethertype(cursor)
    }
}

/// Whether a header of macOS begins here: its length, and a record type for packets.
fn looks_like_pktap(cursor: Cursor<'_>) -> bool {
    /// Bytes of the header's first version.
    const LEAST: u32 = 108;
    /// A choice; headers that say more have some hundreds of bytes.
    const MOST: u32 = 4096;
    let Some(&[l0, l1, l2, l3, kind, k1, k2, k3, ..]) = cursor.peek::<12>() else {
        return false;
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    (LEAST..=MOST).contains(&length) && u32::from_le_bytes([kind, k1, k2, k3]) == 1
}
