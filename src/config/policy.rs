//! Policies that may differ by destination: receivers resolve overlaps in different ways, so what
//! a receiver saw depends on which one it was.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IP network: an address and the number of leading bits that count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Network {
    address: IpAddr,
    /// 0 to 32 or 128.
    prefix: u8,
}

/// The address in the upper bits, so that prefixes of both versions count from the same end.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    /// Whether an address of the same version lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && (bits(self.address) ^ bits(address)).leading_zeros() >= u32::from(self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    /// `10.0.0.0/8`, `fd00::/8`, or an address for itself alone. Bits behind the prefix are
    /// refused: they are a slip of the pen more often than not.
    fn from_str(text: &str) -> Result<Network, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            format!("'{address}' is no IP address; write for example 10.0.0.0/8 or fd00::/8")
        })?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= width)
                .ok_or_else(|| format!("'{prefix}' is no prefix length from 0 to {width}"))?,
        };
        if bits(address).checked_shl(prefix.into()).unwrap_or(0) != 0 {
            return Err(format!(
                "{address}/{prefix} has bits behind its prefix; write the network's own address"
            ));
        }
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// `[NET=]POLICY`: a policy for the receivers in one network, or for all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyRule<P> {
    network: Option<Network>,
    policy: P,
}

impl<P: FromStr<Err = String>> FromStr for PolicyRule<P> {
    type Err = String;

    fn from_str(text: &str) -> Result<PolicyRule<P>, String> {
        let (network, policy) = match text.split_once('=') {
            Some((network, policy)) => (Some(network.parse()?), policy),
            None => (None, text),
        };
        let policy = policy.parse()?;
        Ok(PolicyRule { network, policy })
    }
}

/// A policy for every destination: that of the longest prefix which holds it, or the default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyMap<P> {
    default: P,
    /// Longest prefix first; no network twice.
    networks: Vec<(Network, P)>,
}

impl<P: Copy + Default> PolicyMap<P> {
    /// The map that the rules come to. Of two rules for the same network, or for all others, the
    /// later one counts.
    pub fn new(rules: impl IntoIterator<Item = PolicyRule<P>>) -> PolicyMap<P> {
        let mut map = PolicyMap::default();
        for PolicyRule { network, policy } in rules {
            let Some(network) = network else {
                map.default = policy;
                continue;
            };
            map.networks.retain(|(known, _)| *known != network);
            map.networks.push((network, policy));
        }
        map.networks
            .sort_by_key(|(network, _)| (Reverse(network.prefix), network.address));
        map
    }
}

impl<P: Copy> PolicyMap<P> {
    /// The policy of the receiver at this address.
    pub fn of(&self, destination: IpAddr) -> P {
        self.networks
            .iter()
            .find(|(network, _)| network.contains(destination))
            .map_or(self.default, |(_, policy)| *policy)
    }
}

/// The rules, joined by commas, as they may be typed.
impl<P: fmt::Display> fmt::Display for PolicyMap<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        for (network, policy) in &self.networks {
            write!(f, ",{network}={policy}")?;
        }
        Ok(())
    }
}

/// The value with this name; the error lists all names.
pub fn by_name<P: Copy>(
    all: &[P],
    name: impl Fn(P) -> &'static str,
    text: &str,
) -> Result<P, String> {
    let known = all.iter().copied().find(|&policy| name(policy) == text);
    known.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&policy| name(policy)).collect();
        format!("no policy '{text}'; there are {}", names.join(", "))
    })
}

/// Which of two overlapping IP fragments gives the bytes that both cover. The rules compare the
/// fragments as they were sent. Systems that trim stored fragments may decide otherwise where
/// three overlap.
///
/// Sources: Shankar and Paxson, "Active Mapping", 2003 (first, last, bsd, bsd-right, linux);
/// Novak, "Target-Based Fragmentation Reassembly", 2005 (windows, solaris).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FragmentPolicy {
    /// The one that came first.
    First,
    /// The one that came last (RFC 791, 3.2).
    Last,
    /// The one that begins at the lower offset; of two that begin together the first.
    #[default]
    Bsd,
    /// The one that begins at the higher offset; of two that begin together the last.
    BsdRight,
    /// The one that begins at the lower offset; of two that begin together the last. Linux does so
    /// no longer: see [`FragmentPolicy::Drop`].
    Linux,
    /// The first, unless the later one begins before it and ends where it ends or behind.
    Solaris,
    /// The first, unless the later one begins before it and ends behind it.
    Windows,
    /// None: a datagram with overlapping fragments is discarded whole, as RFC 5722 (4) and RFC 8200
    /// (4.5) demand for IPv6, and as Linux does for both versions. Exact copies of a fragment are
    /// no overlap (RFC 8200, 4.5).
    Drop,
}

impl FragmentPolicy {
    /// All values, in the order of the declaration.
    pub const ALL: [FragmentPolicy; 8] = [
        FragmentPolicy::First,
        FragmentPolicy::Last,
        FragmentPolicy::Bsd,
        FragmentPolicy::BsdRight,
        FragmentPolicy::Linux,
        FragmentPolicy::Solaris,
        FragmentPolicy::Windows,
        FragmentPolicy::Drop,
    ];

    /// The name on the command line and in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            FragmentPolicy::First => "first",
            FragmentPolicy::Last => "last",
            FragmentPolicy::Bsd => "bsd",
            FragmentPolicy::BsdRight => "bsd-right",
            FragmentPolicy::Linux => "linux",
            FragmentPolicy::Solaris => "solaris",
            FragmentPolicy::Windows => "windows",
            FragmentPolicy::Drop => "drop",
        }
    }
}

impl fmt::Display for FragmentPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FragmentPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<FragmentPolicy, String> {
        by_name(&FragmentPolicy::ALL, FragmentPolicy::name, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(rules: &[&str]) -> PolicyMap<FragmentPolicy> {
        PolicyMap::new(rules.iter().map(|rule| rule.parse().unwrap()))
    }

    fn policy(map: &PolicyMap<FragmentPolicy>, address: &str) -> &'static str {
        map.of(address.parse().unwrap()).name()
    }

    #[test]
    fn the_longest_prefix_decides() {
        for rules in [
            [
                "first",
                "10.0.0.0/8=linux",
                "10.1.0.0/16=last",
                "10.1.2.3=drop",
                "fd00::/8=windows",
            ],
            [
                "fd00::/8=windows",
                "10.1.2.3/32=drop",
                "10.1.0.0/16=last",
                "10.0.0.0/8=linux",
                "first",
            ],
        ] {
            let map = map(&rules);
            assert_eq!(policy(&map, "10.2.0.0"), "linux");
            assert_eq!(policy(&map, "10.1.255.255"), "last");
            assert_eq!(policy(&map, "10.1.2.3"), "drop");
            assert_eq!(policy(&map, "11.0.0.0"), "first");
            assert_eq!(policy(&map, "fdff::1"), "windows");
            assert_eq!(policy(&map, "fe00::1"), "first");
            // 10.0.0.0/8 in the upper bits of an IPv6 address.
            assert_eq!(policy(&map, "a00::"), "first");
        }
    }

    #[test]
    fn a_network_may_be_everything_of_its_version() {
        let map = map(&["last", "0.0.0.0/0=linux", "::/0=drop"]);
        assert_eq!(policy(&map, "255.1.1.1"), "linux");
        assert_eq!(policy(&map, "ffff::"), "drop");
        assert_eq!(policy(&PolicyMap::default(), "::"), "bsd");
    }

    #[test]
    fn a_later_rule_replaces_an_earlier_one() {
        let map = map(&["first", "10.0.0.0/8=linux", "last", "10.0.0.0/8=drop"]);
        assert_eq!(map.to_string(), "last,10.0.0.0/8=drop");
    }

    #[test]
    fn the_text_of_a_map_is_that_map_again() {
        let all = map(&[
            "windows",
            "10.0.0.0/8=bsd-right",
            "fd00::1=solaris",
            "9.0.0.0/8=first",
        ]);
        let text = all.to_string();
        assert_eq!(
            text,
            "windows,fd00::1/128=solaris,9.0.0.0/8=first,10.0.0.0/8=bsd-right"
        );
        assert_eq!(map(&text.split(',').collect::<Vec<_>>()), all);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (text, reason) in [
            (
                "beos",
                "no policy 'beos'; there are first, last, bsd, bsd-right",
            ),
            ("10.0.0.0/8=beos", "no policy 'beos'"),
            ("10.0.0.0/8=", "no policy ''"),
            ("=linux", "'' is no IP address"),
            ("10.0.0/8=linux", "'10.0.0' is no IP address"),
            ("10.0.0.0/33=linux", "'33' is no prefix length from 0 to 32"),
            ("fd00::/129=linux", "from 0 to 128"),
            ("10.0.0.0/=linux", "'' is no prefix length"),
            ("10.1.0.0/8=linux", "10.1.0.0/8 has bits behind its prefix"),
        ] {
            let error = text.parse::<PolicyRule<FragmentPolicy>>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        /// Against the rule as it is told: the address belongs to a network if its first bits are
        /// the network's, one by one.
        #[test]
        fn agrees_with_bits_one_by_one(address: u32, other: u32, prefix in 0u8..=32, flip in 0u32..32) {
            let bit = |value: u32, at: u32| value >> (31 - at) & 1;
            let kept: u32 = (0..u32::from(prefix)).map(|at| bit(address, at) << (31 - at)).sum();
            let network: Network = format!("{}/{prefix}", std::net::Ipv4Addr::from(kept)).parse().unwrap();
            for probe in [address, other, address ^ 1 << flip] {
                let wanted = (0..u32::from(prefix)).all(|at| bit(probe, at) == bit(kept, at));
                let probe = IpAddr::V4(probe.into());
                prop_assert_eq!(network.contains(probe), wanted);
            }
        }
    }
}
