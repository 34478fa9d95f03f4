//! Sequence space. Thirty-two bits end here: inside, positions are 64-bit stream offsets.

/// The offset whose sequence number is `seq`, the one nearest to `near`, where offset 0 has
/// sequence number `origin`.
///
/// Offsets are signed, since a segment may lie before offset 0 (a keep-alive before the first
/// byte, a stray from an older connection). `near` is an offset that the stream has reached, so
/// that streams past 4 GiB are exact as long as no segment jumps by 2 GiB (RFC 9293, 3.4: the
/// comparison is modulo 2³²).
pub fn unwrap(origin: u32, near: i64, seq: u32) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "modulo 2³²"
    )]
    let near_seq = origin.wrapping_add(near as u32);
    near.saturating_add(i64::from(distance(near_seq, seq)))
}

/// How far `to` lies after `from`, modulo 2³²: from −2³¹ to 2³¹−1.
pub const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crosses_the_wrap_both_ways() {
        let origin = u32::MAX - 9;
        assert_eq!(unwrap(origin, 0, 0), 10);
        assert_eq!(unwrap(origin, 20, u32::MAX), 9);
        assert_eq!(unwrap(origin, 0, origin.wrapping_sub(1)), -1);
        assert_eq!(distance(u32::MAX, 4), 5);
        assert_eq!(distance(4, u32::MAX), -5);
    }

    #[test]
    fn stays_exact_past_four_gibibytes() {
        let origin = 0xfeed_beef;
        let mut near = 0i64;
        for _ in 0..64 {
            let next = near + 0x2000_0001;
            let seq = u32::try_from((i64::from(origin) + next).rem_euclid(1 << 32)).unwrap();
            assert_eq!(unwrap(origin, near, seq), next);
            near = next;
        }
        assert!(near > 8 << 32 >> 1);
    }
}
