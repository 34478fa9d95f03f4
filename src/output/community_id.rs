//! Community ID version 1: one short name for a flow that many tools compute alike.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::model::{FlowKey, Side};

/// IANA's protocol number of TCP.
const TCP: u8 = 6;

/// Length of every id: `1:` and 28 characters of base64.
const LEN: usize = 30;

/// The Community ID v1 of a TCP flow, the same for both directions.
pub fn community_id(key: &FlowKey, seed: u16) -> String {
    let mut id = String::with_capacity(LEN);
    push_community_id(&mut id, key, seed);
    id
}

/// Appends what [`community_id`] gives.
///
/// The digest is over seed, lower address, upper address, protocol, a zero, lower port, upper
/// port, all in network byte order; a [`FlowKey`] has its ends in that very order.
pub(super) fn push_community_id(out: &mut String, key: &FlowKey, seed: u16) {
    let (lower, upper) = (key.end(Side::Lower), key.end(Side::Upper));
    let width = match key.ip(Side::Lower) {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    };
    let mut message = [0; 2 + 16 + 16 + 2 + 4];
    let mut len = 0;
    let parts: [&[u8]; 6] = [
        &seed.to_be_bytes(),
        &lower.addr[..width],
        &upper.addr[..width],
        &[TCP, 0],
        &lower.port.to_be_bytes(),
        &upper.port.to_be_bytes(),
    ];
    for part in parts {
        message[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    let digest: [u8; 20] = Sha1::digest(&message[..len]).into();
    out.push_str("1:");
    push_base64(out, &digest);
}

/// Appends the base64 text (RFC 4648, 4) of a SHA-1 digest, padding included.
fn push_base64(out: &mut String, digest: &[u8; 20]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 28];
    for (group, letters) in digest.chunks(3).zip(text.chunks_mut(4)) {
        let mut bits = 0;
        for i in 0..3 {
            bits = bits << 8 | u32::from(group.get(i).copied().unwrap_or(0));
        }
        for (i, letter) in letters.iter_mut().take(group.len() + 1).enumerate() {
            *letter = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
        }
    }
    out.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn id(a: (&str, u16), b: (&str, u16), seed: u16) -> String {
        let key = match (a.0.parse().unwrap(), b.0.parse().unwrap()) {
            (IpAddr::V4(x), IpAddr::V4(y)) => {
                FlowKey::v4(Endpoint::v4(x.octets(), a.1), Endpoint::v4(y.octets(), b.1))
            }
            (IpAddr::V6(x), IpAddr::V6(y)) => {
                FlowKey::v6(Endpoint::v6(x.octets(), a.1), Endpoint::v6(y.octets(), b.1))
            }
            _ => unreachable!("one version"),
        };
        community_id(&key.0, seed)
    }

    #[test]
    fn agrees_with_the_specification_baseline() {
        let v4 = (("128.232.110.120", 34855), ("66.35.250.204", 80));
        let v6 = (
            ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943),
            ("2607:f8b0:400c:c03::1a", 25),
        );
        for (ends, seed, expected) in [
            (v4, 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (v4, 1, "1:3V71V58M3Ksw/yuFALMcW0LAHvc="),
            (v6, 0, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
            (v6, 1, "1:eJYTW6AOzFLlSUoESovMjnu7rMw="),
        ] {
            assert_eq!(id(ends.0, ends.1, seed), expected);
            assert_eq!(id(ends.1, ends.0, seed), expected);
            assert_eq!(expected.len(), LEN);
        }
    }
}
