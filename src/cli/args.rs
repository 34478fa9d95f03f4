//! The arguments as typed, and the configuration they come to.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, ValueEnum};

use super::units;
use crate::config::{
    BatchConfig, ChecksumMode, Config, DecodeConfig, FragmentPolicy, GapMode, LEAST_MEMORY_LIMIT,
    LOW_MEMORY_LIMIT, MOST_THREADS, OverlapPolicy, PayloadConfig, PayloadMode, PolicyMap,
    PolicyRule, ReassemblyConfig, SHARDS, Timeouts, Track, TunnelPort, TunnelPorts,
};
use crate::filter::Filter;

/// Reassemble the TCP streams of a capture: one payload file per stream direction, and a summary
/// of all flows in Parquet.
#[derive(Parser, Debug)]
#[command(name = "bulkreasm", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done; 1 failed; 2 usage; 3 done, but the input was damaged \
    (what was lost is counted); 4 done, but a limit of memory or of a table lost something (counted, \
    too); 130 interrupted, with everything up to there written.\n\n\
    The output is the same for every number of threads."
)]
pub(super) struct Args {
    /// The capture: pcap or pcapng files, told by content and not by name, and directories of them
    ///
    /// Several files are one capture: they are put in the order of time, and a flow may begin in one
    /// and go on in another.
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,

    /// Where to write; made if it is not there, and refused if it is not empty
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,

    /// Keep only flows that match, both directions: pcap-filter(7) syntax, as in 'host 192.0.2.1'
    #[arg(short, long, value_name = "EXPR", value_parser = Filter::parse)]
    filter: Option<Filter>,

    /// Replace an earlier run's files in the output directory
    #[arg(long)]
    force: bool,

    /// Do not wait until the output is on the device: a power failure may then leave a manifest
    /// beside tables and payload that are not whole
    #[arg(long)]
    no_sync: bool,

    /// Worker threads, at most 256 [default: one per core]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// Most memory for the state of flows; the longest idle flows are ended when it is reached
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = memory_limit)]
    memory_limit: u64,

    /// End an established flow after this long without a segment, on the capture's clock
    #[arg(long, value_name = "TIME", default_value = "7500s", value_parser = units::duration)]
    idle_timeout: i64,

    /// End a flow whose handshake does not complete after this long without a segment
    #[arg(long, value_name = "TIME", default_value = "130s", value_parser = units::duration)]
    handshake_timeout: i64,

    /// How long a closed flow still takes stray segments
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = units::duration)]
    close_linger: i64,

    /// Give up an incomplete IP datagram after this long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    fragment_timeout: i64,

    /// Who wins where IP fragments overlap: first, last, bsd, bsd-right, linux, solaris, windows, or
    /// drop for none; for receivers in one network with NET= in front [default: bsd]
    #[arg(long, value_name = "[NET=]POLICY", value_delimiter = ',')]
    fragment_policy: Vec<PolicyRule<FragmentPolicy>>,

    /// What becomes of TCP segments and IPv4 packets with a wrong checksum
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ChecksumArg::Ignore)]
    checksum: ChecksumArg,

    /// Make VLAN ids, tunnels and their ids part of a flow's identity
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    track: Vec<TrackArg>,

    /// Look for a tunnel on this UDP port too, as in vxlan=14789; again or with commas for more
    #[arg(long, value_name = "TUNNEL=PORT", value_delimiter = ',')]
    tunnel_port: Vec<TunnelPort>,

    /// What becomes of payload
    #[arg(long, value_name = "HOW", value_enum, default_value_t = PayloadArg::Files)]
    payload: PayloadArg,

    /// Write no payload of a stream direction with fewer captured bytes than this
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = units::size)]
    min_bytes: u64,

    /// Digest the payload of each stream direction, as a column of the summary
    #[arg(long, value_name = "HOW", value_enum)]
    hash: Option<HashArg>,

    /// What becomes of holes in payload files
    #[arg(long, value_name = "HOW", value_enum, default_value_t = GapsArg::Zero)]
    gaps: GapsArg,

    /// A hole larger than this is closed up in the payload file, and its row says so
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = units::size)]
    max_gap: u64,

    /// Which of two copies of stream bytes stands: first, last, bsd, linux, old-linux, solaris,
    /// windows or vista; NET=POLICY for receivers in one network, and again for more
    #[arg(
        long,
        value_name = "[NET=]POLICY",
        default_value = "first",
        value_delimiter = ','
    )]
    overlap_policy: Vec<PolicyRule<OverlapPolicy>>,

    /// Keep only so much of each stream; the rest is counted, and a gap with the cause limit
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_stream_bytes: Option<u64>,

    /// Write segments.parquet: every payload segment, where its bytes lie, what became of them
    #[arg(long)]
    segments: bool,

    /// Write a capture of each flow: the frames that carried its segments, as they are
    #[arg(long)]
    pcaps: bool,

    /// Write flows.csv beside flows.parquet
    #[arg(long)]
    csv: bool,

    /// Take of a directory only the captures in it, and not those in directories below
    #[arg(long)]
    no_recursive: bool,

    /// Read the input instead of mapping it into memory
    #[arg(long)]
    no_mmap: bool,

    /// Print the manifest instead of the table
    #[arg(long)]
    pub(super) json: bool,

    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Print what was skipped and why
    #[arg(short, long)]
    pub(super) verbose: bool,

    /// Whether to show progress; auto shows it on a terminal
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ProgressArg::Auto)]
    pub(super) progress: ProgressArg,

    /// Capture bytes per batch; changes nothing in the output
    #[arg(long, value_name = "SIZE", hide = true, value_parser = units::size)]
    batch_bytes: Option<u64>,

    /// Capture bytes that one task decodes; changes nothing in the output
    #[arg(long, value_name = "SIZE", hide = true, value_parser = units::size)]
    chunk_bytes: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ChecksumArg {
    /// Do not look; captures of hosts that leave checksums to their network card need this
    Ignore,
    /// Drop them, as a receiver does
    Drop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum TrackArg {
    /// VLAN ids of the outermost Ethernet header
    Vlan,
    /// Tunnels, and their ids where both directions have the same
    Tunnel,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum PayloadArg {
    /// One file per stream direction
    Files,
    /// One table of all payload, in parts that DuckDB and others read as one
    Parquet,
    /// Only the summary
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum HashArg {
    /// SHA-256 of the payload file, written or not
    Sha256,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum GapsArg {
    /// Keep them, so that byte n of a file is stream offset n
    Zero,
    /// Close them up
    Skip,
}

/// When progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ProgressArg {
    /// A bar if standard error is a terminal
    Auto,
    /// Not at all
    Never,
    /// One JSON object a line on standard error
    Json,
}

/// A memory limit that leaves every shard room for a flow with what its segments may bring.
fn memory_limit(text: &str) -> Result<u64, String> {
    let limit = units::size(text)?;
    if limit < LEAST_MEMORY_LIMIT {
        return Err(format!(
            "less than {}KiB would hold hardly any flow; the default is 4GiB",
            LEAST_MEMORY_LIMIT >> 10
        ));
    }
    Ok(limit)
}

impl Args {
    /// What the user should know before the run begins.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.memory_limit < LOW_MEMORY_LIMIT {
            all.push(format!(
                "--memory-limit is shared out to {SHARDS} shards, so that each holds {} of flows; \
                 below 64MiB flows are ended early in ordinary captures",
                units::bytes(self.memory_limit / SHARDS as u64)
            ));
        }
        if let Some(threads) = self.threads.filter(|n| usize::from(*n) > MOST_THREADS) {
            all.push(format!(
                "{threads} threads were asked for and {MOST_THREADS} are used; more have nothing to do"
            ));
        }
        all
    }

    /// The configuration that the arguments come to.
    pub(super) fn config(&self) -> Config {
        let gaps = match self.gaps {
            GapsArg::Zero => GapMode::Zero,
            GapsArg::Skip => GapMode::Skip,
        };
        let defaults = BatchConfig::default();
        Config {
            inputs: self.inputs.clone(),
            out: self.out.clone(),
            force: self.force,
            sync: !self.no_sync,
            threads: self
                .threads
                .map(|threads| usize::from(threads).min(MOST_THREADS)),
            mmap: !self.no_mmap,
            recursive: !self.no_recursive,
            payload: PayloadConfig {
                mode: match self.payload {
                    PayloadArg::Files => PayloadMode::Files,
                    PayloadArg::Parquet => PayloadMode::Parquet,
                    PayloadArg::None => PayloadMode::None,
                },
                min_bytes: self.min_bytes,
                sha256: self.hash == Some(HashArg::Sha256),
            },
            gaps,
            csv: self.csv,
            memory_limit: self.memory_limit,
            decode: DecodeConfig {
                filter: self.filter.clone().map(Arc::new),
                checksum: match self.checksum {
                    ChecksumArg::Ignore => ChecksumMode::Ignore,
                    ChecksumArg::Drop => ChecksumMode::Drop,
                },
                track: Track {
                    vlan: self.track.contains(&TrackArg::Vlan),
                    tunnel: self.track.contains(&TrackArg::Tunnel),
                },
                tunnel_ports: TunnelPorts::new(self.tunnel_port.iter().copied()),
                keep_frames: self.pcaps,
            },
            fragment_policy: PolicyMap::new(self.fragment_policy.iter().copied()),
            reassembly: ReassemblyConfig {
                timeouts: Timeouts {
                    handshake: self.handshake_timeout,
                    idle: self.idle_timeout,
                    close_linger: self.close_linger,
                    fragment: self.fragment_timeout,
                },
                max_gap: match gaps {
                    GapMode::Zero => self.max_gap,
                    GapMode::Skip => 0,
                },
                shard_memory: self.memory_limit / SHARDS as u64,
                overlap: PolicyMap::new(self.overlap_policy.iter().copied()),
                max_stream_bytes: self.max_stream_bytes.unwrap_or(u64::MAX),
                segments: self.segments,
            },
            batch: BatchConfig {
                batch_bytes: self.batch_bytes.unwrap_or(defaults.batch_bytes),
                chunk_bytes: self.chunk_bytes.unwrap_or(defaults.chunk_bytes),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn skipping_gaps_closes_every_hole() {
        let args = Args::parse_from(["bulkreasm", "a.pcap", "-o", "out", "--gaps", "skip"]);
        assert_eq!(args.config().reassembly.max_gap, 0);
        let args = Args::parse_from(["bulkreasm", "a.pcap", "-o", "out"]);
        assert_eq!(args.config().reassembly.max_gap, 16 << 20);
        assert_eq!(args.config().reassembly.timeouts, Timeouts::default());
    }

    #[test]
    fn an_output_directory_is_required() {
        assert!(Args::try_parse_from(["bulkreasm", "a.pcap"]).is_err());
    }
}
