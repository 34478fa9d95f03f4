//! What a segment was wrapped in on the wire.

use std::fmt;

/// One tunnel header between the frame and the segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tunnel {
    /// GRE (RFC 2784, RFC 2890) around a layer that is not ERSPAN, with its key where that is
    /// tracked.
    Gre(Option<u32>),
    /// ERSPAN type II or III (draft-foschiano-erspan) with its session id.
    Erspan(u16),
    /// VXLAN (RFC 7348) with its network identifier.
    Vxlan(u32),
    /// Geneve (RFC 8926) with its network identifier.
    Geneve(u32),
    /// GTP-U (3GPP TS 29.281) with its tunnel endpoint identifier.
    Gtp(u32),
    /// LISP (RFC 9300) with its instance, where it names one.
    Lisp(Option<u32>),
    /// EoIP, MikroTik's Ethernet in GRE, with its tunnel identifier.
    Eoip(u16),
    /// CAPWAP (RFC 5415).
    Capwap,
    /// TaZmen sniffer protocol.
    Tzsp,
    /// B.A.T.M.A.N. advanced.
    Batman,
    /// Teredo (RFC 4380).
    Teredo,
    /// AYIYA (draft-massar-v6ops-ayiya).
    Ayiya,
    /// Provider backbone bridging (IEEE 802.1ah) with its service identifier.
    Pbb(u32),
    /// Cisco FabricPath.
    FabricPath,
    /// IPv4 in IPv4 (RFC 2003).
    Ip4In4,
    /// IPv6 in IPv4 (RFC 4213).
    Ip6In4,
    /// IPv4 in IPv6 (RFC 2473).
    Ip4In6,
    /// IPv6 in IPv6 (RFC 2473).
    Ip6In6,
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tunnel::Gre(None) => f.write_str("gre"),
            Tunnel::Gre(Some(key)) => write!(f, "gre:{key}"),
            Tunnel::Erspan(id) => write!(f, "erspan:{id}"),
            Tunnel::Vxlan(vni) => write!(f, "vxlan:{vni}"),
            Tunnel::Geneve(vni) => write!(f, "geneve:{vni}"),
            Tunnel::Gtp(teid) => write!(f, "gtp:{teid:#x}"),
            Tunnel::Lisp(None) => f.write_str("lisp"),
            Tunnel::Lisp(Some(instance)) => write!(f, "lisp:{instance}"),
            Tunnel::Eoip(id) => write!(f, "eoip:{id}"),
            Tunnel::Capwap => f.write_str("capwap"),
            Tunnel::Tzsp => f.write_str("tzsp"),
            Tunnel::Batman => f.write_str("batman"),
            Tunnel::Teredo => f.write_str("teredo"),
            Tunnel::Ayiya => f.write_str("ayiya"),
            Tunnel::Pbb(isid) => write!(f, "pbb:{isid}"),
            Tunnel::FabricPath => f.write_str("fabricpath"),
            Tunnel::Ip4In4 => f.write_str("4in4"),
            Tunnel::Ip6In4 => f.write_str("6in4"),
            Tunnel::Ip4In6 => f.write_str("4in6"),
            Tunnel::Ip6In6 => f.write_str("6in6"),
        }
    }
}

/// VLAN tags and tunnels around a segment. A capture has few different ones, so a segment carries
/// an index into its chunk's table of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Encapsulation {
    /// The outermost VLAN id, 0 to 4095.
    pub vlan: Option<u16>,
    /// The second VLAN id of a frame with two or more tags.
    pub inner_vlan: Option<u16>,
    /// Tunnels, outermost first.
    pub tunnels: Vec<Tunnel>,
}

impl Encapsulation {
    /// The `tunnel` column: names joined by commas, outermost first; `None` outside tunnels.
    pub fn tunnel_text(&self) -> Option<String> {
        if self.tunnels.is_empty() {
            return None;
        }
        let names: Vec<String> = self.tunnels.iter().map(Tunnel::to_string).collect();
        Some(names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_named_outermost_first() {
        let mut encapsulation = Encapsulation::default();
        assert_eq!(encapsulation.tunnel_text(), None);
        encapsulation.tunnels = vec![
            Tunnel::Gre(None),
            Tunnel::Gre(Some(7)),
            Tunnel::Vxlan(100),
            Tunnel::Gtp(0x1234),
        ];
        assert_eq!(
            encapsulation.tunnel_text().as_deref(),
            Some("gre,gre:7,vxlan:100,gtp:0x1234")
        );
    }
}
