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
}

impl Bench {
    fn new(max_gap: u64) -> Bench {
        Bench {
            assembler: Assembler::default(),
            input: Vec::new(),
            file: Vec::new(),
            max_gap,
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
        let mut runs = Vec::new();
        let outcome = self.assembler.insert(
            offset,
            &payload,
            &self.input,
            OverlapPolicy::First,
            self.max_gap,
            &mut |run| runs.push(run),
        );
        self.put(&runs);
        outcome
    }

    fn finish(&mut self) -> String {
        let mut runs = Vec::new();
        self.assembler
            .finish(self.max_gap, &mut |run| runs.push(run));
        self.put(&runs);
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
