//! Who wins where fragments overlap.

use proptest::prelude::*;

use super::tests::{Capture, TIMEOUT};
use super::*;
use crate::decode::tests::build::*;
use crate::decode::{Layer, Reason, Undecoded};

/// A published test: fragments in the order they are sent, as (letter, first block, blocks) with
/// blocks of eight bytes, and what each policy makes of them, a letter for each block.
struct Vector {
    fragments: &'static [(char, u16, u16)],
    results: &'static [(&'static str, &'static str)],
}

const VECTORS: [Vector; 2] = [
    // Novak, "Target-Based Fragmentation Reassembly", 2005, with the results that Suricata's tests
    // expect; that of bsd-right follows from its rule.
    Vector {
        fragments: &[
            ('A', 0, 3),
            ('B', 4, 2),
            ('C', 6, 3),
            ('D', 10, 1),
            ('E', 13, 2),
            ('F', 15, 3),
            ('G', 18, 2),
            ('H', 20, 2),
            ('I', 22, 1),
            ('J', 1, 4),
            ('K', 6, 3),
            ('L', 9, 3),
            ('M', 12, 3),
            ('N', 16, 1),
            ('O', 19, 1),
            ('P', 20, 1),
            ('Q', 22, 2),
        ],
        results: &[
            ("first", "AAAJBBCCCLDLMEEFFFGGHHIQ"),
            ("last", "AJJJJBKKKLLLMMMFNFGOPHQQ"),
            ("bsd", "AAAJJBCCCLLLMMMFFFGGHHIQ"),
            ("bsd-right", "AJJJBBKKKLDLMEEFNFGOPHQQ"),
            ("linux", "AAAJJBKKKLLLMMMFFFGGPHQQ"),
            ("solaris", "AAAJBBCCCLLLMMMFFFGGHHIQ"),
            ("windows", "AAAJBBCCCLLLMEEFFFGGHHIQ"),
        ],
    },
    // Shankar and Paxson, "Active Mapping", 2003; the block in front of their first is a header.
    Vector {
        fragments: &[
            ('1', 0, 3),
            ('2', 4, 2),
            ('3', 6, 3),
            ('4', 1, 4),
            ('5', 6, 3),
            ('6', 9, 3),
        ],
        results: &[
            ("first", "111422333666"),
            ("last", "144442555666"),
            ("bsd", "111442333666"),
            ("bsd-right", "144422555666"),
            ("linux", "111442555666"),
        ],
    },
];

/// Bytes of a first fragment that holds the TCP header and overlaps nothing.
const HEAD: u16 = 24;

fn fragment(version: u8, start: u16, more: bool, bytes: &[u8]) -> Vec<u8> {
    if version == 4 {
        return ipv4_fragment(6, 1, start, more, bytes);
    }
    let field = (start | u16::from(more)).to_be_bytes();
    ipv6(44, &cat![[6, 0], field, [0, 0, 0, 1], bytes])
}

impl Vector {
    fn capture(&self, version: u8, policies: &str) -> Capture {
        let mut capture = Capture::with(policies);
        capture.push(0, &fragment(version, 0, true, &tcp(&[], b"head")));
        let last = self.fragments.last().unwrap().0;
        for &(letter, block, blocks) in self.fragments {
            let bytes = vec![letter as u8; usize::from(blocks) * 8];
            let packet = fragment(version, HEAD + block * 8, letter != last, &bytes);
            capture.push(0, &packet);
        }
        capture
    }
}

fn blocks(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|letter| [letter; 8]).collect()
}

#[test]
fn published_vectors() {
    for vector in &VECTORS {
        for &(policy, wanted) in vector.results {
            for version in [4, 6] {
                let found = vector.capture(version, policy).segments();
                let [(_, payload)] = &found[..] else {
                    panic!("{policy}: {} segments", found.len());
                };
                let payload = String::from_utf8_lossy(payload);
                let wanted = cat![b"head", blocks(wanted)];
                assert_eq!(payload, String::from_utf8_lossy(&wanted), "{policy}");
            }
        }
    }
}

#[test]
fn every_policy_that_keeps_something_has_a_vector() {
    let tested = VECTORS[0].results.iter().map(|(policy, _)| *policy);
    let all = FragmentPolicy::ALL.map(FragmentPolicy::name);
    assert!(tested.eq(all.into_iter().filter(|name| *name != "drop")));
}

#[test]
fn the_receiver_chooses_the_policy() {
    // 10.0.0.2 and fd00::2 receive.
    let rules = "first,10.0.0.2=linux,10.0.0.0/8=last,fd00::/16=windows";
    for (version, policy) in [(4, "linux"), (6, "windows")] {
        let by_rules = VECTORS[0].capture(version, rules).segments();
        let alone = VECTORS[0].capture(version, policy).segments();
        assert_eq!(by_rules, alone);
    }
}

#[test]
fn conflicts_are_counted_in_bytes_and_datagrams() {
    let wanted = VECTORS[0].results[0].1;
    let stats = VECTORS[0].capture(4, "first").stats();
    // Every block that was sent and is not in the result.
    let sent: u16 = VECTORS[0]
        .fragments
        .iter()
        .map(|(_, _, blocks)| blocks)
        .sum();
    let lost = u64::from(sent) - wanted.len() as u64;
    assert_eq!(stats.conflict_bytes, lost * 8);
    assert_eq!((stats.conflict_datagrams, stats.dropped), (1, 0));

    let mut same = Capture::default();
    same.push(0, &fragment(4, 0, true, &tcp(&[], b"head")));
    same.push(0, &fragment(4, 24, true, &[7; 16]));
    same.push(0, &fragment(4, 32, false, &[7; 16]));
    assert_eq!(same.segments().len(), 1);
    let stats = same.stats();
    assert_eq!((stats.overlapping, stats.conflicting), (1, 0));
    assert_eq!((stats.conflict_bytes, stats.conflict_datagrams), (0, 0));
}

/// Fragments as (start, bytes), in order; the last one ends the datagram.
fn dropped(version: u8, fragments: &[(u16, &[u8])]) -> bool {
    let mut capture = Capture::with("drop");
    for (at, (start, bytes)) in fragments.iter().enumerate() {
        let more = at + 1 < fragments.len();
        capture.push(0, &fragment(version, *start, more, bytes));
    }
    let (run, stats) = capture.run(1);
    let layer = if version == 4 {
        Layer::Ipv4
    } else {
        Layer::Ipv6
    };
    let at = Undecoded {
        layer,
        reason: Reason::OverlappingFragments,
    };
    assert_eq!(run.stats.undecoded(at), stats.dropped);
    assert_eq!(stats.dropped + stats.datagrams, 1);
    assert_eq!(capture.segments().len() as u64, stats.datagrams);
    assert_eq!(stats.incomplete_at_end, 0);
    stats.dropped == 1
}

#[test]
fn a_datagram_with_overlapping_fragments_is_dropped_whole() {
    let head = tcp(&[], b"head");
    for version in [4, 6] {
        let is_dropped = |fragments: &[(u16, &[u8])]| dropped(version, fragments);
        assert!(!is_dropped(&[(0, &head), (24, &[1; 16])]));
        // By one block, though the bytes are the same, from either side.
        assert!(is_dropped(&[(0, &head), (24, &[1; 16]), (32, &[1; 16])]));
        assert!(is_dropped(&[
            (0, &head),
            (32, &[1; 16]),
            (24, &[1; 16]),
            (48, &[1; 8])
        ]));
        // Within another one, or around it.
        assert!(is_dropped(&[
            (0, &head),
            (24, &[1; 24]),
            (32, &[1; 8]),
            (48, &[1; 8])
        ]));
        assert!(is_dropped(&[
            (0, &head),
            (32, &[1; 8]),
            (24, &[1; 24]),
            (48, &[1; 8])
        ]));
        assert!(is_dropped(&[
            (0, &head),
            (24, &[1; 24]),
            (24, &[1; 8]),
            (48, &[1; 8])
        ]));
        // An exact copy is none; a copy that says something else is.
        assert!(!is_dropped(&[
            (0, &head),
            (0, &head),
            (24, &[1; 8]),
            (24, &[1; 8]),
            (32, &[1; 8])
        ]));
        assert!(is_dropped(&[
            (0, &head),
            (24, &[1; 8]),
            (24, &[2; 8]),
            (32, &[1; 8])
        ]));
    }
}

/// Which of the fragments that cover a byte gives it: their starts, ends and values in order of
/// arrival. Written as an order of preference where the policy is one.
fn winner(policy: FragmentPolicy, covering: &[(usize, usize, u8)]) -> u8 {
    use std::cmp::Reverse;
    let all = || covering.iter().enumerate();
    let best = match policy {
        FragmentPolicy::First | FragmentPolicy::Drop => all().next(),
        FragmentPolicy::Last => all().next_back(),
        FragmentPolicy::Bsd => all().min_by_key(|(at, (start, ..))| (*start, *at)),
        FragmentPolicy::BsdRight => all().max_by_key(|(at, (start, ..))| (*start, *at)),
        FragmentPolicy::Linux => all().min_by_key(|(at, (start, ..))| (*start, Reverse(*at))),
        FragmentPolicy::Solaris => all().reduce(|(i, old), (j, new)| {
            let surrounds = new.0 < old.0 && new.1 >= old.1;
            if surrounds { (j, new) } else { (i, old) }
        }),
        FragmentPolicy::Windows => all().reduce(|(i, old), (j, new)| {
            let surrounds = new.0 < old.0 && new.1 > old.1;
            if surrounds { (j, new) } else { (i, old) }
        }),
    };
    best.unwrap().1.2
}

/// A datagram in the making, as simple as can be.
#[derive(Default)]
struct Slow {
    pieces: Vec<(usize, Vec<u8>)>,
    end: Option<usize>,
    overlaps: bool,
}

impl Slow {
    fn insert(&mut self, start: usize, bytes: Vec<u8>, more: bool) {
        let declared = start + bytes.len();
        if !more {
            self.end.get_or_insert(declared);
        }
        let end = declared.min(self.end.unwrap_or(usize::MAX));
        for (held, other) in &self.pieces {
            let common = start.max(*held)..end.min(held + other.len());
            let same = (start, bytes.len()) == (*held, other.len());
            self.overlaps |= !common.is_empty() && !same;
        }
        self.pieces.push((start, bytes));
    }

    /// The bytes and how many of the pieces' bytes differ from them, if none is missing.
    fn complete(&self, policy: FragmentPolicy) -> Option<(Vec<u8>, u64)> {
        let mut differing = 0;
        let mut whole = Vec::new();
        for at in 0..self.end? {
            let covering: Vec<_> = self
                .pieces
                .iter()
                .filter(|(start, bytes)| (*start..start + bytes.len()).contains(&at))
                .map(|(start, bytes)| (*start, start + bytes.len(), bytes[at - start]))
                .collect();
            if covering.is_empty() {
                return None;
            }
            let byte = winner(policy, &covering);
            differing += covering.iter().filter(|(.., other)| *other != byte).count() as u64;
            whole.push(byte);
        }
        Some((whole, differing))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever fragments come, the batches they come in change nothing; and a datagram holds what
    /// a byte-by-byte reading of its policy says it holds.
    #[test]
    fn agrees_with_a_map_of_bytes(
        policy in prop::sample::select(&FragmentPolicy::ALL[..]),
        pieces in prop::collection::vec((0u16..12, 1u16..6, any::<bool>(), 0u8..4, 0i64..9), 1..14)
    ) {
        let mut capture = Capture::with(policy.name());
        let (mut slow, mut first, mut now) = (Slow::default(), 0, 0);
        let (mut wanted, mut conflict_bytes, mut dropped) = (Vec::new(), 0, 0);
        let head = tcp(&[], &[]);
        for (block, blocks, more, fill, pause) in pieces {
            now += pause;
            let start = usize::from(block) * 8;
            if start == 0 && !more {
                continue;
            }
            let mut bytes = vec![fill; usize::from(blocks) * 8];
            for (offset, byte) in bytes.iter_mut().enumerate() {
                if let Some(of_header) = head.get(start + offset) {
                    *byte = *of_header;
                }
            }
            capture.push(now, &ipv4_fragment(6, 1, block * 8, more, &bytes));
            if !slow.pieces.is_empty() && now - first > TIMEOUT {
                slow = Slow::default();
            }
            if slow.pieces.is_empty() {
                first = now;
            }
            slow.insert(start, bytes, more);
            if let Some((whole, differing)) = slow.complete(policy) {
                conflict_bytes += differing;
                if policy == FragmentPolicy::Drop && (slow.overlaps || differing > 0) {
                    dropped += 1;
                } else if whole.len() >= head.len() {
                    wanted.push((capture.frames.len() as u64, whole[head.len()..].to_vec()));
                }
                slow = Slow::default();
            }
        }
        prop_assert_eq!(capture.segments(), wanted);
        let stats = capture.stats();
        prop_assert_eq!((stats.conflict_bytes, stats.dropped), (conflict_bytes, dropped));
    }
}
