//! Spreads segments over shards by a symmetric flow hash.
