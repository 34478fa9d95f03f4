//! What the user asked for, validated. Everything that decides the output stands here.

use std::path::PathBuf;

/// How many shards the flows are spread over. The output's eviction decisions depend on it, so it
/// is a constant and never the number of threads.
pub const SHARDS: usize = 64;

/// Frames between two sweeps for timeouts. Flows that end within one such stretch are written in
/// the order of their ids, so the order of rows depends on neither batches nor threads. Rows wait
/// in memory for the end of their stretch: at most this many, about 200 MB under a flood of SYNs.
pub const EPOCH_FRAMES: u64 = 1 << 18;

/// Nanoseconds in a second.
pub const SECOND_NS: i64 = 1_000_000_000;

/// What happens to payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadMode {
    /// One file per stream direction.
    Files,
    /// One table of all payload, in parts.
    Parquet,
    /// Only the summary.
    None,
}

/// What is written of payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadConfig {
    /// In which form.
    pub mode: PayloadMode,
    /// A half-stream with fewer captured bytes is not written; 0 and 1 leave out none.
    pub min_bytes: u64,
    /// Digest each half-stream.
    pub sha256: bool,
}

/// What becomes of holes in payload files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GapMode {
    /// Kept as zeros, so that offsets line up.
    Zero,
    /// Closed up.
    Skip,
}

/// Timeouts on the capture's own clock, nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// A handshake that does not complete: 130 s, since a SYN is retried for up to 127 s.
    pub handshake: i64,
    /// An established or half-closed flow without a segment: 3600 s.
    pub idle: i64,
    /// How long a closed flow still owns its strays: 120 s.
    pub close_linger: i64,
    /// An incomplete IP datagram: 30 s.
    pub fragment: i64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            handshake: 130 * SECOND_NS,
            idle: 3600 * SECOND_NS,
            close_linger: 120 * SECOND_NS,
            fragment: 30 * SECOND_NS,
        }
    }
}

/// What the reassembly core decides by.
#[derive(Clone, Debug)]
pub struct ReassemblyConfig {
    /// Timeouts.
    pub timeouts: Timeouts,
    /// A hole larger than this is closed up in the payload file, bytes; 0 with `--gaps skip`.
    pub max_gap: u64,
    /// Bytes of state that one shard may hold.
    pub shard_memory: u64,
}

/// How much of the input is one unit of work. Neither number changes the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchConfig {
    /// Capture bytes per batch.
    pub batch_bytes: u64,
    /// Capture bytes that one task decodes.
    pub chunk_bytes: u64,
}

impl Default for BatchConfig {
    fn default() -> BatchConfig {
        BatchConfig {
            batch_bytes: 64 << 20,
            chunk_bytes: 4 << 20,
        }
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The capture.
    pub input: PathBuf,
    /// The output directory.
    pub out: PathBuf,
    /// Write into a directory that is not empty.
    pub force: bool,
    /// Worker threads; `None` = one per core.
    pub threads: Option<usize>,
    /// Map the input into memory (or read it in blocks).
    pub mmap: bool,
    /// What is written of payload.
    pub payload: PayloadConfig,
    /// What becomes of holes.
    pub gaps: GapMode,
    /// Write `flows.csv` too.
    pub csv: bool,
    /// Bytes of state the run may hold.
    pub memory_limit: u64,
    /// What the core decides by.
    pub reassembly: ReassemblyConfig,
    /// Units of work.
    pub batch: BatchConfig,
}
