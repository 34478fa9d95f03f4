//! bulkreasm reassembles the TCP streams of multi-gigabyte captures on all cores.
//!
//! Data goes one way through the rooms of this crate:
//!
//! ```text
//! capture → decode → shard → reassembly → output
//! ```
//!
//! `model` holds the data that passes between them, `pipeline` is the only room that knows all of
//! them, and `cli` turns arguments into a [`config::Config`]. `docs/ARCHITECTURE.md` has the
//! picture and says where each thing is added.

pub mod capture;
pub mod cli;
pub mod config;
pub mod decode;
pub mod filter;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod reassembly;
pub mod shard;
