//! One half-stream's bytes against a vector.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers in tests are small"
)]

use super::super::layout::WAITING_RUNS;
use super::*;
use crate::model::InputPos;
use proptest::prelude::*;

const MAX_GAP: u64 = 100;

fn at(start: u64, len: u32) -> Payload {
    Payload::Input {
        at: InputPos::new(0, start),
        len,
    }
}

/// An assembler, the file it fills, and the input it refers to.
struct Bench {
    assembler: Assembler,
    input: Vec<u8>,
    file: Vec<Option<u8>>,
    max_gap: u64,
    policy: OverlapPolicy,
    frame: u64,
    notes: Notes,
}

impl Bench {
    fn new(max_gap: u64) -> Bench {
        Bench::with_policy(max_gap, OverlapPolicy::First)
    }

    fn with_policy(max_gap: u64, policy: OverlapPolicy) -> Bench {
        Bench {
            assembler: Assembler::default(),
            input: Vec::new(),
            file: Vec::new(),
            max_gap,
            policy,
            frame: 0,
            notes: Notes {
                wants_fates: true,
                ..Notes::default()
            },
        }
    }

    fn put(&mut self, placed: &[Placed]) {
        for run in placed {
            let bytes = run.payload.bytes(&self.input[..]).into_owned();
            for (i, byte) in (run.position as usize..).zip(bytes) {
                if self.file.len() <= i {
                    self.file.resize(i + 1, None);
                }
                assert_eq!(self.file[i].replace(byte), None, "a byte was placed twice");
            }
        }
    }

    fn insert(&mut self, offset: u64, bytes: &[u8]) -> Outcome {
        let payload = at(self.input.len() as u64, bytes.len() as u32);
        self.input.extend_from_slice(bytes);
        self.frame += 1;
        let frame = self.frame;
        self.act(|assembler, rules| assembler.insert(offset, &payload, frame, rules))
    }

    fn acknowledge(&mut self, offset: u64) {
        self.act(|assembler, rules| assembler.acknowledge(offset, rules));
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Assembler, &mut Rules<'_>) -> T) -> T {
        let mut runs = Vec::new();
        let mut rules = Rules {
            source: &self.input,
            policy: self.policy,
            max_gap: self.max_gap,
            place: &mut |run| runs.push(run),
            notes: &mut self.notes,
        };
        let answer = act(&mut self.assembler, &mut rules);
        self.put(&runs);
        answer
    }

    fn finish(&mut self) -> String {
        self.act(Assembler::finish);
        self.file
            .iter()
            .map(|byte| byte.map_or('.', char::from))
            .collect()
    }
}

#[test]
fn late_data_fills_its_place() {
    let mut bench = Bench::new(MAX_GAP);
    bench.insert(0, b"abc");
    bench.insert(6, b"ghi");
    assert_eq!(bench.insert(3, b"def").unique, 3);
    assert_eq!(bench.finish(), "abcdefghi");
}

#[test]
fn the_first_copy_stands_and_differences_are_counted() {
    let mut bench = Bench::new(MAX_GAP);
    bench.insert(0, b"abcdef");
    let outcome = bench.insert(2, b"cXeYgh");
    assert_eq!(
        outcome,
        Outcome {
            unique: 2,
            duplicate: 2,
            conflicting: 2,
            ..outcome
        }
    );
    assert_eq!(outcome.unverified, 0);
    assert_eq!(bench.finish(), "abcdefgh");
}

#[test]
fn a_copy_of_something_forgotten_is_not_verified() {
    let mut bench = Bench::new(MAX_GAP);
    for i in 0..=HISTORY_PIECES as u64 {
        bench.insert(i * 2, b"ab");
    }
    let outcome = bench.insert(0, b"xxxx");
    assert_eq!(
        (outcome.duplicate, outcome.conflicting, outcome.unverified),
        (2, 2, 2)
    );
}

#[test]
fn a_large_hole_is_closed_up_at_the_end() {
    let mut bench = Bench::new(MAX_GAP);
    bench.insert(0, b"ab");
    bench.insert(1000, b"yz");
    bench.insert(1010, b"!");
    bench.acknowledge(u64::MAX);
    assert_eq!(bench.file.len(), 2, "its place is not known yet");
    assert_eq!(bench.finish(), "abyz........!");
    assert!(bench.assembler.is_elided(2) && !bench.assembler.is_elided(1002));
}

#[test]
fn a_large_hole_that_is_filled_in_time_stays_open() {
    let mut bench = Bench::new(4);
    bench.insert(0, b"ab");
    bench.insert(8, b"ij");
    bench.insert(4, b"ef");
    assert_eq!(bench.finish(), "ab..ef..ij");
}

#[test]
fn a_hole_that_too_much_waits_behind_is_final() {
    let mut bench = Bench::new(0);
    bench.insert(0, b"a");
    for i in 0..=WAITING_RUNS as u64 {
        bench.insert(10 + i, b"z");
    }
    bench.acknowledge(u64::MAX);
    assert_eq!(bench.file.len(), WAITING_RUNS + 2);
    let late = bench.insert(0, b"abcdefghijK");
    assert_eq!((late.rejected, late.duplicate, late.unverified), (9, 2, 2));
}

proptest! {
    /// The oracle: the first byte that comes for an offset stands.
    #[test]
    fn agrees_with_a_vector(
        segments in prop::collection::vec((0u64..120, prop::collection::vec(0u8..3, 0..24)), 0..50),
        max_gap in prop_oneof![Just(0u64), Just(7), Just(1000)],
    ) {
        let mut bench = Bench::new(max_gap);
        let mut oracle: Vec<Option<u8>> = vec![None; 160];
        for (offset, bytes) in &segments {
            let bytes: Vec<u8> = bytes.iter().map(|b| b'a' + b).collect();
            let outcome = bench.insert(*offset, &bytes);
            let mut want = Outcome::default();
            for (slot, byte) in oracle[*offset as usize..].iter_mut().zip(&bytes) {
                match slot {
                    None => { *slot = Some(*byte); want.unique += 1; }
                    Some(kept) if kept == byte => want.duplicate += 1,
                    Some(_) => want.conflicting += 1,
                }
            }
            prop_assert_eq!(outcome, want);
        }
        let file = bench.finish();
        // What the file must be: holes larger than max_gap closed up, no hole at the end.
        let mut want = String::new();
        let mut hole = 0u64;
        for slot in &oracle {
            match slot {
                None => hole += 1,
                Some(byte) => {
                    if hole <= max_gap {
                        want.extend((0..hole).map(|_| '.'));
                    }
                    hole = 0;
                    want.push(char::from(*byte));
                }
            }
        }
        prop_assert_eq!(file, want);
    }
}

/// Every policy against a vector: each byte of the oracle knows which segments cover it.
mod policies {
    use super::*;
    use crate::config::OverlapPolicy as P;

    /// Segments of Novak and Sturges (2007): relative sequence number and bytes, in order.
    const MAIN: &str = "2:AAA 6:BB 8:CCC 12:D 15:EE 17:FFF 20:GG 22:HH 24:I 3:JJJJ 8:KKK 11:LLL \
                        14:MMM 18:N 21:O 22:P 24:QQ 1:0";

    fn segments(text: &str) -> Vec<(u64, &[u8])> {
        text.split_whitespace()
            .map(|word| {
                let (at, bytes) = word.split_once(':').unwrap();
                (at.parse::<u64>().unwrap() - 1, bytes.as_bytes())
            })
            .collect()
    }

    fn assembled(policy: P, text: &str) -> String {
        let mut bench = Bench::with_policy(MAX_GAP, policy);
        for (offset, bytes) in segments(text) {
            bench.insert(offset, bytes);
        }
        bench.finish()
    }

    #[test]
    fn the_published_vector_comes_out() {
        for (policy, wanted) in [
            (P::First, "0AAAJBBCCCLDLMEEFFFGGHHIQ"),
            (P::Vista, "0AAAJBBCCCLDLMEEFFFGGHHIQ"),
            (P::Bsd, "0AAAJJBCCCLLLMMMFFFGGHHIQ"),
            (P::Windows, "0AAAJJBCCCLLLMMMFFFGGHHIQ"),
            (P::Linux, "0AAAJJBCCCLLLMMMFFFGGHHQQ"),
            (P::OldLinux, "0AAAJJBKKKLLLMMMFFFGGHHQQ"),
            (P::Solaris, "0AJJJBBKKKLLLMMMFFFGGHHQQ"),
            (P::Last, "0AJJJJBKKKLLLMMMFNFGOPHQQ"),
        ] {
            assert_eq!(assembled(policy, MAIN), wanted, "{policy}");
        }
    }

    #[test]
    fn acknowledged_bytes_stand_except_under_last() {
        for policy in P::ALL {
            let mut bench = Bench::with_policy(MAX_GAP, policy);
            bench.insert(2, b"cdef");
            bench.insert(0, b"ab");
            bench.acknowledge(4);
            // Every other policy but the first gives all of it to this segment.
            bench.insert(0, b"ABCDEFG");
            let wanted = match policy {
                P::Last => "ABCDEFG",
                P::First | P::Vista | P::Solaris | P::Bsd | P::Windows | P::Linux | P::OldLinux => {
                    if policy.newer_wins((2, 6), (0, 7)) {
                        "abcdEFG"
                    } else {
                        "abcdefG"
                    }
                }
            };
            assert_eq!(bench.finish(), wanted, "{policy}");
        }
    }

    #[test]
    fn a_conflict_names_both_copies_and_who_stands() {
        for (policy, kept, refused) in [
            (P::First, (&b"EV"[..], 1), (&b"xx"[..], 2)),
            (P::Last, (&b"xx"[..], 2), (&b"EV"[..], 1)),
        ] {
            let mut bench = Bench::with_policy(MAX_GAP, policy);
            bench.insert(0, b"..EV.");
            bench.insert(1, b".xx.");
            let [clash] = &bench.notes.clashes[..] else {
                panic!("{:?}", bench.notes.clashes)
            };
            assert_eq!((clash.offset, clash.length, clash.differing), (2, 2, 2));
            assert_eq!((&*clash.kept.0, clash.kept.1), kept);
            assert_eq!((&*clash.refused.0, clash.refused.1), refused);
        }
    }

    #[test]
    fn copies_that_cut_pieces_up_cost_bounded_state() {
        let mut bench = Bench::with_policy(MAX_GAP, P::Last);
        bench.insert(0, &[b'a'; 10_000]);
        for at in (1..10_000).step_by(2) {
            bench.insert(at, b"b");
        }
        assert!(bench.assembler.memory() < 100_000);
        // What was cut up first has left the history, and stands.
        let file = bench.finish();
        assert!(file.starts_with("abab") && file.len() == 10_000);
    }

    fn any_policy() -> impl Strategy<Value = P> {
        prop::sample::select(P::ALL.to_vec())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Segment(u64, Vec<u8>),
        Acknowledge(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u64..60, prop::collection::vec(b'a'..b'd', 1..16))
                .prop_map(|(at, bytes)| Step::Segment(at, bytes)),
            1 => (0u64..70).prop_map(Step::Acknowledge),
        ]
    }

    proptest! {
        /// The oracle keeps all segments and decides byte by byte.
        #[test]
        fn agree_with_a_vector(
            policy in any_policy(),
            steps in prop::collection::vec(any_step(), 0..40),
        ) {
            let mut bench = Bench::with_policy(1000, policy);
            let mut bytes: Vec<Option<u8>> = vec![None; 128];
            let mut all: Vec<(u64, u64)> = Vec::new();
            // Highest offset that stands, and all below it that were there at the time.
            let mut stands = [false; 128];
            for step in steps {
                match step {
                    Step::Acknowledge(to) => {
                        bench.acknowledge(to);
                        if policy.acknowledged_stands() {
                            for at in 0..to as usize {
                                stands[at] |= bytes[at].is_some();
                            }
                        }
                    }
                    Step::Segment(offset, new) => {
                        let bounds = (offset, offset + new.len() as u64);
                        let mut gained = false;
                        let last = stands.iter().rposition(|&s| s).map_or(0, |at| at + 1);
                        for (at, &byte) in (offset as usize..).zip(&new) {
                            let Some(old) = &mut bytes[at] else {
                                bytes[at] = Some(byte);
                                gained = true;
                                // Late bytes behind what stands do so too.
                                stands[at] = at < last && !policy.keeps_first();
                                continue;
                            };
                            let covers = |b: &&(u64, u64)| (b.0..b.1).contains(&(at as u64));
                            let beats = all
                                .iter()
                                .filter(covers)
                                .any(|&older| policy.newer_wins(older, bounds));
                            if beats && !stands[at] {
                                *old = byte;
                                gained = true;
                            }
                        }
                        bench.insert(offset, &new);
                        if gained {
                            all.push(bounds);
                        }
                    }
                }
            }
            // What the parts say, replayed, is what the file holds.
            let wanted: String = bytes
                .iter()
                .take(bytes.iter().rposition(Option::is_some).map_or(0, |at| at + 1))
                .map(|byte| byte.map_or('.', char::from))
                .collect();
            prop_assert_eq!(bench.finish(), wanted);
        }
    }
}

/// Every other byte lies in a closed hole.
#[test]
fn parts_that_do_not_stand_are_few() {
    let mut bench = Bench::new(0);
    for offset in 0..2000 {
        bench.insert(2 * offset, b"a");
    }
    bench.notes.parts.clear();
    let outcome = bench.insert(0, &[b'b'; 1000]);
    assert_eq!((outcome.rejected, outcome.unique), (500, 0));
    let parts = &bench.notes.parts;
    assert_eq!(
        parts.iter().map(|part| part.end - part.start).sum::<u64>(),
        1000
    );
    assert!(parts.len() <= 9, "{} parts", parts.len());
    assert!(parts.iter().all(|part| !part.kept));
}
