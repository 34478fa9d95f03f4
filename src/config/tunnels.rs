//! Tunnels over UDP, and the ports on which to look for them.

use std::fmt;
use std::str::FromStr;

/// A tunnel over UDP that can be told to be on a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum UdpTunnel {
    /// VXLAN (RFC 7348), with its generic protocol extension where the header says so.
    Vxlan,
    /// VXLAN's generic protocol extension alone (draft-ietf-nvo3-vxlan-gpe).
    VxlanGpe,
    /// Geneve (RFC 8926).
    Geneve,
    /// GTP-U, versions 0 and 1 (3GPP TS 09.60, TS 29.281).
    Gtp,
    /// LISP data (RFC 9300).
    Lisp,
    /// TaZmen sniffer protocol.
    Tzsp,
    /// CAPWAP data (RFC 5415).
    Capwap,
    /// L2TP version 2 (RFC 2661).
    L2tp,
    /// Teredo (RFC 4380).
    Teredo,
    /// AYIYA (draft-massar-v6ops-ayiya).
    Ayiya,
    /// MPLS in UDP (RFC 7510).
    Mpls,
}

impl UdpTunnel {
    /// All values, in the order of the declaration.
    pub const ALL: [UdpTunnel; 11] = [
        UdpTunnel::Vxlan,
        UdpTunnel::VxlanGpe,
        UdpTunnel::Geneve,
        UdpTunnel::Gtp,
        UdpTunnel::Lisp,
        UdpTunnel::Tzsp,
        UdpTunnel::Capwap,
        UdpTunnel::L2tp,
        UdpTunnel::Teredo,
        UdpTunnel::Ayiya,
        UdpTunnel::Mpls,
    ];

    /// The name on the command line and in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            UdpTunnel::Vxlan => "vxlan",
            UdpTunnel::VxlanGpe => "vxlan-gpe",
            UdpTunnel::Geneve => "geneve",
            UdpTunnel::Gtp => "gtp",
            UdpTunnel::Lisp => "lisp",
            UdpTunnel::Tzsp => "tzsp",
            UdpTunnel::Capwap => "capwap",
            UdpTunnel::L2tp => "l2tp",
            UdpTunnel::Teredo => "teredo",
            UdpTunnel::Ayiya => "ayiya",
            UdpTunnel::Mpls => "mpls",
        }
    }
}

/// `TUNNEL=PORT`: a port on which to look for a tunnel, beside those that are registered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TunnelPort {
    port: u16,
    tunnel: UdpTunnel,
}

impl FromStr for TunnelPort {
    type Err = String;

    fn from_str(text: &str) -> Result<TunnelPort, String> {
        let (name, port) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}' names no port; write for example vxlan=14789"))?;
        let known = UdpTunnel::ALL
            .into_iter()
            .find(|tunnel| tunnel.name() == name);
        let tunnel = known.ok_or_else(|| {
            let names = UdpTunnel::ALL.map(UdpTunnel::name).join(", ");
            format!("no tunnel '{name}'; there are {names}")
        })?;
        // A plus sign, which the standard library takes, is a slip.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port @ 1..) if digits => Ok(TunnelPort { port, tunnel }),
            _ => Err(format!("'{port}' is no UDP port from 1 to 65535")),
        }
    }
}

impl fmt::Display for TunnelPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.tunnel.name(), self.port)
    }
}

/// The ports that the user named.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TunnelPorts {
    /// Each once, by port and then in the order of [`UdpTunnel::ALL`].
    all: Vec<TunnelPort>,
}

impl TunnelPorts {
    /// In whatever order they were named.
    pub fn new(ports: impl IntoIterator<Item = TunnelPort>) -> TunnelPorts {
        let mut all: Vec<TunnelPort> = ports.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        TunnelPorts { all }
    }

    /// The tunnels to look for on a port.
    pub fn on(&self, port: u16) -> impl Iterator<Item = UdpTunnel> + '_ {
        let first = self.all.partition_point(|known| known.port < port);
        self.all
            .iter()
            .skip(first)
            .take_while(move |known| known.port == port)
            .map(|known| known.tunnel)
    }

    /// As they may be typed.
    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(TunnelPort::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_in_whatever_order_they_were_named() {
        let texts = ["gtp=9000", "vxlan=14789", "geneve=9000", "gtp=9000"];
        let ports = TunnelPorts::new(texts.map(|text| text.parse().unwrap()));
        assert_eq!(ports.names(), ["geneve=9000", "gtp=9000", "vxlan=14789"]);
        let on = |port| ports.on(port).collect::<Vec<_>>();
        assert_eq!(on(9000), [UdpTunnel::Geneve, UdpTunnel::Gtp]);
        assert_eq!(on(14789), [UdpTunnel::Vxlan]);
        assert_eq!(on(1), []);
        assert_eq!(on(65535), []);
    }

    #[test]
    fn every_tunnel_has_a_name_that_is_read_again() {
        for tunnel in UdpTunnel::ALL {
            let text = format!("{}=65535", tunnel.name());
            assert_eq!(text.parse::<TunnelPort>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (text, reason) in [
            (
                "vxlan",
                "'vxlan' names no port; write for example vxlan=14789",
            ),
            ("14789", "names no port"),
            ("vxlan=", "'' is no UDP port from 1 to 65535"),
            ("vxlan=0", "'0' is no UDP port"),
            ("vxlan=65536", "'65536' is no UDP port"),
            ("vxlan=+80", "'+80' is no UDP port"),
            ("vxlan=a", "'a' is no UDP port"),
            (
                "ssh=22",
                "no tunnel 'ssh'; there are vxlan, vxlan-gpe, geneve",
            ),
            ("=22", "no tunnel ''"),
        ] {
            let error = text.parse::<TunnelPort>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
