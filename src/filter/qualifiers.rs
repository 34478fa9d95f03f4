//! What stands before a value and says what it is the value of.

use super::predicate::{Ends, Net, Test};

/// What a value is the value of.
#[derive(Clone, Copy)]
pub(super) struct Qualifiers {
    pub(super) protocol: Protocol,
    pub(super) ends: Ends,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Any,
    Ip,
    Ip6,
    Tcp,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

impl Protocol {
    /// Whether a segment is TCP over it.
    pub(super) fn test(self) -> Test {
        match self {
            Protocol::Ip => Test::Version(4),
            Protocol::Ip6 => Test::Version(6),
            Protocol::Any | Protocol::Tcp => Test::Tcp,
        }
    }

    pub(super) fn allow(self, net: Net) -> Result<Net, String> {
        match (self, net.version) {
            (Protocol::Ip, 6) => Err("'ip' goes with IPv4 addresses".to_owned()),
            (Protocol::Ip6, 4) => Err("'ip6' goes with IPv6 addresses".to_owned()),
            _ => Ok(net),
        }
    }
}

impl Kind {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Host => "an address",
            Kind::Net => "a network",
            Kind::Port => "a port",
            Kind::PortRange => "a range of ports",
            Kind::Proto => "a protocol",
        }
    }
}

impl Qualifiers {
    /// Why they do not go together, if so.
    pub(super) fn mistake(self) -> Option<&'static str> {
        match (self.protocol, self.kind) {
            (Protocol::Tcp, Kind::Host | Kind::Net) => {
                Some("'tcp' goes with ports; for addresses write 'tcp and …'")
            }
            (Protocol::Tcp, Kind::Proto) => Some("'proto' goes with 'ip' or 'ip6'"),
            (Protocol::Ip | Protocol::Ip6, Kind::Port | Kind::PortRange) => {
                Some("ports go with 'tcp'; write 'ip and …' or 'ip6 and …'")
            }
            _ => None,
        }
    }
}
