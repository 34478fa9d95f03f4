//! What is printed at the end.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use super::units::{bytes, count};
use crate::config::{Config, PayloadMode};
use crate::output::accounting::{
    Accounting, FlowAccounting, FragmentConflictAccounting, FrameAccounting,
};
use crate::pipeline::{LimitLoss, Manifest, RunReport, Shown, shown};

/// So many unknown link types are named at most, however verbose: a choice.
const MOST_LINKS: usize = 20;

/// What the user should know beyond the table: each a sentence.
pub(super) fn warnings(config: &Config, report: &RunReport, verbose: bool) -> Vec<String> {
    let mut all = Vec::new();
    let manifest = &report.manifest;
    if report.interrupted() {
        all.push("interrupted; what was written covers the input up to there".to_owned());
    }
    let few = if verbose { usize::MAX } else { 3 };
    for file in manifest.skipped_files.iter().take(few) {
        all.push(format!(
            "skipped {}: {}",
            name(&file.path, file.path_hex.as_deref()),
            file.reason
        ));
    }
    let more = manifest.skipped_files.len().saturating_sub(few);
    if more > 0 {
        all.push(format!(
            "skipped {more} more files, which the manifest names"
        ));
    }
    for region in manifest.damage.list.iter().take(few) {
        let before = region.next_frame.map_or_else(String::new, |frame| {
            format!(", before frame {}", count(frame))
        });
        let lost = match region.bytes {
            0 => "nothing behind it could be read".to_owned(),
            lost => format!("{} lost", bytes(lost)),
        };
        all.push(format!(
            "{}: {} at offset {}{before}: {lost}",
            input_name(manifest, region.file_id),
            region.reason,
            region.offset,
        ));
    }
    all.extend(clock_jumps(report));
    all.extend(unknown_links(
        &manifest.accounting.frames,
        few.min(MOST_LINKS),
    ));
    all.extend(nothing_found(&manifest.accounting.frames));
    all.extend(bad_checksums(&manifest.accounting));
    all.extend(filter_warnings(config, &manifest.accounting.frames));
    all.extend(
        report
            .losses_to_limits()
            .map(|(loss, much)| lost(loss, much)),
    );
    let anomaly = |name: &str| manifest.anomalies.get(name).copied().unwrap_or(0);
    let early = anomaly("half_streams_written_below_minimum");
    if early > 0 {
        all.push(format!(
            "{} stream directions were written although they may have fewer bytes than \
             --min-bytes, for want of memory; their segments are very small",
            count(early)
        ));
    }
    if verbose {
        all.extend(details(report));
    }
    all
}

/// What a limit cost, and what to do about it.
fn lost(loss: LimitLoss, much: u64) -> String {
    match loss {
        LimitLoss::Flows => format!(
            "{} flows were ended early to stay within the memory limit; raise --memory-limit",
            count(much)
        ),
        LimitLoss::Datagrams => format!(
            "{} fragmented datagrams were given up, since too many were incomplete at a time; a shorter \
             --fragment-timeout leaves more room",
            count(much)
        ),
        LimitLoss::Payload => format!(
            "{} of payload were rejected for want of room to wait in; the flows' rejected_bytes say \
             where",
            bytes(much)
        ),
        LimitLoss::Digests => format!(
            "{} stream directions have no digest: holes are much larger than what was captured of them (--gaps skip \
             leaves them out), or data came too late for it (--payload files takes it)",
            count(much)
        ),
        LimitLoss::Frames => format!(
            "{} times a frame is missing from a flow's capture, since it carries segments of very many \
             flows and stands in those of the first",
            count(much)
        ),
        LimitLoss::Interfaces => format!(
            "{} interfaces were not taken, and their frames not read: a pcapng section has too many; \
             split it",
            count(much)
        ),
    }
}

/// An empty table of flows looks like a run that went wrong.
fn nothing_found(frames: &FrameAccounting) -> Option<String> {
    (frames.total > 0 && frames.tcp == 0 && frames.filtered == 0).then(|| {
        let most = frames.other.iter().max_by_key(|(_, count)| **count);
        let most = most.map_or_else(String::new, |(protocol, frames)| {
            format!("; most carry {protocol} ({})", count(*frames))
        });
        format!(
            "no TCP: none of the {} frames carries any that can be read{most}; -v lists what they carry",
            count(frames.total)
        )
    })
}

/// Timeouts run on the capture's clock, so who reads the result must know of a clock that was set.
fn clock_jumps(report: &RunReport) -> Option<String> {
    let jump = report.clock_jump.as_ref()?;
    let jumps = report.manifest.anomalies.get("clock_jumps");
    // Where it goes forth, the network may have been quiet; nothing tells.
    let (way, or) = if jump.by_ns > 0 {
        ("forth", ", or nothing was captured for so long,")
    } else {
        ("back", "")
    };
    let hours = jump.by_ns.unsigned_abs() / 3_600_000_000_000;
    let all = match jumps {
        Some(&jumps) if jumps > 1 => format!("the first of {} jumps", count(jumps)),
        _ => "the only jump".to_owned(),
    };
    Some(format!(
        "{}: the clock goes {way} by {} hours{or} before frame {} of all inputs, from {} to {}: {all} of \
         more than an hour; timeouts run on the greatest time so far",
        input_name(&report.manifest, jump.file_id),
        count(hours),
        count(jump.frame),
        jump.from,
        jump.to,
    ))
}

/// The name of an input.
fn input_name(manifest: &Manifest, file_id: u16) -> String {
    let input = manifest.inputs.get(usize::from(file_id));
    input.map_or_else(String::new, |input| {
        name(&input.path, input.path_hex.as_deref())
    })
}

/// A path of the manifest as it may be shown.
fn name(path: &str, hex: Option<&str>) -> String {
    let bytes = hex.map(|hex| {
        let digits = hex.as_bytes().chunks_exact(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.filter_map(byte).collect::<Vec<u8>>()
    });
    let bytes = bytes.as_deref().unwrap_or(path.as_bytes());
    Shown::bytes(bytes).to_string()
}

/// A network damages one packet in many thousands. More than one in ten is a capture that was made
/// before the network card filled the checksums in.
fn bad_checksums(accounting: &Accounting) -> Option<String> {
    let ipv4 = accounting.frames.undecoded.get("ipv4");
    let ipv4 = ipv4.and_then(|reasons| reasons.get("bad_checksum"));
    let packets = ipv4.copied().unwrap_or(0);
    let dropped = packets + accounting.payload.bad_checksum_segments;
    let all = packets + accounting.payload.segments;
    let hint = if dropped > all / 10 {
        "; so many are the mark of checksum offload; run with --checksum ignore"
    } else {
        ""
    };
    (dropped > 0).then(|| {
        format!(
            "{} of {} packets were dropped for a wrong checksum{hint}",
            count(dropped),
            count(all)
        )
    })
}

fn filter_warnings(config: &Config, frames: &FrameAccounting) -> Option<String> {
    let filter = config.decode.filter.as_ref()?;
    if frames.tcp == 0 && frames.filtered > 0 {
        Some("the filter left out every TCP segment".to_owned())
    } else if frames.filtered > 0 && filter.tests_flags() {
        Some(
            "the filter tests flags, so it left segments out of flows: gaps and states may be its \
             doing"
                .to_owned(),
        )
    } else {
        None
    }
}

fn details(report: &RunReport) -> Vec<String> {
    let frames = &report.manifest.accounting.frames;
    let mut all = Vec::new();
    for (layer, reasons) in &frames.undecoded {
        for (reason, &frames) in reasons {
            all.push(format!(
                "{} frames not decoded: {layer} {reason}",
                count(frames)
            ));
        }
    }
    for (protocol, &frames) in &frames.other {
        all.push(format!("{} frames carry {protocol}", count(frames)));
    }
    if report.bad_timestamps > 0 {
        all.push(format!(
            "{} frames with a time out of range",
            count(report.bad_timestamps)
        ));
    }
    let fragments = report.fragments;
    if fragments.fragments > 0 {
        all.push(format!(
            "{} IP fragments made {} datagrams; {} datagrams stayed incomplete",
            count(fragments.fragments),
            count(fragments.datagrams),
            count(fragments.timed_out + fragments.over_limit + fragments.incomplete_at_end),
        ));
    }
    all
}

/// The final table.
pub(super) fn table(config: &Config, report: &RunReport) -> String {
    let accounting = &report.manifest.accounting;
    let (gaps, conflicts) = (&accounting.gaps, &accounting.conflicts);
    let rejected = accounting.payload.rejected;
    let mut lines = vec![
        ("frames", frames(&accounting.frames)),
        ("flows", flows(&accounting.flows)),
        (
            "payload",
            format!("{} in streams", bytes(accounting.payload.unique)),
        ),
        (
            "missing",
            format!("{} in {} gaps", bytes(gaps.bytes), count(gaps.count)),
        ),
        (
            "conflicts",
            format!(
                "{} in {} flows{}",
                bytes(conflicts.bytes),
                count(conflicts.flows),
                in_fragments(accounting.fragment_conflicts)
            ),
        ),
        ("damage", damage(report)),
        ("speed", speed(report)),
        ("output", output(config, report)),
        ("query", query(config)),
    ];
    if rejected > 0 {
        let text = format!("{} captured, and refused by a rule of TCP", bytes(rejected));
        let at = lines.iter().position(|(name, _)| *name == "conflicts");
        lines.insert(at.map_or(lines.len(), |at| at + 1), ("rejected", text));
    }
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
        text
    })
}

fn frames(frames: &FrameAccounting) -> String {
    let undecoded: u64 = frames.undecoded.values().flat_map(BTreeMap::values).sum();
    let unknown: u64 = frames.unknown_link_types.values().sum();
    let other: u64 = frames.other.values().sum();
    let filtered = match frames.filtered {
        0 => String::new(),
        filtered => format!("{} filtered out, ", count(filtered)),
    };
    format!(
        "{}: {} TCP, {filtered}{} other, {} not decoded",
        count(frames.total),
        count(frames.tcp),
        count(other + frames.fragments),
        count(undecoded + unknown)
    )
}

/// Names the link types with the most frames, and sums up the others.
fn unknown_links(frames: &FrameAccounting, few: usize) -> Vec<String> {
    let mut links: Vec<(&String, u64)> = frames
        .unknown_link_types
        .iter()
        .map(|(link, &frames)| (link, frames))
        .collect();
    // A stable sort: those with as many frames stay in the manifest's order.
    links.sort_by_key(|&(_, frames)| Reverse(frames));
    let mut all: Vec<String> = links
        .iter()
        .take(few)
        .map(|(link, frames)| {
            format!(
                "{} frames of link type {link} are not decoded",
                count(*frames)
            )
        })
        .collect();
    let rest = links.get(few..).unwrap_or_default();
    if !rest.is_empty() {
        let frames = rest.iter().map(|(_, frames)| frames).sum();
        all.push(format!(
            "{} frames of {} more link types are not decoded; the manifest names them",
            count(frames),
            count(rest.len() as u64)
        ));
    }
    all
}

fn flows(flows: &FlowAccounting) -> String {
    format!(
        "{}: {} complete, {} picked up mid-stream",
        count(flows.count),
        percent(flows.complete, flows.count),
        count(flows.midstream)
    )
}

fn in_fragments(conflicts: FragmentConflictAccounting) -> String {
    match conflicts.datagrams {
        0 => String::new(),
        datagrams => format!(
            ", {} in {} fragmented datagrams",
            bytes(conflicts.bytes),
            count(datagrams)
        ),
    }
}

fn damage(report: &RunReport) -> String {
    let damage = &report.manifest.damage;
    match damage.regions {
        0 => "none".to_owned(),
        regions => format!("{} lost in {} places", bytes(damage.bytes), count(regions)),
    }
}

fn speed(report: &RunReport) -> String {
    let timings = &report.manifest.timings;
    let peak = timings.peak_rss_bytes.map_or_else(String::new, |peak| {
        format!(", peak memory {} with the mapped input", bytes(peak))
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "shown rounded"
    )]
    let rate = bytes(timings.input_bytes_per_second as u64);
    format!("{rate}/s, {:.2} s{peak}", timings.wall_seconds)
}

fn output(config: &Config, report: &RunReport) -> String {
    let outputs = &report.manifest.outputs;
    let tables = outputs.iter().filter(|(name, _)| !name.contains('/'));
    let tables: u64 = tables.map(|(_, output)| output.bytes).sum();
    let files = match config.payload.mode {
        PayloadMode::Files => {
            let files = outputs.get("streams/").and_then(|output| output.files);
            format!("{} payload files, ", count(files.unwrap_or(0)))
        }
        PayloadMode::Parquet => {
            let parts = outputs.iter().filter(|(name, _)| name.contains('/'));
            let bytes_of_parts = parts.clone().map(|(_, output)| output.bytes).sum();
            format!(
                "{} payload parts of {}, ",
                count(parts.count() as u64),
                bytes(bytes_of_parts)
            )
        }
        PayloadMode::None => String::new(),
    };
    format!("{}: {files}{} of tables", shown(&config.out), bytes(tables))
}

fn query(config: &Config) -> String {
    let path = config.out.join("flows.parquet");
    let path = shown(&path).to_string().replace('\'', "''");
    format!(
        "SELECT client_ip, server_ip, server_port, conn_state, s2c_stream_bytes FROM '{path}' \
         ORDER BY s2c_stream_bytes DESC LIMIT 10;"
    )
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let tenths = part.saturating_mul(1000) / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_unknown_link_types_are_a_few_lines() {
        let names = |number: u64| format!("{number} unknown");
        let frames = FrameAccounting {
            unknown_link_types: (0..60_000).map(|n| (names(n), 1 + n % 59_999)).collect(),
            ..FrameAccounting::default()
        };
        let lines = unknown_links(&frames, 3);
        assert_eq!(lines.len(), 4);
        assert!(lines[0].contains("59,999 frames of link type 59998 unknown"));
        assert!(
            lines[3].contains("of 59,997 more link types"),
            "{}",
            lines[3]
        );
        let few = FrameAccounting {
            unknown_link_types: (0..3).map(|n| (names(n), 1)).collect(),
            ..FrameAccounting::default()
        };
        assert_eq!(unknown_links(&few, 3).len(), 3);
    }

    #[test]
    fn percentages_never_round_up_to_all() {
        assert_eq!(percent(9999, 10_000), "99.9 %");
        assert_eq!(percent(10, 10), "100.0 %");
        assert_eq!(percent(0, 0), "0 %");
    }
}
