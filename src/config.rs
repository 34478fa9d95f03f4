//! What the user asked for, validated. Everything that decides the output stands here.

mod overlap;
mod policy;
mod tunnels;

use std::path::PathBuf;
use std::sync::Arc;

use crate::filter::Filter;

pub use overlap::OverlapPolicy;
pub use policy::{FragmentPolicy, Network, PolicyMap, PolicyRule, by_name};
pub use tunnels::{TunnelPort, TunnelPorts, UdpTunnel};

/// How many shards the flows are spread over. The output's eviction decisions depend on it, so it
/// is a constant and never the number of threads.
pub const SHARDS: usize = 64;

/// Frames between two sweeps for timeouts. Flows that end within one such stretch are written in
/// the order of their ids, so the order of rows depends on neither batches nor threads. Rows wait
/// in memory for the end of their stretch: at most this many, about 200 MB under a flood of SYNs.
pub const EPOCH_FRAMES: u64 = 1 << 18;

/// Worker threads of a run. Flows are reassembled in [`SHARDS`] tasks and a batch is decoded in sixteen,
/// so that more find nothing to do, and each costs a stack and descriptors. A choice.
pub const MOST_THREADS: usize = 4 * SHARDS;

/// The least memory limit: 4 KiB for each shard, which is the state of a few flows.
pub const LEAST_MEMORY_LIMIT: u64 = 256 << 10;

/// A lower memory limit is warned of: a shard then has less than 1 MiB, some two thousand flows. A choice.
pub const LOW_MEMORY_LIMIT: u64 = 64 << 20;

/// How often a frame with many parts is copied into captures of flows, about: a choice. The longest
/// aggregate of 802.11 that there may be, 11,454 bytes, has room for more flows than this, and does not have
/// them, since all of it goes to one station; made ones have thousands, and each copy is a whole frame.
pub const FRAME_COPIES: u16 = 16;

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
    /// An established or half-closed flow without a segment: 7,500 s. Idle connections are probed every two hours (RFC
    /// 1122, 4.2.3.6), so none may be forgotten before 2 h 4 min (RFC 5382, REQ-5).
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
            idle: 7500 * SECOND_NS,
            close_linger: 120 * SECOND_NS,
            fragment: 30 * SECOND_NS,
        }
    }
}

/// What becomes of packets whose checksum is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChecksumMode {
    /// Checksums are not looked at.
    #[default]
    Ignore,
    /// IPv4 packets and TCP segments with a wrong one are dropped, as a receiver does.
    Drop,
}

/// What is part of a flow's identity beside addresses and ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Track {
    /// VLAN ids.
    pub vlan: bool,
    /// Tunnels and their ids.
    pub tunnel: bool,
}

/// What the decoder decides by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DecodeConfig {
    /// What becomes of packets whose checksum is wrong.
    pub checksum: ChecksumMode,
    /// What tells flows apart.
    pub track: Track,
    /// Where to look for tunnels, beside their registered ports.
    pub tunnel_ports: TunnelPorts,
    /// Which segments are kept; `None` = all.
    pub filter: Option<Arc<Filter>>,
    /// Remember each frame, for captures of single flows.
    pub keep_frames: bool,
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
    /// Which of two copies of a byte stands, by the receiver's network.
    pub overlap: PolicyMap<OverlapPolicy>,
    /// Bytes of each stream that are kept; more is counted, and a gap.
    pub max_stream_bytes: u64,
    /// Tell what became of every payload segment.
    pub segments: bool,
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
    /// The files and directories that the capture lies in, as named.
    pub inputs: Vec<PathBuf>,
    /// The output directory.
    pub out: PathBuf,
    /// Write into a directory that is not empty.
    pub force: bool,
    /// Wait until the output is on the device before the manifest says that it is complete.
    pub sync: bool,
    /// Worker threads; `None` = one per core.
    pub threads: Option<usize>,
    /// Map the input into memory (or read it in blocks).
    pub mmap: bool,
    /// Look for captures in the directories below those that are named, too.
    pub recursive: bool,
    /// What is written of payload.
    pub payload: PayloadConfig,
    /// What becomes of holes.
    pub gaps: GapMode,
    /// Write `flows.csv` too.
    pub csv: bool,
    /// Bytes of state the run may hold.
    pub memory_limit: u64,
    /// What the decoder decides by.
    pub decode: DecodeConfig,
    /// Who wins where IP fragments overlap.
    pub fragment_policy: PolicyMap<FragmentPolicy>,
    /// What the core decides by.
    pub reassembly: ReassemblyConfig,
    /// Units of work.
    pub batch: BatchConfig,
}
