//! Which shard owns a flow.

use crate::config::SHARDS;
use crate::model::FlowKey;

/// Odd constants from the digits of π, so that nothing is hidden in them. The seed is fixed: which
/// flows share a memory budget must not change from run to run.
const KEYS: [u64; 5] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];

/// The shard that owns all segments of a key, less than [`SHARDS`]. Both directions of a flow have
/// the same key and so the same shard.
pub fn shard_of(key: &FlowKey) -> usize {
    let ([ports, addresses], rest) = key.words();
    let mut hash = fold(ports ^ KEYS[4], KEYS[0]);
    hash = fold(hash ^ addresses, KEYS[1]);
    for (word, key) in rest.into_iter().zip([KEYS[2], KEYS[3], KEYS[0], KEYS[1]]) {
        if let Some(word) = word {
            hash = fold(hash ^ word, key);
        }
    }
    // The upper bits of a product are mixed best.
    let shards = SHARDS as u128;
    usize::try_from((u128::from(hash) * shards) >> 64).unwrap_or(0)
}

/// The two halves of the 128-bit product, exclusive-or-ed: multiplication as a mixer, as in wyhash.
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
    use crate::model::{Endpoint, FlowTag};

    fn shard(client: [u8; 4], port: u16) -> usize {
        let server = Endpoint::v4([192, 0, 2, 1], 443);
        let (key, _) = FlowKey::v4(Endpoint::v4(client, port), server);
        let (back, _) = FlowKey::v4(server, Endpoint::v4(client, port));
        assert_eq!(shard_of(&key), shard_of(&back));
        shard_of(&key)
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
            let shard = shard_of(&there.tagged(tag));
            assert_eq!(shard, shard_of(&back.tagged(tag)));
            counts[shard] += 1;
        }
        assert!(counts.iter().all(|&n| n > 30 && n < 100), "{counts:?}");
    }

    #[test]
    fn the_shard_of_a_flow_never_changes() {
        assert_eq!(shard([10, 0, 0, 1], 1000), shard([10, 0, 0, 1], 1000));
        assert!((0..100).any(|port| shard([10, 0, 0, 1], port) != shard([10, 0, 0, 1], 1000)));
    }
}
