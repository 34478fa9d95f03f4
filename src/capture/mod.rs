//! Frame sources: capture bytes in, [`RawFrame`](crate::model::RawFrame)s out.
//!
//! [`Inputs`] are the files that one capture lies in, in order. An [`Input`] is one of them, whose
//! format is known. It hands out [`Window`]s, and a [`Walker`] walks the records of a window from a [`WalkState`]. A walk that stops returns the
//! state in which another one goes on, and the two together see exactly what a single walk would
//! have seen; so a capture may be walked in pieces of any size. [`find_boundary`] guesses where in
//! the middle of a capture a record begins, so that the pieces can be walked at the same time.
//!
//! The walk is lenient the way libpcap is, and no byte that it passes over goes uncounted:
//! [`WalkStats`] names every damaged region, skipped block and frame cut short.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod beginning;
mod bytes;
mod compression;
mod detect;
mod error;
mod feed;
mod find;
mod foreign;
mod head;
mod input;
mod inputs;
mod mmap;
mod natural;
mod options;
mod pcap;
mod pcapng;
mod prefetch;
mod regular;
mod resync;
mod spool;
mod state;
mod stats;
mod walk;

#[cfg(test)]
mod tests;

pub use compression::Compression;
pub use error::CaptureError;
pub use find::{Search, Skipped};
pub use head::FormatInfo;
pub use input::Input;
pub use inputs::{Feeding, Inputs};
pub use resync::find_boundary;
pub use state::{WalkState, Window};
pub use stats::{
    BlockKind, CutAtEnd, CutFrame, Damage, DamageReason, MAX_DAMAGE, SkippedBlocks, WalkStats,
};
pub use walk::Walker;
