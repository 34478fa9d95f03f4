//! The Internet checksum (RFC 1071).

use super::ip::Ip;

/// The ones' complement sum of `bytes`, not yet folded. Sums eight bytes at a time: the sum does
/// not depend on the width of the words it is taken over (RFC 1071, 2 (C)), and is taken in
/// network order throughout.
fn sum(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut total = 0u64;
    for chunk in chunks {
        let word = u64::from_be_bytes(*chunk);
        // Halves of 32 bits: 2³² of them fit before the total could wrap.
        total += (word >> 32) + (word & 0xffff_ffff);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let word = u64::from_be_bytes(last);
    total + (word >> 32) + (word & 0xffff_ffff)
}

/// Whether `bytes`, which contain their checksum, sum up to all ones together with `pseudo`.
pub(super) fn is_valid(pseudo: u64, bytes: &[u8]) -> bool {
    let mut total = pseudo + sum(bytes);
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total == 0xffff
}

/// The sum of the pseudo-header of a TCP segment of `length` bytes (RFC 9293, 3.1; RFC 8200, 8.1).
/// The zeros behind an IPv4 address add nothing.
pub(super) fn tcp_pseudo_header(ip: &Ip, length: usize) -> u64 {
    sum(&ip.source) + sum(&ip.destination) + u64::from(super::ip::protocol::TCP) + length as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071, 4.1, as it stands: 16 bits at a time.
    fn slow(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            total = (total >> 16) + (total & 0xffff);
        }
        u16::try_from(total).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 1071, 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(slow(&bytes), 0xddf2);
        let mut with_checksum = bytes.to_vec();
        with_checksum.extend((!0xddf2u16).to_be_bytes());
        assert!(is_valid(0, &with_checksum));
        with_checksum[3] ^= 1;
        assert!(!is_valid(0, &with_checksum));
    }

    proptest! {
        #[test]
        fn agrees_with_sixteen_bits_at_a_time(mut bytes: Vec<u8>, at: usize, bit in 0u32..8) {
            bytes.truncate(bytes.len() & !1);
            let checksum = !slow(&bytes);
            bytes.extend(checksum.to_be_bytes());
            prop_assert!(is_valid(0, &bytes));
            let at = at % bytes.len();
            bytes[at] ^= 1u8 << bit;
            prop_assert!(!is_valid(0, &bytes));
        }
    }
}
