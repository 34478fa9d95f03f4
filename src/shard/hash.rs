//! Which shard owns a flow.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::config::SHARDS;
use crate::model::{FlowKey, RawFrame};

/// Decides which shard owns a flow. Flows of one shard share a memory budget, so whoever could tell them
/// beforehand could push a flow out with few others.
///
/// It is the digest of a capture's first frame: the same in every run, and known to nobody before that
/// frame was captured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShardSeed {
    digest: [u8; 32],
    keys: [u64; 5],
}

impl ShardSeed {
    /// That of a capture whose first frame this is: SHA-256 of its time (nanoseconds in eight bytes, the
    /// least number for none), its length on the wire (four bytes), both little-endian, and its captured
    /// bytes.
    pub fn of(first: &RawFrame<'_>) -> ShardSeed {
        let ns = first.ts.ns().unwrap_or(i64::MIN);
        let mut hasher = Sha256::new();
        hasher.update(ns.to_le_bytes());
        hasher.update(first.original_len.to_le_bytes());
        hasher.update(first.data);
        ShardSeed::of_digest(hasher.finalize().into())
    }

    fn of_digest(digest: [u8; 32]) -> ShardSeed {
        let more: [u8; 32] = Sha256::digest(digest).into();
        let mut keys = [0; 5];
        let words = digest.chunks_exact(8).chain(more.chunks_exact(8));
        for (key, word) in keys.iter_mut().zip(words) {
            // Multiplication by an even number would lose a bit.
            *key = u64::from_le_bytes(word.try_into().unwrap_or_default()) | 1;
        }
        ShardSeed { digest, keys }
    }

    /// The shard that owns all segments of a key, less than [`SHARDS`]. Both directions of a flow have
    /// the same key and so the same shard.
    #[inline]
    pub fn shard_of(&self, key: &FlowKey) -> usize {
        let keys = &self.keys;
        let ([ports, addresses], rest) = key.words();
        let mut hash = fold(ports ^ keys[4], keys[0]);
        hash = fold(hash ^ addresses, keys[1]);
        let others = [keys[2], keys[3], keys[0], keys[1]];
        for (word, key) in rest.into_iter().flatten().zip(others) {
            hash = fold(hash ^ word, key);
        }
        // The upper bits of a product are mixed best.
        let shards = SHARDS as u128;
        usize::try_from((u128::from(hash) * shards) >> 64).unwrap_or(0)
    }
}

/// That of a capture without frames: the digest of nothing.
impl Default for ShardSeed {
    fn default() -> ShardSeed {
        ShardSeed::of_digest(Sha256::digest([]).into())
    }
}

/// The digest, in hexadecimal.
impl fmt::Display for ShardSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ShardSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardSeed({self})")
    }
}

/// The two halves of the 128-bit product, exclusive-or-ed: multiplication as a mixer, as in wyhash.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    {
        (product >> 64) as u64 ^ product as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, FlowTag, InputPos, LinkType, TimeUnit, Timestamp};

    /// That of a first frame with these bytes.
    fn seed(data: &[u8]) -> ShardSeed {
        ShardSeed::of(&first(data))
    }

    fn first(data: &[u8]) -> RawFrame<'_> {
        RawFrame {
            ts: Timestamp::from_ns(1),
            unit: TimeUnit::Nano,
            link: LinkType(1),
            data,
            at: InputPos::new(0, 0),
            original_len: 60,
            fcs_len: 0,
        }
    }

    fn shard_by(seed: &ShardSeed, client: [u8; 4], port: u16) -> usize {
        let server = Endpoint::v4([192, 0, 2, 1], 443);
        let (key, _) = FlowKey::v4(Endpoint::v4(client, port), server);
        let (back, _) = FlowKey::v4(server, Endpoint::v4(client, port));
        assert_eq!(seed.shard_of(&key), seed.shard_of(&back));
        seed.shard_of(&key)
    }

    fn shard(client: [u8; 4], port: u16) -> usize {
        shard_by(&ShardSeed::default(), client, port)
    }

    #[test]
    fn neighbouring_clients_spread_evenly() {
        let mut counts = [0u32; SHARDS];
        for host in 0..=255 {
            for port in 0..100 {
                counts[shard([10, 0, 0, host], 40_000 + port)] += 1;
            }
        }
        let mean = 25_600 / u32::try_from(SHARDS).unwrap();
        assert!(
            counts.iter().all(|&n| n > mean * 3 / 4 && n < mean * 5 / 4),
            "{counts:?}"
        );
    }

    #[test]
    fn tags_spread_equal_ends_and_both_directions_stay_together() {
        let (a, b) = (
            Endpoint::v4([10, 0, 0, 1], 1000),
            Endpoint::v4([10, 0, 0, 2], 80),
        );
        let (there, back) = (FlowKey::v4(a, b).0, FlowKey::v4(b, a).0);
        let mut counts = [0u32; SHARDS];
        for vlan in 1..4095 {
            let tag = FlowTag::of(&format!("vlan:{vlan}"));
            let seed = ShardSeed::default();
            let shard = seed.shard_of(&there.tagged(tag));
            assert_eq!(shard, seed.shard_of(&back.tagged(tag)));
            counts[shard] += 1;
        }
        assert!(counts.iter().all(|&n| n > 30 && n < 100), "{counts:?}");
    }

    #[test]
    fn the_shard_of_a_flow_never_changes() {
        assert_eq!(shard([10, 0, 0, 1], 1000), shard([10, 0, 0, 1], 1000));
        assert!((0..100).any(|port| shard([10, 0, 0, 1], port) != shard([10, 0, 0, 1], 1000)));
    }

    #[test]
    fn the_seed_is_the_digest_of_time_length_and_bytes() {
        let mut hasher = Sha256::new();
        hasher.update([1, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0]);
        hasher.update(b"frame");
        let digest: [u8; 32] = hasher.finalize().into();
        assert_eq!(seed(b"frame"), ShardSeed::of_digest(digest));
        assert!(
            seed(b"frame")
                .to_string()
                .starts_with(&format!("{:02x}", digest[0]))
        );
        let frame = first(b"frame");
        let others = [
            RawFrame {
                ts: Timestamp::NONE,
                ..frame
            },
            RawFrame {
                ts: Timestamp::from_ns(2),
                ..frame
            },
            RawFrame {
                original_len: 61,
                ..frame
            },
            first(b"Frame"),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(ShardSeed::of(other), seed(b"frame"));
            let later = &others[at + 1..];
            assert!(
                later
                    .iter()
                    .all(|one| ShardSeed::of(one) != ShardSeed::of(other))
            );
        }
        // Where its bytes lie and what they are is none of it.
        let elsewhere = RawFrame {
            at: InputPos::new(3, 77),
            link: LinkType(101),
            unit: TimeUnit::Micro,
            fcs_len: 4,
            ..frame
        };
        assert_eq!(ShardSeed::of(&elsewhere), seed(b"frame"));
    }

    /// Who knows the shards of one seed knows nothing of those of another: flows that share a shard
    /// there are spread like any others here.
    #[test]
    fn flows_of_one_shard_are_spread_by_another_seed() {
        let old = seed(b"guessed");
        let mut together = Vec::new();
        for host in 0..=255 {
            for port in 0..800 {
                if shard_by(&old, [10, 0, host, 7], port) == 7 {
                    together.push((host, port));
                }
            }
        }
        assert!(together.len() > 2_500, "{}", together.len());
        for frame in 0..32_u8 {
            let new = seed(&[frame]);
            let mut counts = [0_usize; SHARDS];
            for &(host, port) in &together {
                counts[shard_by(&new, [10, 0, host, 7], port)] += 1;
            }
            let most = counts.iter().max().unwrap();
            assert!(*most < together.len() / 20, "{counts:?}");
        }
    }
}
