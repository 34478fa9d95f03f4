//! `--hash sha256`: digests of payload files, whether or not they are written.
//!
//! A digest is taken in order of position, and payload comes in any order. What lies behind a hole
//! waits by reference, within bounds. When they are reached, the hole is taken for final: its zeros
//! and what follows are digested. That is right unless the hole is filled after all, by data that
//! comes more than a thousand segments late. Then the digest is given up, never wrong, and taken
//! from the file where there is one.
//!
//! A hole costs as much as if its bytes had been captured. Where holes are much larger than what was, there
//! is no digest (`ZEROS_PER_KEPT`): a few bytes must not cost the digest of megabytes.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};

use super::error::OutputError;
use super::payload::{HalfKey, read_all};
use crate::model::{Direction, Payload, PayloadSource};
use crate::reassembly::event::{FlowName, StreamData};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Zeros to digest at a time.
static ZEROS: [u8; 1 << 14] = [0; 1 << 14];

/// Zeros of holes that are digested for each byte kept, and beside them [`FREE_ZEROS`]. A choice: with the
/// default of `--max-gap`, a direction of which 256 KiB were captured has its digest whatever is missing.
pub(super) const ZEROS_PER_KEPT: u64 = 64;

/// As many zeros as one hole of two or three segments are digested in any case.
pub(super) const FREE_ZEROS: u64 = 4096;

/// How much may wait behind holes.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimits {
    /// Pieces of one half-stream.
    pub(super) pieces: usize,
    /// Memory in one shard, bytes.
    pub(super) memory: usize,
}

impl WaitLimits {
    /// A thousand segments are far more than reordering ever delays. The memory of all shards
    /// together is 64 MiB.
    pub(super) const DEFAULT: WaitLimits = WaitLimits {
        pieces: 1024,
        memory: 1 << 20,
    };
}

/// What became of a half-stream's digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Outcome {
    /// There is no byte to digest.
    #[default]
    Empty,
    /// The digest.
    Known(Digest),
    /// A byte came for a place that had been digested already.
    GivenUp,
    /// There are far more zeros than bytes.
    Sparse,
}

#[derive(Debug, Default)]
struct Half {
    /// Bytes told.
    kept: u64,
    /// Zeros of holes that were taken for final.
    zeros: u64,
    /// Position behind the last byte told.
    end: u64,
    /// Position up to which the content is digested, or queued for it.
    next: u64,
    /// By position.
    waiting: BTreeMap<u64, Payload>,
    given_up: bool,
    hasher: Sha256,
}

/// Content that is ready to be digested.
#[derive(Debug)]
enum Step {
    Bytes(Payload),
    Zeros(u64),
}

/// Digests the half-streams of one shard.
#[derive(Debug)]
pub(super) struct Digester {
    limits: WaitLimits,
    halves: HashMap<HalfKey, Half>,
    waiting_memory: usize,
    steps: Vec<(HalfKey, Step)>,
    ended: Vec<FlowName>,
}

impl Digester {
    pub(super) fn new(limits: WaitLimits) -> Digester {
        Digester {
            limits,
            halves: HashMap::new(),
            waiting_memory: 0,
            steps: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Takes bytes of a half-stream. They are read at the next [`Digester::flush`].
    ///
    /// What is decided here depends on what came before and not on flushes.
    pub(super) fn data(&mut self, data: &StreamData) {
        let key = (data.flow.flow_id, data.direction);
        let half = self.halves.entry(key).or_default();
        let len = u64::from(data.payload.len());
        half.kept += len;
        half.end = half.end.max(data.position.saturating_add(len));
        if half.given_up {
            return;
        }
        if data.position == half.next && half.waiting.is_empty() {
            half.take(key, data.payload.clone(), &mut self.steps);
            return;
        }
        self.waiting_memory += memory(&data.payload);
        if let Some(told_before) = half.waiting.insert(data.position, data.payload.clone()) {
            self.waiting_memory -= memory(&told_before);
            half.given_up = true;
            self.waiting_memory -= half.forget();
            return;
        }
        self.waiting_memory -= half.take_consecutive(key, &mut self.steps);
        let over = |half: &Half, memory| {
            half.waiting.len() > self.limits.pieces || memory > self.limits.memory
        };
        while over(half, self.waiting_memory) && !half.waiting.is_empty() {
            self.waiting_memory -= half.take_over_hole(key, &mut self.steps);
        }
    }

    /// Nothing more comes for this flow.
    pub(super) fn flow_ended(&mut self, flow: FlowName) {
        for direction in Direction::BOTH {
            let key = (flow.flow_id, direction);
            let Some(half) = self.halves.get_mut(&key) else {
                continue;
            };
            while !half.waiting.is_empty() {
                self.waiting_memory -= half.take_over_hole(key, &mut self.steps);
            }
        }
        self.ended.push(flow);
    }

    /// Memory of what waits behind holes, bytes.
    #[cfg(test)]
    pub(super) const fn waiting_memory(&self) -> usize {
        self.waiting_memory
    }

    /// Digests what has come, and hands the digests of flows that ended, of both directions, to
    /// `done`. Fails where `source` no longer gives the bytes.
    pub(super) fn flush(
        &mut self,
        source: &dyn PayloadSource,
        mut done: impl FnMut(FlowName, [Outcome; 2]) -> Result<(), OutputError>,
    ) -> Result<(), OutputError> {
        for (key, step) in self.steps.drain(..) {
            let Some(half) = self.halves.get_mut(&key).filter(|half| !half.given_up) else {
                continue;
            };
            match step {
                Step::Bytes(payload) => half.hasher.update(read_all(&payload, source)?),
                Step::Zeros(mut count) => {
                    while count > 0 {
                        let now = ZEROS
                            .len()
                            .min(usize::try_from(count).unwrap_or(usize::MAX));
                        half.hasher.update(&ZEROS[..now]);
                        count -= now as u64;
                    }
                }
            }
        }
        for flow in self.ended.drain(..) {
            let outcomes = Direction::BOTH.map(|direction| {
                match self.halves.remove(&(flow.flow_id, direction)) {
                    None => Outcome::Empty,
                    // The file would have to be read with its holes.
                    Some(half)
                        if half.given_up
                            && half.is_too_sparse(half.end.saturating_sub(half.kept)) =>
                    {
                        Outcome::Sparse
                    }
                    Some(half) if half.given_up => Outcome::GivenUp,
                    Some(half) => Outcome::Known(half.hasher.finalize().into()),
                }
            });
            done(flow, outcomes)?;
        }
        Ok(())
    }
}

impl Half {
    fn take(&mut self, key: HalfKey, payload: Payload, steps: &mut Vec<(HalfKey, Step)>) {
        self.next = self.next.saturating_add(u64::from(payload.len()));
        steps.push((key, Step::Bytes(payload)));
    }

    /// Takes what waits no longer; gives the memory that it took.
    fn take_consecutive(&mut self, key: HalfKey, steps: &mut Vec<(HalfKey, Step)>) -> usize {
        let mut freed = 0;
        while let Some(first) = self.waiting.first_entry() {
            if *first.key() > self.next {
                break;
            }
            let (position, payload) = first.remove_entry();
            freed += memory(&payload);
            if position < self.next {
                self.given_up = true;
                return freed + self.forget();
            }
            self.take(key, payload, steps);
        }
        freed
    }

    /// Takes the first hole for final; gives the memory of what waited behind it.
    fn take_over_hole(&mut self, key: HalfKey, steps: &mut Vec<(HalfKey, Step)>) -> usize {
        if let Some((&position, _)) = self.waiting.first_key_value() {
            let hole = position.saturating_sub(self.next);
            self.zeros += hole;
            if self.is_too_sparse(self.zeros) {
                self.given_up = true;
                return self.forget();
            }
            steps.push((key, Step::Zeros(hole)));
            self.next = self.next.max(position);
        }
        self.take_consecutive(key, steps)
    }

    /// Whether so many zeros are too many for the bytes told so far.
    const fn is_too_sparse(&self, zeros: u64) -> bool {
        zeros
            > self
                .kept
                .saturating_mul(ZEROS_PER_KEPT)
                .saturating_add(FREE_ZEROS)
    }

    /// Gives the memory of all that waited.
    fn forget(&mut self) -> usize {
        std::mem::take(&mut self.waiting).values().map(memory).sum()
    }
}

/// About what a piece that waits takes, bytes.
fn memory(payload: &Payload) -> usize {
    2 * size_of::<(u64, Payload)>() + payload.owned_len()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::model::{Endpoint, FlowKey, InputPos};

    struct Sevens;

    impl PayloadSource for Sevens {
        fn read(&self, _: InputPos, len: u32) -> Cow<'_, [u8]> {
            Cow::Owned(vec![7; len as usize])
        }
    }

    fn flow(flow_id: u64) -> FlowName {
        let end = |last| Endpoint::v4([10, 0, 0, last], 80);
        let (key, client) = FlowKey::v4(end(1), end(2));
        FlowName {
            flow_id,
            key,
            client,
        }
    }

    fn data(flow_id: u64, position: u64, len: u32) -> StreamData {
        StreamData {
            flow: flow(flow_id),
            direction: Direction::C2s,
            offset: position,
            position,
            payload: Payload::Input {
                at: InputPos::new(0, 0),
                len,
            },
        }
    }

    /// Zeros that the next flush would digest.
    fn zeros(digester: &Digester) -> u64 {
        let steps = digester.steps.iter();
        steps
            .map(|(_, step)| match step {
                Step::Zeros(count) => *count,
                Step::Bytes(_) => 0,
            })
            .sum()
    }

    fn outcomes(digester: &mut Digester) -> Vec<Outcome> {
        let mut all = Vec::new();
        digester
            .flush(&Sevens, |_, [outcome, _]| {
                all.push(outcome);
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn zeros_are_digested_in_proportion_to_bytes() {
        const FLOWS: u64 = 2000;
        let mut digester = Digester::new(WaitLimits::DEFAULT);
        for id in 1..=FLOWS {
            digester.data(&data(id, 0, 1));
            digester.data(&data(id, 16 << 20, 1));
            digester.flow_ended(flow(id));
        }
        assert!(zeros(&digester) <= FLOWS * (2 * ZEROS_PER_KEPT + FREE_ZEROS));
        let outcomes = outcomes(&mut digester);
        assert_eq!(outcomes.len() as u64, FLOWS);
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Sparse));
    }

    #[test]
    fn the_bound_is_exact() {
        for (kept, more) in [(2, 0), (2, 1), (1 << 10, 0), (1 << 10, 1)] {
            let hole = u64::from(kept) * ZEROS_PER_KEPT + FREE_ZEROS + more;
            let mut digester = Digester::new(WaitLimits::DEFAULT);
            digester.data(&data(1, 0, kept - 1));
            digester.data(&data(1, u64::from(kept - 1) + hole, 1));
            digester.flow_ended(flow(1));
            assert_eq!(zeros(&digester), if more == 0 { hole } else { 0 });
            let known = matches!(outcomes(&mut digester)[..], [Outcome::Known(_)]);
            assert_eq!(known, more == 0, "{kept} {more}");
        }
    }

    #[test]
    fn a_file_with_far_more_holes_than_bytes_is_not_read_back() {
        // The hole is taken for final, since more waits behind it than may, and then filled in part.
        let limits = WaitLimits {
            pieces: 1,
            ..WaitLimits::DEFAULT
        };
        for (hole, wanted) in [(1 << 10, Outcome::GivenUp), (16 << 20, Outcome::Sparse)] {
            let mut digester = Digester::new(limits);
            for (position, len) in [(0, 1), (hole, 1), (hole + 2, 1), (5, 1)] {
                digester.data(&data(1, position, len));
            }
            digester.flow_ended(flow(1));
            assert_eq!(outcomes(&mut digester), [wanted]);
        }
    }
}
