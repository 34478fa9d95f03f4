//! `--min-bytes`: half-streams with less payload than that are not written.
//!
//! Bytes are held by reference until enough have come. What waits is bounded for the shard: when it
//! takes too much, the half-streams with the most pieces are passed on as they are, so very many
//! tiny segments cost a small file and not the memory. They are counted.

use hashbrown::HashMap;

use super::payload::HalfKey;
use crate::model::Direction;
use crate::reassembly::event::StreamData;

/// Memory that what waits in one shard may take, bytes: 128 MiB for all shards.
pub(super) const HELD_MEMORY: usize = 2 << 20;

/// About what the entry of a half-stream that waits takes, bytes.
const ENTRY_MEMORY: usize = 96;

/// Passes on the half-streams that have enough bytes.
#[derive(Debug)]
pub(super) struct Minimum {
    bytes: u64,
    most_memory: usize,
    halves: HashMap<HalfKey, Half>,
    memory: usize,
    skipped: u64,
    passed_early: u64,
}

#[derive(Debug)]
enum Half {
    Held { bytes: u64, pieces: Vec<StreamData> },
    Passed,
}

impl Minimum {
    /// Half-streams with fewer than `bytes` bytes are not passed on; at most `most_memory` bytes
    /// are taken by what waits.
    pub(super) fn new(bytes: u64, most_memory: usize) -> Minimum {
        Minimum {
            bytes,
            most_memory,
            halves: HashMap::new(),
            memory: 0,
            skipped: 0,
            passed_early: 0,
        }
    }

    /// Takes bytes, and passes on what may be written.
    pub(super) fn data(&mut self, data: StreamData, pass: &mut dyn FnMut(StreamData)) {
        let key = (data.flow.flow_id, data.direction);
        let half = self.halves.entry(key).or_insert_with(|| {
            self.memory += ENTRY_MEMORY;
            Half::Held {
                bytes: 0,
                pieces: Vec::new(),
            }
        });
        let Half::Held { bytes, pieces } = half else {
            pass(data);
            return;
        };
        *bytes += u64::from(data.payload.len());
        self.memory += memory(&data);
        pieces.push(data);
        if *bytes >= self.bytes {
            self.pass(key, pass);
        } else if self.memory > self.most_memory {
            self.make_room(pass);
        }
    }

    /// Nothing more comes for this flow. Tells which of its directions were passed on.
    pub(super) fn flow_ended(&mut self, flow_id: u64) -> [bool; 2] {
        Direction::BOTH.map(|direction| {
            let half = self.halves.remove(&(flow_id, direction));
            match half {
                None => false,
                Some(Half::Passed) => true,
                Some(Half::Held { bytes, pieces }) => {
                    self.skipped += bytes;
                    self.forget(&pieces);
                    false
                }
            }
        })
    }

    /// Bytes of ended flows that were not passed on.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Half-streams that were passed on before they had enough bytes.
    pub(super) const fn passed_early(&self) -> u64 {
        self.passed_early
    }

    #[cfg(test)]
    pub(super) const fn is_within_memory(&self) -> bool {
        self.memory <= self.most_memory
    }

    fn pass(&mut self, key: HalfKey, pass: &mut dyn FnMut(StreamData)) {
        if let Some(Half::Held { pieces, .. }) = self.halves.insert(key, Half::Passed) {
            self.forget(&pieces);
            pieces.into_iter().for_each(pass);
        }
    }

    /// Passes on the half-streams with the most pieces, until half of the memory is free.
    fn make_room(&mut self, pass: &mut dyn FnMut(StreamData)) {
        let mut held: Vec<(usize, HalfKey)> = self
            .halves
            .iter()
            .filter_map(|(key, half)| match half {
                Half::Held { pieces, .. } => Some((pieces.len(), *key)),
                Half::Passed => None,
            })
            .collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        for (_, key) in held {
            if self.memory <= self.most_memory / 2 {
                break;
            }
            self.passed_early += 1;
            self.pass(key, pass);
        }
    }

    /// The memory of a half-stream that waits no more.
    fn forget(&mut self, pieces: &[StreamData]) {
        let freed = ENTRY_MEMORY + pieces.iter().map(memory).sum::<usize>();
        self.memory = self.memory.saturating_sub(freed);
    }
}

fn memory(data: &StreamData) -> usize {
    size_of::<StreamData>() + data.payload.owned_len()
}
