//! Who talks to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One end of a flow: an address and a port.
///
/// An IPv4 address fills the first four bytes, the rest are zero; which version it is stands in
/// the [`FlowKey`]. Bytes are in network order, so the derived order is the numeric one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// The address in network byte order.
    pub addr: [u8; 16],
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The end with this IPv4 address.
    pub fn v4(addr: [u8; 4], port: u16) -> Endpoint {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&addr);
        Endpoint { addr: bytes, port }
    }

    /// The end with this IPv6 address.
    pub const fn v6(addr: [u8; 16], port: u16) -> Endpoint {
        Endpoint { addr, port }
    }
}

/// Which of a key's two ends a segment came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The end that compares lower.
    Lower,
    /// The end that compares higher.
    Upper,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Lower => Side::Upper,
            Side::Upper => Side::Lower,
        }
    }
}

/// The identity of a flow on the wire: both ends, order-free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    lower: Endpoint,
    upper: Endpoint,
    version: u8,
}

impl FlowKey {
    /// The key of an IPv4 segment, and the side that sent it.
    pub fn v4(source: Endpoint, destination: Endpoint) -> (FlowKey, Side) {
        FlowKey::new(source, destination, 4)
    }

    /// The key of an IPv6 segment, and the side that sent it.
    pub fn v6(source: Endpoint, destination: Endpoint) -> (FlowKey, Side) {
        FlowKey::new(source, destination, 6)
    }

    fn new(source: Endpoint, destination: Endpoint, version: u8) -> (FlowKey, Side) {
        if source <= destination {
            (
                FlowKey {
                    lower: source,
                    upper: destination,
                    version,
                },
                Side::Lower,
            )
        } else {
            (
                FlowKey {
                    lower: destination,
                    upper: source,
                    version,
                },
                Side::Upper,
            )
        }
    }

    /// The end on this side.
    pub const fn end(&self, side: Side) -> Endpoint {
        match side {
            Side::Lower => self.lower,
            Side::Upper => self.upper,
        }
    }

    /// Both ends are the same, so that nothing tells one direction from the other.
    pub fn is_self_connected(&self) -> bool {
        self.lower == self.upper
    }

    /// 4 or 6.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The address on this side.
    pub fn ip(&self, side: Side) -> IpAddr {
        let addr = self.end(side).addr;
        if self.version == 4 {
            IpAddr::V4(Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3]))
        } else {
            IpAddr::V6(Ipv6Addr::from(addr))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key() {
        let (a, b) = (
            Endpoint::v4([10, 0, 0, 2], 80),
            Endpoint::v4([10, 0, 0, 1], 999),
        );
        let (there, from) = FlowKey::v4(a, b);
        let (back, reply) = FlowKey::v4(b, a);
        assert_eq!(there, back);
        assert_eq!((from, reply), (Side::Upper, Side::Lower));
        assert_eq!(there.ip(from).to_string(), "10.0.0.2");
        assert_eq!(there.end(reply), b);
    }

    #[test]
    fn versions_do_not_collide() {
        let v4 = Endpoint::v4([1, 2, 3, 4], 5);
        let v6 = Endpoint::v6(v4.addr, 5);
        assert_ne!(FlowKey::v4(v4, v4).0, FlowKey::v6(v6, v6).0);
    }
}
