//! Words to numbers, addresses, networks and ports. What is wrong comes as a message.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::predicate::Net;

/// Ports by name, as services files have them.
const SERVICES: [(&str, u16); 39] = [
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("whois", 43),
    ("tacacs", 49),
    ("domain", 53),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("sunrpc", 111),
    ("nntp", 119),
    ("epmap", 135),
    ("netbios-ssn", 139),
    ("imap2", 143),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("submissions", 465),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("rsync", 873),
    ("imaps", 993),
    ("pop3s", 995),
    ("socks", 1080),
    ("openvpn", 1194),
    ("ms-sql-s", 1433),
    ("mqtt", 1883),
    ("nfs", 2049),
    ("mysql", 3306),
    ("ms-wbt-server", 3389),
    ("sip", 5060),
    ("xmpp-client", 5222),
    ("postgresql", 5432),
    ("redis", 6379),
    ("http-alt", 8080),
];

/// A number as libpcap reads it: decimal, hexadecimal after `0x`, octal after `0`.
pub(super) fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    u32::from_str_radix(digits, radix).ok()
}

/// A port, by number or name.
pub(super) fn port(text: &str) -> Result<u16, String> {
    if let Some(number) = number(text) {
        return u16::try_from(number).map_err(|_| format!("no port: {text} is beyond 65535"));
    }
    let service = SERVICES.iter().find(|(name, _)| *name == text);
    service.map(|(_, port)| *port).ok_or_else(|| {
        let hint = if text.contains('-') {
            "; a range is 'portrange LOW-HIGH'"
        } else {
            ", by number or well-known name"
        };
        format!("expected a port{hint}, found '{text}'")
    })
}

/// Ports from the first to the second, whichever is lower, or one port.
pub(super) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    // Some names hold a hyphen themselves.
    if let Ok(port) = port(text) {
        return Ok(port..=port);
    }
    let (a, b) = text.split_once('-').unwrap_or((text, text));
    let (a, b) = (port(a)?, port(b)?);
    Ok(a.min(b)..=a.max(b))
}

/// One address, as a network of its own.
pub(super) fn host(text: &str) -> Result<Net, String> {
    if let Ok(addr) = text.parse::<Ipv4Addr>() {
        return Ok(net4(addr.to_bits(), u32::MAX));
    }
    if let Ok(addr) = text.parse::<Ipv6Addr>() {
        return Ok(net6(addr.to_bits(), u128::MAX));
    }
    Err(match dotted(text) {
        Some(_) => format!("an address has four parts; write 'net {text}' for a network"),
        None => format!(
            "expected an IPv4 or IPv6 address, found '{text}'; host names are not looked up"
        ),
    })
}

/// A network: an address, or one to three numbers that stand for the first bytes of an IPv4 one.
/// The other bits of its address may be anything until it is [narrowed](narrow).
pub(super) fn net(text: &str) -> Result<Net, String> {
    match dotted(text) {
        Some((addr, bits)) => Ok(net4(addr, leading4(bits))),
        None => host(text).map_err(|_| {
            format!("expected an IPv4 or IPv6 network, found '{text}'; names are not looked up")
        }),
    }
}

/// The network with the prefix length that stands behind a `/`.
pub(super) fn with_length(net: Net, text: &str) -> Result<Net, String> {
    let most = if net.version == 4 { 32 } else { 128 };
    let bits = number(text).filter(|bits| *bits <= most);
    let bits = bits.ok_or_else(|| format!("expected a length from 0 to {most}, found '{text}'"))?;
    narrow(Net {
        mask: leading(bits),
        ..net
    })
}

/// The network with the mask that stands behind `mask`.
pub(super) fn with_mask(net: Net, text: &str) -> Result<Net, String> {
    match dotted(text) {
        Some((mask, _)) if net.version == 4 => narrow(Net {
            mask: net4(mask, u32::MAX).addr,
            ..net
        }),
        Some(_) => Err("an IPv6 network has a length, as in 'net 2001:db8::/32'".to_owned()),
        None => Err(format!("expected a mask like 255.255.0.0, found '{text}'")),
    }
}

fn narrow(net: Net) -> Result<Net, String> {
    let addr = net.addr & net.mask;
    if addr == net.addr {
        return Ok(net);
    }
    let first = if net.version == 4 {
        Ipv4Addr::from_bits((addr >> 96) as u32).to_string()
    } else {
        Ipv6Addr::from_bits(addr).to_string()
    };
    Err(format!(
        "the address has bits outside its mask; the network begins at {first}"
    ))
}

/// One to four decimal numbers with dots between: as leading bytes of an address, and how many bits
/// they are.
fn dotted(text: &str) -> Option<(u32, u32)> {
    let mut bytes = [0; 4];
    let mut bits = 0;
    let mut places = bytes.iter_mut();
    for part in text.split('.') {
        // A leading zero would be octal to some readers.
        let plain = part == "0" || !part.starts_with(['0', '+']);
        *places.next()? = plain.then(|| part.parse().ok()).flatten()?;
        bits += 8;
    }
    Some((u32::from_be_bytes(bytes), bits))
}

fn net4(addr: u32, mask: u32) -> Net {
    Net {
        version: 4,
        addr: u128::from(addr) << 96,
        mask: u128::from(mask) << 96,
    }
}

fn net6(addr: u128, mask: u128) -> Net {
    Net {
        version: 6,
        addr,
        mask,
    }
}

/// A mask of this many leading bits, 0 to 128.
fn leading(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

fn leading4(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits).unwrap_or(0)
}
