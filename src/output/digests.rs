//! `--hash sha256`: digests of payload files, whether or not they are written.
//!
//! A digest is taken in order of position, and payload comes in any order. What lies behind a hole
//! waits by reference, within bounds. When they are reached, the hole is taken for final: its zeros
//! and what follows are digested. That is right unless the hole is filled after all, by data that
//! comes more than a thousand segments late. Then the digest is given up, never wrong, and taken
//! from the file where there is one.

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
}

#[derive(Debug, Default)]
struct Half {
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
            steps.push((key, Step::Zeros(position.saturating_sub(self.next))));
            self.next = self.next.max(position);
        }
        self.take_consecutive(key, steps)
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
