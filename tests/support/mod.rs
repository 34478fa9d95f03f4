//! What the integration tests and the two test programs share: a generator of captures with known
//! streams, scenarios written as data, and a reader of the program's output.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test and program uses its own part of this module"
)]
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a test speaks"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "header fields are cut to their width on purpose, and shares of a number are rough"
)]

pub mod bpf;
pub mod capture_file;
pub mod captures;
pub mod compress;
pub mod files;
pub mod generator;
pub mod mutation;
pub mod nasty;
pub mod output;
pub mod payload;
pub mod prng;
pub mod range_set;
pub mod reassembler;
pub mod scenario;
pub mod truth;
pub mod wire;
