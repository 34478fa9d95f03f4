//! What became of every frame: exactly one outcome each, so that the sums can be checked.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::link::link_type_name;

/// Declares an enum whose values carry the name they have in reports, and a list of all values.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident => $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// All values, in the order of the declaration.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// The layer at which decoding of a frame stopped.
    Layer {
        /// A link-layer header that is none of those below.
        Link => "link",
        /// Ethernet (IEEE 802.3) with its LLC and SNAP headers.
        Ethernet => "ethernet",
        /// A VLAN or similar tag between the MAC addresses and the type.
        Vlan => "vlan",
        /// MAC security (IEEE 802.1AE).
        Macsec => "macsec",
        /// Provider backbone bridging (IEEE 802.1ah).
        Pbb => "pbb",
        /// Cisco FabricPath and TRILL.
        FabricPath => "fabricpath",
        /// An MPLS label stack.
        Mpls => "mpls",
        /// PPP over Ethernet.
        Pppoe => "pppoe",
        /// PPP and Cisco HDLC.
        Ppp => "ppp",
        /// IEEE 802.11.
        Wifi => "ieee802_11",
        /// A capture header in front of IEEE 802.11.
        Radio => "radio",
        /// IPv4.
        Ipv4 => "ipv4",
        /// IPv6.
        Ipv6 => "ipv6",
        /// An IPv6 extension header, or AH.
        IpExtension => "ip_extension",
        /// IP payload compression.
        IpComp => "ipcomp",
        /// TCP.
        Tcp => "tcp",
        /// UDP.
        Udp => "udp",
        /// GRE.
        Gre => "gre",
        /// ERSPAN.
        Erspan => "erspan",
        /// VXLAN.
        Vxlan => "vxlan",
        /// Geneve.
        Geneve => "geneve",
        /// GTP-U.
        Gtp => "gtp",
        /// Teredo.
        Teredo => "teredo",
        /// AYIYA.
        Ayiya => "ayiya",
        /// L2TP.
        L2tp => "l2tp",
        /// Network service header.
        Nsh => "nsh",
        /// CAPWAP.
        Capwap => "capwap",
        /// B.A.T.M.A.N. advanced.
        Batman => "batman",
        /// Juniper's capture headers.
        Juniper => "juniper",
    }
}

named! {
    /// Why decoding of a frame stopped.
    Reason {
        /// The capture's snap length ends inside the header.
        Truncated => "truncated",
        /// The packet itself ends inside the header, or a length field contradicts the rest.
        BadLength => "bad_length",
        /// A version that does not exist.
        BadVersion => "bad_version",
        /// Any other field that cannot be.
        BadHeader => "bad_header",
        /// IP options that run out of their header, or cannot be: no host takes the packet.
        BadOptions => "bad_options",
        /// The checksum is wrong, and such packets are to be dropped.
        BadChecksum => "bad_checksum",
        /// The fragments of a datagram overlap, and such datagrams are to be dropped.
        OverlappingFragments => "overlapping_fragments",
        /// Compressed packets of one frame that would grow beyond all bounds.
        OverLimit => "over_limit",
        /// More layers than this program follows.
        TooDeep => "too_deep",
        /// The payload is encrypted.
        Encrypted => "encrypted",
        /// A fragment of a layer below IP, which is not put together here.
        LinkFragment => "link_fragment",
        /// The capture says that the frame arrived damaged.
        DamagedOnAir => "damaged_on_air",
        /// Nothing here knows how to read this.
        Unsupported => "unsupported",
    }
}

named! {
    /// What a frame carries where it carries no IP.
    LinkProtocol {
        /// ARP and RARP.
        Arp => "arp",
        /// IPX.
        Ipx => "ipx",
        /// Spanning tree.
        Stp => "stp",
        /// LLDP (IEEE 802.1AB).
        Lldp => "lldp",
        /// Cisco discovery and its relatives.
        Cdp => "cdp",
        /// IS-IS and other ISO network layers.
        Iso => "iso",
        /// Any other IEEE 802.2 LLC.
        Llc => "llc",
        /// LACP and other slow protocols (IEEE 802.3, annex 57A).
        Slow => "slow_protocols",
        /// EAP over LAN (IEEE 802.1X).
        Eapol => "eapol",
        /// PTP over Ethernet (IEEE 1588).
        Ptp => "ptp",
        /// The discovery stage of PPPoE (RFC 2516).
        PppoeDiscovery => "pppoe_discovery",
        /// LCP and other PPP control protocols.
        PppControl => "ppp_control",
        /// PPP data that is not IP.
        PppOther => "ppp_other",
        /// Ethernet with any other type.
        OtherEthertype => "other_ethertype",
        /// MPLS around something that is neither IP nor Ethernet.
        MplsOther => "mpls_other",
        /// IEEE 802.11 management frames.
        WifiManagement => "ieee802_11_management",
        /// IEEE 802.11 control frames.
        WifiControl => "ieee802_11_control",
        /// IEEE 802.11 data frames without data.
        WifiNull => "ieee802_11_null",
        /// An address family that is neither IPv4 nor IPv6.
        OtherFamily => "other_family",
        /// A tunnel's own control messages.
        TunnelControl => "tunnel_control",
    }
}

/// A frame that was decoded and carries no TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Other {
    /// An IP protocol, by its number (IANA, Assigned Internet Protocol Numbers).
    Ip(u8),
    /// Something below IP.
    Link(LinkProtocol),
}

/// Where and why decoding stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undecoded {
    /// The layer that could not be read.
    pub layer: Layer,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What a decoded frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// It carries a TCP segment.
    Tcp,
    /// It carries a TCP segment that the filter leaves out.
    Filtered,
    /// It carries a piece of an IP datagram.
    Fragment,
    /// It carries neither.
    Other(Other),
}

impl Class {
    pub(super) const fn ip(protocol: u8) -> Class {
        Class::Other(Other::Ip(protocol))
    }

    pub(super) const fn link(protocol: LinkProtocol) -> Class {
        Class::Other(Other::Link(protocol))
    }
}

/// The outcome of one frame.
pub type Decoded = Result<Class, Undecoded>;

/// The name of an IP protocol that captures commonly hold; `None` for the rest.
pub const fn ip_protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "icmp",
        2 => "igmp",
        17 => "udp",
        33 => "dccp",
        46 => "rsvp",
        47 => "gre",
        50 => "esp",
        58 => "icmpv6",
        59 => "ipv6_no_next_header",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        108 => "ipcomp",
        112 => "vrrp",
        115 => "l2tp",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

/// Counts of frames by what became of them. `frames` is the sum of all outcomes:
/// [`DecodeStats::is_balanced`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeStats {
    /// Frames seen.
    pub frames: u64,
    /// Frames that carry a TCP segment, or complete a datagram that does.
    pub tcp: u64,
    /// Frames that carry a TCP segment which the filter leaves out, or complete a datagram that
    /// does.
    pub filtered: u64,
    /// Frames that carry an IP fragment.
    pub fragments_seen: u64,
    /// Those of them that completed a datagram and so count under what it carries.
    pub fragments_resolved: u64,
    /// TCP segments that were dropped for a wrong checksum. (Frames count under
    /// [`Reason::BadChecksum`], and a frame may hold several segments.)
    pub bad_tcp_checksums: u64,
    /// Captured payload bytes of those.
    pub bad_checksum_payload: u64,
    /// Frames by link type, for link types that nothing here can read.
    pub unknown_link_types: BTreeMap<u16, u64>,
    ip: Box<[u64; 256]>,
    link: [u64; LinkProtocol::ALL.len()],
    undecoded: [[u64; Reason::ALL.len()]; Layer::ALL.len()],
}

impl Default for DecodeStats {
    fn default() -> DecodeStats {
        DecodeStats {
            frames: 0,
            tcp: 0,
            filtered: 0,
            fragments_seen: 0,
            fragments_resolved: 0,
            bad_tcp_checksums: 0,
            bad_checksum_payload: 0,
            unknown_link_types: BTreeMap::new(),
            ip: Box::new([0; 256]),
            link: [0; LinkProtocol::ALL.len()],
            undecoded: [[0; Reason::ALL.len()]; Layer::ALL.len()],
        }
    }
}

impl DecodeStats {
    /// Frames that are IP fragments and completed nothing.
    pub fn fragments(&self) -> u64 {
        self.fragments_seen.saturating_sub(self.fragments_resolved)
    }

    /// Frames that carry this and no TCP.
    pub fn other(&self, other: Other) -> u64 {
        let count = match other {
            Other::Ip(protocol) => self.ip.get(usize::from(protocol)),
            Other::Link(protocol) => self.link.get(protocol as usize),
        };
        count.copied().unwrap_or_default()
    }

    /// All that carries no TCP, by name, in a fixed order; no zeros.
    pub fn others(&self) -> impl Iterator<Item = (Cow<'static, str>, u64)> + '_ {
        let ip = (0u8..=255).map(|protocol| {
            let name = ip_protocol_name(protocol)
                .map_or_else(|| format!("ip protocol {protocol}").into(), Cow::Borrowed);
            (name, self.other(Other::Ip(protocol)))
        });
        let link = LinkProtocol::ALL
            .iter()
            .map(|&protocol| (protocol.name().into(), self.other(Other::Link(protocol))));
        ip.chain(link).filter(|(_, count)| *count > 0)
    }

    /// Frames on which decoding stopped here.
    pub fn undecoded(&self, at: Undecoded) -> u64 {
        let row = self.undecoded.get(at.layer as usize);
        row.and_then(|row| row.get(at.reason as usize))
            .copied()
            .unwrap_or_default()
    }

    /// All that could not be decoded, in a fixed order; no zeros.
    pub fn all_undecoded(&self) -> impl Iterator<Item = (Undecoded, u64)> + '_ {
        Layer::ALL
            .iter()
            .flat_map(|&layer| {
                Reason::ALL
                    .iter()
                    .map(move |&reason| Undecoded { layer, reason })
            })
            .map(|at| (at, self.undecoded(at)))
            .filter(|(_, count)| *count > 0)
    }

    /// Link types that nothing here can read: number, name and frames.
    pub fn unknown_links(&self) -> impl Iterator<Item = (u16, &'static str, u64)> + '_ {
        self.unknown_link_types
            .iter()
            .map(|(&number, &count)| (number, link_type_name(number), count))
    }

    /// Whether every frame has exactly one outcome.
    pub fn is_balanced(&self) -> bool {
        let others: u64 = self.ip.iter().chain(&self.link).sum();
        let undecoded: u64 = self.undecoded.iter().flatten().sum();
        self.fragments_seen >= self.fragments_resolved
            && self.frames == self.tcp + self.filtered + others + undecoded + self.fragments()
    }

    /// Adds the counts of another stretch of the capture.
    pub fn merge(&mut self, other: &DecodeStats) {
        self.frames += other.frames;
        self.tcp += other.tcp;
        self.filtered += other.filtered;
        self.fragments_seen += other.fragments_seen;
        self.fragments_resolved += other.fragments_resolved;
        self.bad_tcp_checksums += other.bad_tcp_checksums;
        self.bad_checksum_payload += other.bad_checksum_payload;
        for (&link, &count) in &other.unknown_link_types {
            *self.unknown_link_types.entry(link).or_default() += count;
        }
        let mine = self.ip.iter_mut().chain(&mut self.link);
        for (mine, theirs) in mine.zip(other.ip.iter().chain(&other.link)) {
            *mine += theirs;
        }
        let mine = self.undecoded.iter_mut().flatten();
        for (mine, theirs) in mine.zip(other.undecoded.iter().flatten()) {
            *mine += theirs;
        }
    }

    /// Counts a frame.
    pub(super) fn frame(&mut self, outcome: Decoded) {
        self.frames += 1;
        if outcome == Ok(Class::Fragment) {
            self.fragments_seen += 1;
        } else {
            self.outcome(outcome);
        }
    }

    /// Moves the frame that completed a datagram to what the datagram carries. The frame itself
    /// was counted as a fragment, maybe by another chunk's statistics.
    pub(super) fn resolve(&mut self, outcome: Decoded) {
        if outcome != Ok(Class::Fragment) {
            self.fragments_resolved += 1;
            self.outcome(outcome);
        }
    }

    fn outcome(&mut self, outcome: Decoded) {
        let count = match outcome {
            Ok(Class::Tcp) => Some(&mut self.tcp),
            Ok(Class::Filtered) => Some(&mut self.filtered),
            Ok(Class::Fragment) => None,
            Ok(Class::Other(Other::Ip(protocol))) => self.ip.get_mut(usize::from(protocol)),
            Ok(Class::Other(Other::Link(protocol))) => self.link.get_mut(protocol as usize),
            Err(at) => self
                .undecoded
                .get_mut(at.layer as usize)
                .and_then(|row| row.get_mut(at.reason as usize)),
        };
        if let Some(count) = count {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_once() {
        let at = Undecoded {
            layer: Layer::Nsh,
            reason: Reason::Unsupported,
        };
        let mut stats = DecodeStats::default();
        stats.frame(Ok(Class::Tcp));
        stats.frame(Ok(Class::Filtered));
        stats.frame(Ok(Class::ip(255)));
        stats.frame(Ok(Class::link(LinkProtocol::TunnelControl)));
        stats.frame(Err(at));
        stats.frame(Ok(Class::Fragment));
        assert!(stats.is_balanced());
        assert_eq!((stats.frames, stats.fragments()), (6, 1));
        assert_eq!(stats.undecoded(at), 1);

        let mut join = DecodeStats::default();
        join.resolve(Ok(Class::Fragment));
        join.resolve(Ok(Class::Tcp));
        assert!(!join.is_balanced(), "a resolved fragment needs its frame");
        join.merge(&stats);
        assert!(join.is_balanced());
        assert_eq!((join.tcp, join.filtered, join.fragments()), (2, 1, 0));
        let names: Vec<_> = join.others().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["ip protocol 255", "tunnel_control"]);
    }
}
