//! Spreads segments over shards by a symmetric flow hash.

mod bucket;
mod hash;

pub use bucket::{Bucket, Buckets};
pub use hash::ShardSeed;
