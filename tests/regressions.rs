//! No input makes the program crash, nor end without telling how.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use support::capture_file::Format;
use support::captures;
use support::mutation::mutate;
use support::nasty;
use support::output::{read_table, run};
use support::prng::{Prng, mix};

/// Ways to run the program that take different paths through it.
const WAYS: [&[&str]; 5] = [
    &[],
    &[
        "--no-mmap",
        "--gaps",
        "skip",
        "--csv",
        "--memory-limit",
        "256KiB",
    ],
    &["--batch-bytes", "1", "--chunk-bytes", "1", "-j", "3", "-v"],
    &["--track", "vlan,tunnel", "--fragment-policy", "linux", "-v"],
    &["--checksum", "drop", "--fragment-policy", "drop", "-v"],
];

/// Runs the program on these bytes. The exit status, or what is wrong.
fn trial(capture: &[u8], args: &[&str]) -> Result<i32, String> {
    let scratch = tempfile::tempdir().unwrap();
    let (input, out) = (scratch.path().join("input"), scratch.path().join("out"));
    fs::write(&input, capture).unwrap();
    let mut all = vec![input.to_str().unwrap(), "--out", out.to_str().unwrap()];
    all.extend(args);
    let output = run(all);
    if output.stderr.contains("panicked") {
        return Err(format!("a panic: {}", output.stderr.trim()));
    }
    let Some(status @ (0 | 1 | 3 | 4)) = output.status else {
        return Err(format!("exit status {:?}", output.status));
    };
    let completed = out.join("manifest.json").exists();
    if completed != (status != 1) {
        let there = if completed { "a" } else { "no" };
        return Err(format!("exit status {status} and {there} manifest"));
    }
    if completed {
        let text = fs::read(out.join("manifest.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).map_err(|e| e.to_string())?;
        read_table(&out.join("flows.parquet"))?;
        read_table(&out.join("gaps.parquet"))?;
    } else if output.stderr.trim().is_empty() {
        return Err("it failed and did not say why".to_owned());
    }
    Ok(status)
}

/// Whether the memory limit is what makes a status another than without one.
fn is_limited(status: i32, without: i32, way: &[&str]) -> bool {
    status == 4 && without == 0 && way.contains(&"--memory-limit")
}

/// Tries all of these on all cores. Panics with what went wrong.
fn try_all<T: Sync>(inputs: &[T], attempt: impl Fn(&T) -> Result<(), String> + Sync) {
    assert!(!inputs.is_empty());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(attempt(input).err());
        }
        wrong
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions")
}

/// The exit status that the table in `README.md` gives each file.
fn statuses() -> BTreeMap<String, i32> {
    let readme = fs::read_to_string(directory().join("README.md")).unwrap();
    readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name.to_owned(), cells.next()?.parse().ok()?))
        })
        .collect()
}

#[test]
fn every_kept_input_ends_as_it_should() {
    let statuses = statuses();
    let mut kept: Vec<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    kept.sort();
    let told: Vec<String> = statuses.keys().cloned().collect();
    assert_eq!(kept, told, "README.md tells of each file");
    try_all(&kept, |name| {
        let capture = fs::read(directory().join(name)).unwrap();
        for way in WAYS {
            let status = trial(&capture, way).map_err(|e| format!("{name} {way:?}: {e}"))?;
            if status != statuses[name] && !is_limited(status, statuses[name], way) {
                let wanted = statuses[name];
                return Err(format!("{name} {way:?}: status {status}, not {wanted}"));
            }
        }
        Ok(())
    });
}

#[test]
fn inputs_made_by_hand_are_kept() {
    for (name, bytes) in nasty::small() {
        assert!(bytes.len() < 2_048, "{name} has {} bytes", bytes.len());
        let path = directory().join(name);
        if std::env::var_os("WRITE_GENERATED").is_some() {
            fs::write(&path, &bytes).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(kept == bytes, "{name} came out different");
    }
}

#[test]
fn large_inputs_made_by_hand_do_no_harm() {
    try_all(&nasty::large(), |(name, capture)| {
        WAYS.iter().try_for_each(|way| match trial(capture, way) {
            Ok(0) => Ok(()),
            Ok(status) if is_limited(status, 0, way) => Ok(()),
            other => Err(format!("{name} {way:?}: {other:?}")),
        })
    });
}

#[test]
fn a_capture_may_end_anywhere() {
    let smallest = captures::own()
        .into_iter()
        .min_by_key(|path| fs::metadata(path).unwrap().len());
    // The larger one is not cut everywhere, but at every distance from a multiple of four.
    let captures = [
        (nasty::sound(Format::Pcapng { big_endian: true }), 1),
        (nasty::sound(Format::ALL[0]), 1),
        (fs::read(smallest.unwrap()).unwrap(), 7),
    ];
    let cuts: Vec<(usize, usize)> = captures
        .iter()
        .enumerate()
        .flat_map(|(which, (capture, step))| {
            let lengths = (0..capture.len()).step_by(*step);
            lengths.map(move |length| (which, length))
        })
        .collect();
    try_all(&cuts, |&(which, length)| {
        trial(&captures[which].0[..length], &["-q", "-j", "1"])
            .map(|_| ())
            .map_err(|e| format!("capture {which} cut to {length} bytes: {e}"))
    });
}

#[test]
fn damaged_captures_do_no_harm() {
    let captures = captures::own();
    let indices: Vec<u64> = (0..300).collect();
    try_all(&indices, |&index| {
        let mut prng = Prng::new(mix(1) ^ index);
        let base = prng.pick(&captures);
        let capture = mutate(&fs::read(base).unwrap(), &mut prng);
        trial(&capture, &["-j", "1"])
            .map(|_| ())
            .map_err(|e| format!("damage {index} to {}: {e}", base.display()))
    });
}
