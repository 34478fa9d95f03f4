//! Several files are one capture: the same output as that of one file with their frames in order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use support::captures;
use support::files::{Capture, Merged, merge, write_all};
use support::output::{Output, Results, division, files_below, run};
use support::prng::Prng;

/// Ways to divide the work: threads, bytes per batch, bytes per chunk, further arguments.
const DIVISIONS: [(&str, &str, &str, &[&str]); 5] = [
    ("2", "64M", "4M", &[]),
    ("1", "30000", "9000", &["--no-mmap"]),
    ("3", "100K", "7777", &[]),
    ("2", "2000", "500", &["--no-mmap"]),
    ("2", "1", "1", &[]),
];

fn run_on(inputs: &[PathBuf], out: &Path, args: &[&str]) -> Output {
    let mut all: Vec<OsString> = inputs.iter().map(OsString::from).collect();
    all.extend(["--out".into(), out.into()]);
    all.extend(args.iter().map(OsString::from));
    run(all)
}

/// The output of a run on several files is that of a run on the merged file, in all but the inputs.
fn assert_same(several: &Path, one: &Path, merged: &Merged, how: &str) {
    let [several_files, one_files] = [several, one].map(|out| {
        let mut files = files_below(out);
        files.remove(Path::new("manifest.json")).unwrap();
        files.remove(Path::new("flows.parquet")).unwrap();
        files
    });
    assert!(
        several_files.keys().eq(one_files.keys()),
        "{how}: other files"
    );
    for (name, bytes) in &one_files {
        assert!(several_files[name] == *bytes, "{how}: {}", name.display());
    }
    let [several, one] = [several, one].map(|out| Results::read(out).unwrap());
    assert_eq!(several.flows.len(), one.flows.len(), "{how}");
    for (row, wanted) in several.flows.iter().zip(&one.flows) {
        let owner = merged.owners[usize::try_from(row.int("first_frame") - 1).unwrap()];
        assert_eq!(row.int("file_id"), i64::try_from(owner).unwrap(), "{how}");
        assert_eq!(
            row.clone().without("file_id"),
            wanted.clone().without("file_id"),
            "{how}"
        );
    }
    for part in [
        "frames",
        "payload",
        "flows",
        "gaps",
        "conflicts",
        "anomalies",
        "capture",
    ] {
        assert_eq!(several.manifest[part], one.manifest[part], "{how}: {part}");
    }
    let inputs = several.manifest["inputs"].as_array().unwrap();
    for (place, input) in inputs.iter().enumerate() {
        let frames: Vec<usize> = (0..merged.owners.len())
            .filter(|&frame| merged.owners[frame] == place)
            .collect();
        assert_eq!(input["frames"], frames.len(), "{how}");
        let times = || frames.iter().map(|&frame| merged.capture.records[frame].0);
        assert_eq!(
            input["first_frame"].as_u64(),
            frames.first().map(|f| *f as u64 + 1)
        );
        assert_eq!(input["first_ts_ns"].as_i64(), times().min(), "{how}");
        assert_eq!(input["last_ts_ns"].as_i64(), times().max(), "{how}");
    }
}

/// Runs on files in all divisions and any order of arguments, and on the merged file.
fn check(name: &str, files: &[Capture], random: &mut Prng) {
    let base = tempfile::tempdir().unwrap();
    let merged = merge(files);
    let single = base.path().join("single");
    fs::write(&single, merged.capture.bytes()).unwrap();
    let one = base.path().join("one");
    assert_eq!(run_on(&[single], &one, &["-q"]).status, Some(0), "{name}");
    let bytes: Vec<Vec<u8>> = files.iter().map(Capture::bytes).collect();
    let paths = write_all(base.path(), &bytes);
    for (threads, batch, chunk, more) in DIVISIONS {
        if merged.capture.records.len() > 3000 && batch.len() < 5 && batch != "64M" {
            continue;
        }
        let mut shuffled = paths.clone();
        random.shuffle(&mut shuffled);
        let out = base.path().join(format!("{threads}-{batch}"));
        let mut args = division(threads, batch, chunk).to_vec();
        args.extend(more);
        args.push("-q");
        let output = run_on(&shuffled, &out, &args);
        let how = format!("{name}: {args:?}");
        assert_eq!(output.status, Some(0), "{how}: {output:?}");
        assert_same(&out, &one, &merged, &how);
        let listed: Vec<PathBuf> = Results::read(&out).unwrap().manifest["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|input| PathBuf::from(input["path"].as_str().unwrap()))
            .collect();
        let wanted: Vec<PathBuf> = merged.order.iter().map(|&at| paths[at].clone()).collect();
        assert_eq!(listed, wanted, "{how}");
    }
}

fn generated() -> Vec<(String, Capture)> {
    captures::own()
        .iter()
        .filter(|path| path.parent().unwrap().ends_with("generated"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, Capture::parse(&fs::read(path).unwrap()))
        })
        .collect()
}

#[test]
fn rotated_files_are_one_capture() {
    let mut random = Prng::new(1);
    for (name, capture) in generated() {
        check(&name, &capture.rotate(7), &mut random);
    }
}

#[test]
fn two_taps_are_one_capture() {
    let mut random = Prng::new(2);
    for (name, capture) in generated() {
        let taps = capture.deal(2, |number| number % 2);
        let ascending = capture.records.is_sorted_by(|a, b| a.0 < b.0);
        if ascending {
            assert_eq!(merge(&taps).capture.bytes(), capture.bytes(), "{name}");
        }
        check(&name, &taps, &mut random);
    }
}

#[test]
fn files_that_overlap_here_and_there_are_one_capture() {
    let mut random = Prng::new(3);
    for (name, capture) in generated() {
        let total = capture.records.len();
        // Stretches of several files at a time, and between them stretches of one.
        let mut dealt = Vec::new();
        while dealt.len() < total {
            let (from, to) = (random.below(6), random.below(6));
            let length = random.below(total as u64 / 4).max(1);
            for _ in 0..length {
                let pick = if random.below(2) == 0 { from } else { to };
                dealt.push(usize::try_from(pick).unwrap());
            }
        }
        let files = capture.deal(6, |number| dealt[number]);
        check(&name, &files, &mut random);
    }
}

#[test]
fn equal_times_are_put_in_the_order_of_files() {
    let mut random = Prng::new(4);
    let (name, mut capture) = generated().swap_remove(0);
    capture.records.truncate(400);
    for record in &mut capture.records {
        // Seconds alone, so that many frames share one.
        record.0 -= record.0 % 1_000_000_000;
        record.1[4..8].fill(0);
    }
    let files = capture.deal(3, |number| number % 3);
    check(&name, &files, &mut random);
}

/// A record whose length is damaged is lost; the frame behind it is told by its number in the whole
/// input.
#[test]
fn damage_in_one_of_the_files_is_placed_alike_however_divided() {
    let named = |(name, _): &(String, Capture)| name == "small_big_endian.pcap";
    let (_, capture) = generated().into_iter().find(named).unwrap();
    let whole = capture.deal(2, |number| number % 2);
    for lost in [3, 40, 41, whole[1].records.len() - 1] {
        let mut files = whole.clone();
        files[1].records.remove(lost);
        let merged = merge(&files);
        let next = (0..merged.owners.len())
            .filter(|&frame| merged.order[merged.owners[frame]] == 1)
            .nth(lost);
        let base = tempfile::tempdir().unwrap();
        let mut damaged = whole[1].clone();
        damaged.records[lost].1[8..12].fill(0xff);
        let bytes = [whole[0].bytes(), damaged.bytes()];
        let paths = write_all(base.path(), &bytes);
        let mut outcomes = Vec::new();
        for (threads, batch, chunk, more) in DIVISIONS {
            let out = base.path().join(format!("{threads}-{batch}"));
            let mut args = division(threads, batch, chunk).to_vec();
            args.extend(more);
            args.push("-q");
            assert_eq!(run_on(&paths, &out, &args).status, Some(3), "{args:?}");
            let mut files = files_below(&out);
            files.remove(Path::new("manifest.json")).unwrap();
            let mut manifest = Results::read(&out).unwrap().manifest;
            manifest.as_object_mut().unwrap().remove("timings");
            assert_eq!(manifest["damage"]["regions"], 1, "{args:?}");
            let region = &manifest["damage"]["list"][0];
            let file = merged.order.iter().position(|&file| file == 1).unwrap();
            assert_eq!(region["file_id"], file, "{args:?}");
            let told = region["next_frame"].as_u64();
            assert_eq!(told, next.map(|frame| frame as u64 + 1), "{args:?}");
            outcomes.push((files, manifest));
        }
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "{lost}");
    }
}

#[test]
fn a_second_tap_that_saw_the_same_is_recognised() {
    let base = tempfile::tempdir().unwrap();
    let one = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/real/http_get.pcap");
    let other = base.path().join("other.pcap");
    fs::copy(&one, &other).unwrap();
    let copies = |inputs: &[&Path], out: &str| {
        let out = base.path().join(out);
        let mut args: Vec<&OsStr> = inputs.iter().map(|path| path.as_os_str()).collect();
        args.extend([OsStr::new("-q"), OsStr::new("-o"), out.as_os_str()]);
        assert_eq!(run(&args).status, Some(0));
        let results = Results::read(&out).unwrap();
        (
            results.manifest["anomalies"]["mirror_copies"]
                .as_u64()
                .unwrap(),
            results,
        )
    };
    let (none, once) = copies(&[&one], "once");
    let (all, twice) = copies(&[&one, &other], "twice");
    assert_eq!((none, once.flows.len()), (0, twice.flows.len()));
    assert_eq!(all, once.manifest["frames"]["tcp"].as_u64().unwrap());
    for (flow, doubled) in once.flows.iter().zip(&twice.flows) {
        assert_eq!(once.payload(flow, "s2c"), twice.payload(doubled, "s2c"));
    }
}
