//! Who talks to whom.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha1::{Digest, Sha1};

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

/// Tells flows with equal ends apart: a digest of what is around their segments, the same for both
/// directions. Flows about which nothing of the kind is tracked have the default.
///
/// Seven bytes fill the key up to an even size, and 56 bits are enough: of `n` encapsulations
/// around the same addresses and ports, two share a tag with a chance of about n² / 2⁵⁷, which for
/// ten thousand is one in a billion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowTag([u8; 7]);

impl FlowTag {
    /// The tag of what this text describes. It is part of a hash that must be the same in every
    /// run, and nobody should find a text that has the tag of somebody else's; hence a digest.
    pub fn of(text: &str) -> FlowTag {
        let [tag @ .., _, _, _, _, _, _, _, _, _, _, _, _, _] =
            <[u8; 20]>::from(Sha1::digest(text));
        FlowTag(tag)
    }

    /// The tag as a number below 2⁵⁶; 0 for the default.
    pub fn bits(self) -> u64 {
        let mut bytes = [0; 8];
        bytes[1..].copy_from_slice(&self.0);
        u64::from_be_bytes(bytes)
    }
}

impl Hash for FlowTag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bits());
    }
}

/// The identity of a flow on the wire: both ends, order-free, and the tag.
#[derive(Clone, Copy, Eq, Debug)]
pub struct FlowKey {
    lower: Endpoint,
    upper: Endpoint,
    version: u8,
    tag: FlowTag,
}

impl PartialEq for FlowKey {
    #[inline]
    fn eq(&self, other: &FlowKey) -> bool {
        self.words() == other.words()
    }
}

/// Most keys are of IPv4, and have a quarter of the words. Versions cannot be taken for each other: the
/// first word holds the version.
impl Hash for FlowKey {
    #[expect(clippy::inline_always, reason = "a call for every segment")]
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ([ports, addresses], rest) = self.words();
        state.write_u64(ports);
        state.write_u64(addresses);
        if let Some(rest) = rest {
            for word in rest {
                state.write_u64(word);
            }
        }
    }
}

impl FlowKey {
    /// All that the key is, in numbers, of which IPv4 without a tag needs two.
    #[inline]
    pub fn words(&self) -> ([u64; 2], Option<[u64; 4]>) {
        let (lower, upper) = (&self.lower, &self.upper);
        let ports =
            u64::from(lower.port) << 48 | u64::from(upper.port) << 32 | u64::from(self.version);
        let part = |end: &Endpoint, at: usize| {
            let (parts, _) = end.addr.as_chunks::<4>();
            u64::from(u32::from_be_bytes(parts[at]))
        };
        let pair = |end: &Endpoint, at: usize| part(end, at) << 32 | part(end, at + 1);
        if self.version == 4 {
            let tag = self.tag.bits();
            let addresses = part(lower, 0) << 32 | part(upper, 0);
            return ([ports, addresses], (tag != 0).then_some([tag, 0, 0, 0]));
        }
        let rest = [
            self.tag.bits(),
            pair(lower, 2),
            pair(upper, 0),
            pair(upper, 2),
        ];
        ([ports, pair(lower, 0)], Some(rest))
    }

    /// The key of an IPv4 segment, and the side that sent it.
    pub fn v4(source: Endpoint, destination: Endpoint) -> (FlowKey, Side) {
        FlowKey::new(source, destination, 4)
    }

    /// The key of an IPv6 segment, and the side that sent it.
    pub fn v6(source: Endpoint, destination: Endpoint) -> (FlowKey, Side) {
        FlowKey::new(source, destination, 6)
    }

    #[inline]
    fn new(source: Endpoint, destination: Endpoint, version: u8) -> (FlowKey, Side) {
        let order = |end: &Endpoint| (u128::from_be_bytes(end.addr), end.port);
        if order(&source) <= order(&destination) {
            (
                FlowKey {
                    lower: source,
                    upper: destination,
                    version,
                    tag: FlowTag::default(),
                },
                Side::Lower,
            )
        } else {
            (
                FlowKey {
                    lower: destination,
                    upper: source,
                    version,
                    tag: FlowTag::default(),
                },
                Side::Upper,
            )
        }
    }

    /// The key of the flow with these ends and this tag.
    #[must_use]
    pub const fn tagged(self, tag: FlowTag) -> FlowKey {
        FlowKey { tag, ..self }
    }

    /// The tag.
    pub const fn tag(&self) -> FlowTag {
        self.tag
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
        ip_addr(self.end(side).addr, self.version)
    }
}

/// The address in these bytes: an IPv4 address fills the first four.
pub fn ip_addr(addr: [u8; 16], version: u8) -> IpAddr {
    if version == 4 {
        IpAddr::V4(Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3]))
    } else {
        IpAddr::V6(Ipv6Addr::from(addr))
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

    #[test]
    fn tags_tell_equal_ends_apart() {
        let (key, _) = FlowKey::v4(Endpoint::v4([1, 2, 3, 4], 5), Endpoint::v4([1, 2, 3, 5], 5));
        assert_eq!(key.tagged(FlowTag::default()), key);
        let (one, two) = (FlowTag::of("vlan:1"), FlowTag::of("vlan:2"));
        assert_ne!(key.tagged(one), key.tagged(two));
        assert_ne!(key.tagged(one), key);
        // SHA-1 of "abc" (FIPS 180-4) begins a9993e364706816a….
        assert_eq!(FlowTag::of("abc").bits(), 0x00a9_993e_3647_0681);
    }

    /// There are as many segments in memory as in two batches of the capture.
    #[test]
    fn segments_stay_small() {
        // Millions of them are written and read once a batch.
        assert_eq!(size_of::<FlowKey>(), 44);
        assert!(size_of::<crate::model::Segment>() <= 128);
    }
}
