//! Equal input and options give equal bytes, however the work is divided.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::captures;
use support::output::{division, files_below, run};
use support::scenario::Scenario;

/// Ways to divide the work: threads, bytes per batch, bytes per chunk.
const DIVISIONS: [(&str, &str, &str); 6] = [
    ("1", "64M", "4M"),
    ("2", "64M", "4M"),
    ("3", "10000", "1000"),
    ("8", "100K", "7777"),
    ("2", "1", "1"),
    ("2", "300", "100"),
];

/// All files of an output directory; of the manifest all but the timings.
fn files(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = files_below(out);
    if let Some(manifest) = files.get_mut(Path::new("manifest.json")) {
        let mut value: serde_json::Value = serde_json::from_slice(manifest).unwrap();
        assert!(value.as_object_mut().unwrap().remove("timings").is_some());
        *manifest = serde_json::to_vec(&value).unwrap();
    }
    files
}

/// Exit status and files of a run.
type Outcome = (Option<i32>, BTreeMap<PathBuf, Vec<u8>>);

fn check(capture: &Path, extra: &[&str]) -> Result<(), String> {
    // The work of dividing grows with the number of pieces; the largest captures get large ones.
    let large = fs::metadata(capture).unwrap().len() > 200_000;
    let mut first: Option<Outcome> = None;
    for (threads, batch, chunk) in DIVISIONS {
        if large && batch.len() < 4 && batch != "64M" {
            continue;
        }
        let base = tempfile::tempdir().unwrap();
        let out = base.path().join("out");
        let mut args = vec![
            capture.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--csv",
        ];
        args.extend(division(threads, batch, chunk));
        args.push("-q");
        args.extend(extra);
        let status = run(&args).status;
        let result = if out.is_dir() {
            files(&out)
        } else {
            BTreeMap::new()
        };
        match &first {
            None => first = Some((status, result)),
            Some((wanted_status, wanted)) => {
                let how = format!("{threads} threads, batches of {batch}, chunks of {chunk}");
                let name = capture.display();
                if status != *wanted_status {
                    return Err(format!(
                        "{name}: {how}: status {status:?}, not {wanted_status:?}"
                    ));
                }
                let names = |files: &BTreeMap<PathBuf, Vec<u8>>| -> Vec<PathBuf> {
                    files.keys().cloned().collect()
                };
                if names(&result) != names(wanted) {
                    return Err(format!("{name}: {how}: other files"));
                }
                if let Some((file, _)) =
                    result.iter().find(|(file, bytes)| wanted[*file] != **bytes)
                {
                    return Err(format!("{name}: {how}: {} differs", file.display()));
                }
            }
        }
    }
    Ok(())
}

fn all_agree(captures: &[PathBuf], extra: &[&str]) {
    assert!(!captures.is_empty());
    let wrong: Vec<String> = captures
        .iter()
        .filter_map(|capture| check(capture, extra).err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn own_captures_give_the_same_bytes_however_divided() {
    all_agree(&captures::own(), &[]);
}

#[test]
fn own_captures_give_the_same_bytes_when_read_and_when_gaps_are_skipped() {
    all_agree(&captures::own(), &["--no-mmap", "--gaps", "skip"]);
}

#[test]
fn a_memory_limit_evicts_the_same_flows_however_divided() {
    all_agree(&captures::own(), &["--memory-limit", "300K"]);
}

/// Which of two neighbouring frames is believed must not depend on whether they were read together.
#[test]
fn clocks_that_slip_are_seen_through_however_divided() {
    let scratch = tempfile::tempdir().unwrap();
    let captures: Vec<PathBuf> = Scenario::load_all()
        .iter()
        .filter(|scenario| scenario.name.contains("clock"))
        .map(|scenario| {
            let path = scratch
                .path()
                .join(format!("{}.pcap", scenario.name.replace('/', "-")));
            fs::write(&path, scenario.to_pcap(0)).unwrap();
            path
        })
        .collect();
    all_agree(&captures, &[]);
    all_agree(&captures, &["--no-mmap"]);
}

#[test]
fn a_filter_keeps_the_same_flows_however_divided() {
    all_agree(
        &captures::own(),
        &["--filter", "portrange 1-500 and not vlan"],
    );
}

#[test]
fn payload_parts_and_digests_are_the_same_bytes_however_divided() {
    let table = ["--payload", "parquet", "--hash", "sha256"];
    all_agree(&captures::own(), &table);
    let more = ["--min-bytes", "2000", "--memory-limit", "300K", "--no-mmap"];
    all_agree(&captures::own(), &[&table[..], &more[..]].concat());
    let files = [
        "--hash",
        "sha256",
        "--min-bytes",
        "2000",
        "--max-gap",
        "500",
    ];
    all_agree(&captures::own(), &files);
}

#[test]
fn captures_of_single_flows_are_the_same_bytes_however_divided() {
    all_agree(&captures::all(), &["--payload", "none", "--pcaps"]);
}

#[test]
fn foreign_captures_give_the_same_payload_parts_however_divided() {
    if let Some(captures) = captures::foreign() {
        all_agree(&captures, &["--payload", "parquet", "--hash", "sha256"]);
    }
}

#[test]
fn foreign_captures_give_the_same_bytes_however_divided() {
    if let Some(captures) = captures::foreign() {
        all_agree(&captures, &[]);
    }
}

#[test]
fn options_of_decoding_give_the_same_bytes_however_divided() {
    let track = ["--track", "vlan,tunnel"];
    let linux = ["--fragment-policy", "drop,0.0.0.0/0=linux"];
    all_agree(
        &captures::all(),
        &[&track[..], &linux, &["--checksum", "drop"]].concat(),
    );
}

#[test]
fn mapped_and_read_input_give_the_same_bytes() {
    for capture in captures::all() {
        let outs = [&[][..], &["--no-mmap"][..]].map(|extra: &[&str]| {
            let base = tempfile::tempdir().unwrap();
            let out = base.path().join("out");
            let mut args = vec![
                capture.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
                "-q",
            ];
            args.extend(extra);
            let status = run(&args).status;
            (
                status,
                if out.is_dir() {
                    files(&out)
                } else {
                    BTreeMap::new()
                },
            )
        });
        assert_eq!(outs[0].0, outs[1].0, "{}", capture.display());
        assert!(outs[0].1 == outs[1].1, "{} differs", capture.display());
    }
}
