//! Small generated captures: they come out of the generator as they stand in `data/generated/`, and
//! the program agrees with the truth about them.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a test speaks, and lengths of small captures fit anywhere"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::capture_file::Format;
use support::generator::config::{Config, Profile};
use support::generator::generate;
use support::output::reassemble;
use support::truth::{FlowTruth, HalfTruth, sha256};

/// The captures in `data/generated/`, as `data/README.md` lists them.
fn configs() -> Vec<(&'static str, Config)> {
    let small = |profile, seed, flows, bytes, concurrent, format| Config {
        seed,
        flows,
        bytes,
        concurrent,
        format,
        ..Config::of(profile)
    };
    let pcap = |big_endian, nanos| Format::Pcap { big_endian, nanos };
    let ng = |big_endian| Format::Pcapng { big_endian };
    let mut snapped = small(Profile::Bulk, 4, 3, 24_000, 3, pcap(false, false));
    snapped.snaplen = 120;
    vec![
        (
            "bulk.pcap",
            small(Profile::Bulk, 1, 2, 30_000, 2, pcap(false, false)),
        ),
        (
            "mixed.pcapng",
            small(Profile::Mixed, 2, 12, 36_000, 6, ng(false)),
        ),
        (
            "small_big_endian.pcap",
            small(Profile::Small, 3, 10, 14_000, 5, pcap(true, true)),
        ),
        ("snapped.pcap", snapped),
        (
            "impaired.pcap",
            small(Profile::Impaired, 9, 16, 50_000, 8, pcap(false, true)),
        ),
        (
            "impaired_big_endian.pcapng",
            small(Profile::Impaired, 6, 8, 20_000, 4, ng(true)),
        ),
    ]
}

fn make(config: &Config) -> (Vec<u8>, Vec<FlowTruth>) {
    let (mut capture, mut truth) = (Vec::new(), Vec::new());
    generate(config, &mut capture, |flow| {
        truth.extend(flow.truth());
        Ok(())
    })
    .unwrap();
    truth.sort_by_key(|flow| flow.flow_id);
    (capture, truth)
}

fn lines(truth: &[FlowTruth]) -> String {
    truth
        .iter()
        .map(|flow| serde_json::to_string(flow).unwrap() + "\n")
        .collect()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/generated")
}

#[test]
fn committed_captures_are_what_the_generator_writes() {
    let directory = directory();
    // Set to write them anew, after a change to the generator that is meant to change them.
    let write = std::env::var_os("WRITE_GENERATED").is_some();
    for (name, config) in configs() {
        let (capture, truth) = make(&config);
        let truth_name = format!("{name}.truth.jsonl");
        if write {
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(name), &capture).unwrap();
            fs::write(directory.join(&truth_name), lines(&truth)).unwrap();
        }
        assert!(
            fs::read(directory.join(name)).unwrap() == capture,
            "{name} came out different"
        );
        let committed = fs::read_to_string(directory.join(truth_name)).unwrap();
        assert!(
            committed == lines(&truth),
            "the truth about {name} came out different"
        );
    }
}

fn compare(half: &HalfTruth, payload: &[u8], gaps: &[(u64, u64, String)]) -> Vec<String> {
    let mut report = Vec::new();
    let digest = (!payload.is_empty()).then(|| sha256(payload));
    if digest != half.sha256 {
        let (got, wanted) = (payload.len(), half.file_bytes);
        report.push(format!("other bytes ({got} of them, {wanted} expected)"));
    }
    let wanted: Vec<_> = half
        .gaps
        .iter()
        .map(|g| (g.offset, g.length, g.cause.clone()))
        .collect();
    if gaps != wanted {
        report.push(format!("gaps {gaps:?}, expected {wanted:?}"));
    }
    report
}

#[test]
fn the_program_agrees_with_the_truth() {
    let scratch = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for (name, config) in configs() {
        let out = scratch.path().join(name);
        let results = match reassemble(&directory().join(name), &out, &[]) {
            Ok(results) => results,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let (_, truth) = make(&config);
        let ids: Vec<i64> = results.flows.iter().map(|row| row.int("flow_id")).collect();
        let wanted: Vec<i64> = truth.iter().map(|flow| flow.flow_id as i64).collect();
        if ids != wanted {
            failures.push(format!("{name}: flows {ids:?}, expected {wanted:?}"));
            continue;
        }
        for (row, flow) in results.flows.iter().zip(&truth) {
            for (direction, half) in [("c2s", &flow.c2s), ("s2c", &flow.s2c)] {
                let gaps: Vec<_> = results
                    .gaps_of(row, direction)
                    .iter()
                    .map(|g| (g.offset as u64, g.length as u64, g.cause.clone()))
                    .collect();
                let payload = results.payload(row, direction);
                for difference in compare(half, &payload, &gaps) {
                    failures.push(format!(
                        "{name}: {}.{direction}: {difference}",
                        flow.flow_id
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
