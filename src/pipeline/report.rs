//! What a run came to: the manifest, and what the command line shows of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::batch::Join;
use super::memory;
use super::run::RunError;
use super::tables::TableSummaries;
use super::tally::FileTally;
use crate::capture::{CutAtEnd, Input, Inputs, MAX_DAMAGE, WalkStats};
use crate::config::{ChecksumMode, Config, GapMode, PayloadMode, Track};
use crate::decode::{DecodeStats, FragmentStats, Layer, Reason, link_type_name};
use crate::output::accounting::{Accounting, Counts, FragmentConflictAccounting, FrameAccounting};
use crate::output::manifest::{
    Damage, DamagedRegion, InputFacts, Manifest, OutputFacts, SkippedFile, path_as_text,
};
use crate::output::text::rfc3339;
use crate::output::{FileTotals, OutputDir, PayloadTotals};
use crate::reassembly::ReassemblyStats;
use crate::shard::ShardSeed;

/// A run that has written everything but its manifest.
pub(super) struct Finished {
    pub(super) interrupted: bool,
    pub(super) join: Join,
    pub(super) seed: ShardSeed,
    pub(super) accounting: Accounting,
    pub(super) tables: TableSummaries,
    pub(super) payload: PayloadTotals,
    pub(super) captures: FileTotals,
    pub(super) stats: Vec<ReassemblyStats>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// What was written as `manifest.json`.
    pub manifest: Manifest,
    /// The same as text.
    pub manifest_json: String,
    /// Frames whose time is out of range.
    pub bad_timestamps: u64,
    /// What became of IP fragments.
    pub fragments: FragmentStats,
    /// Flows ended by the memory budget.
    pub evicted: u64,
    /// The first jump of a capture's clock, if there is one.
    pub clock_jump: Option<ClockJump>,
}

/// The clock of a file jumps, forth or back, by more than an hour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClockJump {
    /// The file, as an index into the manifest's inputs.
    pub file_id: u16,
    /// The frame behind the jump.
    pub frame: u64,
    /// The time before it, as RFC 3339 text.
    pub from: String,
    /// The time behind it.
    pub to: String,
    /// How far it goes, nanoseconds; negative if back.
    pub by_ns: i64,
}

impl RunReport {
    /// The user ended the run before the input did.
    pub const fn interrupted(&self) -> bool {
        !self.manifest.complete
    }

    /// What a limit of memory or of a table cost: each with how much, if it was anything. What the user
    /// asked to leave out is none of it.
    pub fn losses_to_limits(&self) -> impl Iterator<Item = (LimitLoss, u64)> {
        let anomaly = |name: &str| self.manifest.anomalies.get(name).copied().unwrap_or(0);
        let interfaces = self.manifest.capture.get("interfaces_over_limit");
        [
            (LimitLoss::Flows, self.evicted),
            (LimitLoss::Datagrams, self.fragments.over_limit),
            (
                LimitLoss::Payload,
                self.manifest.accounting.payload.crowded_out,
            ),
            (LimitLoss::Digests, anomaly("half_streams_without_digest")),
            (
                LimitLoss::Frames,
                anomaly("frames_left_out_of_flow_captures"),
            ),
            (LimitLoss::Interfaces, interfaces.copied().unwrap_or(0)),
        ]
        .into_iter()
        .filter(|&(_, count)| count > 0)
    }

    /// A limit of memory or of a table lost something.
    pub fn lost_to_limits(&self) -> bool {
        self.losses_to_limits().next().is_some()
    }

    /// Part of the input could not be read.
    pub const fn is_damaged(&self) -> bool {
        self.manifest.damage.regions > 0
    }
}

/// Something that a limit of memory or of a table can cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitLoss {
    /// Flows that were ended early.
    Flows,
    /// Fragmented datagrams that were given up.
    Datagrams,
    /// Bytes of streams that there was no room to hold until their place was known.
    Payload,
    /// Stream directions that have no digest.
    Digests,
    /// Frames that captures of flows lack.
    Frames,
    /// Interfaces of a pcapng file that were not taken.
    Interfaces,
}

/// The configuration as far as it decides the output: nothing of the machine or of how the work is
/// divided.
pub(super) fn config_value(config: &Config) -> Value {
    let timeouts = &config.reassembly.timeouts;
    json!({
        "filter": config.decode.filter.as_ref().map(|filter| filter.text()),
        "memory_limit": config.memory_limit,
        "idle_timeout_ns": timeouts.idle,
        "handshake_timeout_ns": timeouts.handshake,
        "close_linger_ns": timeouts.close_linger,
        "fragment_timeout_ns": timeouts.fragment,
        "fragment_policy": config.fragment_policy.to_string(),
        "checksum": match config.decode.checksum {
            ChecksumMode::Ignore => "ignore",
            ChecksumMode::Drop => "drop",
        },
        "track": tracked(config.decode.track),
        "tunnel_ports": config.decode.tunnel_ports.names(),
        "overlap_policy": config.reassembly.overlap.to_string(),
        "payload": match config.payload.mode {
            PayloadMode::Files => "files",
            PayloadMode::Parquet => "parquet",
            PayloadMode::None => "none",
        },
        "min_bytes": config.payload.min_bytes,
        "hash": config.payload.sha256.then_some("sha256"),
        "gaps": match config.gaps {
            GapMode::Zero => "zero",
            GapMode::Skip => "skip",
        },
        "max_gap": config.reassembly.max_gap,
        "max_stream_bytes": (config.reassembly.max_stream_bytes != u64::MAX)
            .then_some(config.reassembly.max_stream_bytes),
        "segments": config.reassembly.segments,
        "pcaps": config.decode.keep_frames,
    })
}

fn tracked(track: Track) -> Vec<&'static str> {
    let all = [(track.vlan, "vlan"), (track.tunnel, "tunnel")];
    all.iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| *name)
        .collect()
}

/// Checks the accounting and writes the manifest, the last file of a run. A manifest whose numbers
/// do not add up is written too, as what there is to look at, and the run fails.
pub(super) fn complete(
    config: &Config,
    inputs: &Inputs,
    dir: &OutputDir,
    finished: Finished,
    elapsed: Duration,
    threads: usize,
) -> Result<RunReport, RunError> {
    let Finished {
        interrupted,
        join,
        seed,
        mut accounting,
        tables,
        payload,
        captures,
        stats,
    } = finished;
    let fragments = join.fragments.finish();
    let walk = join
        .files
        .iter()
        .fold(WalkStats::default(), |mut sum, file| {
            sum.merge(&file.walk);
            sum
        });
    accounting.frames = frames(walk.frames, &join.decode);
    let sum = |count: fn(&ReassemblyStats) -> u64| stats.iter().map(count).sum::<u64>();
    let decode = &join.decode;
    accounting.payload.captured = sum(|shard| shard.payload_bytes) + decode.bad_checksum_payload;
    accounting.payload.segments = sum(|shard| shard.segments) + decode.bad_tcp_checksums;
    accounting.payload.bad_checksum = decode.bad_checksum_payload;
    accounting.payload.bad_checksum_segments = decode.bad_tcp_checksums;
    accounting.fragment_conflicts = FragmentConflictAccounting {
        datagrams: fragments.conflict_datagrams,
        bytes: fragments.conflict_bytes,
    };
    if config.payload.mode != PayloadMode::None {
        accounting.payload.written = Some(payload.bytes);
        accounting.payload.below_minimum = Some(payload.below_minimum);
    }
    let checked = accounting.check();

    let mut manifest = Manifest::new(config_value(config));
    // Numbers that do not add up are there to be looked at, not to be taken for a result.
    manifest.complete = !interrupted && checked.is_ok();
    manifest.shard_seed = seed.to_string();
    manifest.inputs = inputs
        .list()
        .iter()
        .zip(&join.files)
        .map(|(input, tally)| facts(input, tally))
        .collect();
    manifest.skipped_files = skipped(inputs);
    manifest.accounting = accounting;
    manifest.anomalies = [
        (
            "implausible_resets_and_fins",
            sum(|shard| shard.implausible_ends),
        ),
        ("stray_syns", sum(|shard| shard.stray_syns)),
        ("mirror_copies", sum(|shard| shard.mirror_copies)),
        (
            "clock_jumps",
            join.files.iter().map(|file| file.jumps.count).sum(),
        ),
        ("evicted_flows", sum(|shard| shard.evicted)),
        ("ip_fragments_overlapping", fragments.overlapping),
        ("ip_fragments_conflicting", fragments.conflicting),
        ("ip_fragments_bad", fragments.bad_fragments),
        ("ip_datagrams_dropped_for_overlap", fragments.dropped),
        ("ip_datagrams_timed_out", fragments.timed_out),
        ("ip_datagrams_over_limit", fragments.over_limit),
        (
            "ip_datagrams_incomplete_at_end",
            fragments.incomplete_at_end,
        ),
        ("half_streams_written_below_minimum", payload.passed_early),
        ("half_streams_without_digest", payload.digests_given_up),
        ("frames_left_out_of_flow_captures", captures.left_out),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into();
    manifest.capture = capture_facts(&walk);
    manifest.damage = damage(inputs, &join.files);
    manifest.outputs = outputs(config, &tables, payload, captures);
    let seconds = elapsed.as_secs_f64();
    manifest.timings.wall_seconds = seconds;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    {
        let bytes: u64 = inputs.list().iter().map(Input::len).sum();
        manifest.timings.input_bytes_per_second = bytes as f64 / seconds.max(1e-9);
    }
    manifest.timings.threads = threads as u64;
    manifest.timings.peak_rss_bytes = memory::peak_resident();
    manifest.write(dir)?;
    checked.map_err(RunError::Accounting)?;
    Ok(RunReport {
        manifest_json: manifest.to_json(),
        manifest,
        bad_timestamps: walk.bad_timestamps,
        fragments,
        evicted: sum(|shard| shard.evicted),
        clock_jump: first_jump(inputs, &join.files),
    })
}

fn skipped(inputs: &Inputs) -> Vec<SkippedFile> {
    let files = inputs.skipped().iter().map(|file| {
        let (path, path_hex) = path_as_text(&file.path);
        SkippedFile {
            path,
            path_hex,
            reason: file.reason.clone(),
        }
    });
    files.collect()
}

/// The jump of a clock that comes first in the order of frames.
fn first_jump(inputs: &Inputs, files: &[FileTally]) -> Option<ClockJump> {
    let jumps = inputs.list().iter().zip(files).filter_map(|(input, file)| {
        let jump = file.jumps.first?;
        Some(ClockJump {
            file_id: input.file(),
            frame: jump.frame,
            from: rfc3339(jump.from.ns()?),
            to: rfc3339(jump.to.ns()?),
            by_ns: jump.to.since(jump.from)?,
        })
    });
    jumps.min_by_key(|jump| jump.frame)
}

fn outputs(
    config: &Config,
    tables: &TableSummaries,
    payload: PayloadTotals,
    captures: FileTotals,
) -> BTreeMap<String, OutputFacts> {
    let mut outputs = BTreeMap::new();
    outputs.insert("flows.parquet".to_owned(), tables.flows.into());
    outputs.insert("gaps.parquet".to_owned(), tables.gaps.into());
    outputs.insert("conflicts.parquet".to_owned(), tables.conflicts.into());
    if let Some(segments) = tables.segments {
        outputs.insert("segments.parquet".to_owned(), segments.into());
    }
    if let Some(csv) = tables.csv {
        outputs.insert("flows.csv".to_owned(), csv.into());
    }
    for (part, summary) in payload.parts {
        outputs.insert(part, summary.into());
    }
    if config.payload.mode == PayloadMode::Files {
        let PayloadTotals { files, bytes, .. } = payload;
        outputs.insert(
            "streams/".to_owned(),
            FileTotals {
                files,
                bytes,
                ..FileTotals::default()
            }
            .into(),
        );
    }
    if config.decode.keep_frames {
        outputs.insert("pcaps/".to_owned(), captures.into());
    }
    outputs
}

/// `1 (ethernet)`: a link type by number and name.
pub(crate) fn link_text(link: u16) -> String {
    format!("{link} ({})", link_type_name(link))
}

fn frames(total: u64, decode: &DecodeStats) -> FrameAccounting {
    let mut frames = FrameAccounting {
        total,
        tcp: decode.tcp,
        filtered: decode.filtered,
        fragments: decode.fragments(),
        ..FrameAccounting::default()
    };
    for (name, count) in decode.others() {
        frames.other.insert(name.into_owned(), count);
    }
    let unknown: u64 = decode.unknown_link_types.values().sum();
    for (at, mut count) in decode.all_undecoded() {
        // Frames of unknown link types have a list of their own, with the types' names.
        if at.layer == Layer::Link && at.reason == Reason::Unsupported {
            count -= unknown.min(count);
        }
        if count > 0 {
            let layer = frames
                .undecoded
                .entry(at.layer.name().to_owned())
                .or_default();
            layer.insert(at.reason.name().to_owned(), count);
        }
    }
    for (&link, &count) in &decode.unknown_link_types {
        frames.unknown_link_types.insert(link_text(link), count);
    }
    frames
}

fn capture_facts(walk: &WalkStats) -> Counts {
    let mut facts: Counts = [
        ("frames_cut_by_snap_length", walk.frames_cut),
        ("bad_timestamps", walk.bad_timestamps),
        ("file_headers_between_records", walk.file_headers),
        ("interfaces_over_limit", walk.interfaces_over_limit),
    ]
    .map(|(name, count)| (name.to_owned(), count))
    .into();
    for (kind, count) in walk.skipped.counts().filter(|&(_, count)| count > 0) {
        facts.insert(format!("skipped_{}", kind.name().replace(' ', "_")), count);
    }
    facts
}

fn facts(input: &Input, tally: &FileTally) -> InputFacts {
    let (path, path_hex) = path_as_text(input.path());
    InputFacts {
        path,
        path_hex,
        bytes: input.bytes_read(),
        compression: input.compression().map(|how| how.name().to_owned()),
        format: input.format().name.to_owned(),
        link_types: input
            .format()
            .links
            .iter()
            .map(|link| link_text(link.0))
            .collect(),
        frames: tally.walk.frames,
        first_frame: tally.first_frame,
        first_ts_ns: tally.times.and_then(|(first, _)| first.ns()),
        last_ts_ns: tally.times.and_then(|(_, last)| last.ns()),
    }
}

fn damage(inputs: &Inputs, files: &[FileTally]) -> Damage {
    let mut all = Damage::default();
    for (input, file) in inputs.list().iter().zip(files) {
        let file_id = input.file();
        all.regions += file.walk.damaged_regions;
        all.bytes += file.walk.damaged_bytes;
        let room = MAX_DAMAGE.saturating_sub(all.list.len());
        let described = file.damage.iter().take(room);
        all.list
            .extend(described.map(|(region, next_frame)| DamagedRegion {
                file_id,
                offset: region.offset,
                bytes: region.bytes,
                next_frame: *next_frame,
                reason: region.reason.name().to_owned(),
            }));
        if let Some(CutAtEnd { offset, bytes, .. }) = file.walk.cut_at_end {
            all.regions += 1;
            all.bytes += bytes;
            all.list.push(DamagedRegion {
                file_id,
                offset,
                bytes,
                next_frame: None,
                reason: "the file ends inside a record".to_owned(),
            });
        }
        if let Some(reason) = input.stream_damage() {
            all.regions += 1;
            all.list.push(DamagedRegion {
                file_id,
                offset: input.len(),
                bytes: 0,
                next_frame: None,
                reason,
            });
        }
    }
    all
}
