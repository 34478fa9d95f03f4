//! How long each room takes, alone and on one thread: `cargo bench --bench rooms -- decode/small`.
//!
//! One program for all, since linking costs more than the rest. Captures are generated and a few
//! megabytes long, so that they stay in the cache of the processor: what memory costs on top of it,
//! `scripts/bench` measures. Each benchmark compares its answer with the generator's once, before
//! anything is measured; `cargo test --benches` does only that.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a wrong answer ends the benchmark, its counts are small, and it exports nothing"
)]

#[allow(
    unused_imports,
    reason = "the unit tests in there are cut out where no test harness is"
)]
#[path = "../../tests/support/mod.rs"]
mod support;

mod decode;
mod reassembly;
mod sample;
mod tables;
mod walk;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    rooms,
    walk::benches,
    decode::benches,
    reassembly::benches,
    tables::benches
);
criterion_main!(rooms);
