//! The segments of one chunk, by shard.

use std::sync::{Mutex, PoisonError};

use super::ShardSeed;
use crate::config::SHARDS;
use crate::decode::{DecodeSink, Fragment};
use crate::model::{Blocks, Segment};

/// The segments of a shard. A block is 8 KiB, so that little stays empty in a chunk of few.
pub type Bucket = Blocks<Segment, 64>;

/// What decoding a chunk yields: segments in capture order within each shard, and fragments.
#[derive(Debug)]
pub struct Buckets {
    seed: ShardSeed,
    shards: Vec<Mutex<Bucket>>,
    fragments: Vec<Fragment>,
    /// Frame and ordinal of the last segment.
    last: (u64, u32),
}

impl Buckets {
    /// Empty ones.
    pub fn new(seed: ShardSeed) -> Buckets {
        Buckets {
            seed,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            fragments: Vec::new(),
            last: (0, 0),
        }
    }

    /// What decides which segment goes where.
    pub const fn seed(&self) -> &ShardSeed {
        &self.seed
    }

    /// Takes the segments of a shard out, in capture order. Whoever has them may change them in place, and
    /// gives their memory back while others work.
    pub fn take(&self, shard: usize) -> Bucket {
        let Some(bucket) = self.shards.get(shard) else {
            return Bucket::default();
        };
        std::mem::take(&mut *bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts those of a shard back that it has not come to.
    pub fn put_back(&self, shard: usize, rest: Bucket) {
        if let Some(bucket) = self.shards.get(shard) {
            *bucket.lock().unwrap_or_else(PoisonError::into_inner) = rest;
        }
    }

    /// Takes the fragments out, in capture order.
    pub fn take_fragments(&mut self) -> Vec<Fragment> {
        std::mem::take(&mut self.fragments)
    }
}

impl DecodeSink for Buckets {
    fn segment(&mut self, segment: Segment) {
        let shard = self.seed.shard_of(&segment.key);
        let (frame, ordinal) = self.last;
        let ordinal = if segment.frame == frame {
            ordinal.saturating_add(1)
        } else {
            0
        };
        self.last = (segment.frame, ordinal);
        if let Some(bucket) = self.shards.get_mut(shard) {
            let bucket = bucket.get_mut().unwrap_or_else(PoisonError::into_inner);
            bucket.push(Segment { ordinal, ..segment });
        }
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.fragments.push(fragment);
    }
}
