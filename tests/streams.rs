//! Compressed files and standard input give what the files give.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;
use support::capture_file::{Format, block};
use support::captures;
use support::compress::Compression;
use support::files::Capture;
use support::generator::config::{Config, Profile};
use support::generator::generate;
use support::nasty;
use support::output::{Output, Results, files_below, run};
use support::prng::Prng;
use support::wire::data_packet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bulkreasm");

/// Status and files of a run; of the manifest all but what names and measures the input.
type Outcome = (Option<i32>, BTreeMap<PathBuf, Vec<u8>>);

fn outcome(status: Option<i32>, out: &Path) -> Outcome {
    if !out.is_dir() {
        return (status, BTreeMap::new());
    }
    let mut files = files_below(out);
    if let Some(manifest) = files.get_mut(Path::new("manifest.json")) {
        let mut value: Value = serde_json::from_slice(manifest).unwrap();
        value.as_object_mut().unwrap().remove("timings").unwrap();
        for input in value["inputs"].as_array_mut().unwrap() {
            for part in ["path", "bytes", "compression"] {
                input.as_object_mut().unwrap().remove(part);
            }
        }
        *manifest = serde_json::to_vec_pretty(&value).unwrap();
    }
    (status, files)
}

fn run_on_file(input: &Path, out: &Path, more: &[&str]) -> Output {
    let mut args = vec![
        input.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "-q",
    ];
    args.extend(more);
    run(args)
}

fn spawn(out: &Path, more: &[&str]) -> Child {
    Command::new(PROGRAM)
        .args(["-", "--out", out.to_str().unwrap()])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs on bytes that come in on standard input, so many at a time.
fn run_on_pipe(bytes: &[u8], at_a_time: usize, out: &Path, more: &[&str]) -> Outcome {
    let mut child = spawn(out, more);
    let mut stdin = child.stdin.take().unwrap();
    let feeding = thread::scope(|scope| {
        scope.spawn(move || {
            for piece in bytes.chunks(at_a_time) {
                // What is no capture is not read to its end.
                if stdin.write_all(piece).is_err() {
                    return;
                }
            }
        });
        child.wait_with_output().unwrap()
    });
    outcome(feeding.status.code(), out)
}

fn assert_equal(outcome: &Outcome, wanted: &Outcome, how: &str) {
    assert_eq!(outcome.0, wanted.0, "{how}: status");
    let names = |outcome: &Outcome| outcome.1.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(outcome), names(wanted), "{how}");
    for (name, bytes) in &wanted.1 {
        assert!(
            outcome.1[name] == *bytes,
            "{how}: {} differs",
            name.display()
        );
    }
}

fn check(capture: &Path, compressions: &[Compression]) {
    let name = capture.display();
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    let bytes = fs::read(capture).unwrap();
    let plain = at("plain");
    let wanted = outcome(run_on_file(capture, &plain, &[]).status, &plain);
    let piped = run_on_pipe(
        &bytes,
        50_000,
        &at("piped"),
        &["-q", "--batch-bytes", "100K"],
    );
    // A capture whose file cannot be opened leaves nothing in any case.
    assert_equal(&piped, &wanted, &format!("{name} through a pipe"));
    for &compression in compressions {
        let compressed = compression.compress_pieces(&bytes, 3);
        // The name says nothing.
        let (path, out) = (at("compressed.txt"), at(compression.name()));
        fs::write(&path, &compressed).unwrap();
        let status = run_on_file(&path, &out, &["--chunk-bytes", "77K"]).status;
        let how = format!("{name} with {}", compression.name());
        assert_equal(&outcome(status, &out), &wanted, &how);
    }
}

#[test]
fn own_captures_give_the_same_compressed_and_through_a_pipe() {
    for capture in captures::own() {
        check(&capture, &Compression::ALL);
    }
}

#[test]
fn foreign_captures_give_the_same_compressed_and_through_a_pipe() {
    for capture in captures::foreign().unwrap_or_default() {
        check(&capture, &[Compression::Gzip]);
    }
}

fn generated(name: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/generated");
    fs::read(data.join(name)).unwrap()
}

#[test]
fn a_pipe_may_be_compressed_and_slow() {
    let base = tempfile::tempdir().unwrap();
    let bytes = generated("bulk.pcap");
    let plain = base.path().join("plain");
    let path = base.path().join("in");
    fs::write(&path, &bytes).unwrap();
    let wanted = outcome(run_on_file(&path, &plain, &[]).status, &plain);
    let mut ways = vec![("plain", bytes.clone())];
    for compression in Compression::ALL {
        ways.push((compression.name(), compression.compress(&bytes)));
    }
    for (name, sent) in ways {
        for (at_a_time, threads) in [(97, "1"), (7, "2")] {
            let out = base.path().join(format!("{name}-{at_a_time}"));
            let piped = run_on_pipe(&sent, at_a_time, &out, &["-q", "-j", threads]);
            assert_equal(&piped, &wanted, &format!("{name}, {at_a_time} at a time"));
        }
    }
}

#[test]
fn rotated_files_may_be_compressed_each_in_its_way() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    let capture = Capture::parse(&generated("mixed.pcapng"));
    let files = capture.rotate(7);
    let (plain, mixed) = (at("plain"), at("mixed"));
    for (folder, compress) in [(&plain, false), (&mixed, true)] {
        fs::create_dir(folder).unwrap();
        for (number, file) in files.iter().enumerate() {
            let bytes = match Compression::ALL.get(number) {
                Some(compression) if compress => compression.compress(&file.bytes()),
                _ => file.bytes(),
            };
            fs::write(folder.join(number.to_string()), bytes).unwrap();
        }
    }
    let run = |folder: &Path, out: &str, more: &[&str]| {
        let status = run_on_file(folder, &at(out), more).status;
        outcome(status, &at(out))
    };
    let wanted = run(&plain, "plain-out", &[]);
    assert_eq!(wanted.0, Some(0));
    assert_equal(&run(&mixed, "mixed-out", &[]), &wanted, "mixed");
    let tiny = ["-j", "1", "--batch-bytes", "9000", "--chunk-bytes", "700"];
    assert_equal(
        &run(&mixed, "tiny-out", &tiny),
        &wanted,
        "mixed, tiny batches",
    );
    // One of them on standard input, and the others named in any order.
    let mut named: Vec<String> = (0..7)
        .rev()
        .filter(|&number| number != 2)
        .map(|number| mixed.join(number.to_string()).to_str().unwrap().to_owned())
        .collect();
    named.push("-q".to_owned());
    let args: Vec<&str> = named.iter().map(String::as_str).collect();
    let piped = run_on_pipe(
        &fs::read(mixed.join("2")).unwrap(),
        4096,
        &at("piped-out"),
        &args,
    );
    assert_equal(&piped, &wanted, "one through a pipe");
}

#[test]
fn a_compressed_file_that_ends_early_or_is_damaged_ends_with_3() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    // Larger than a block of any compression.
    let config = Config {
        flows: 20,
        bytes: 12_000_000,
        ..Config::of(Profile::Bulk)
    };
    let mut bytes = Vec::new();
    generate(&config, &mut bytes, |_| Ok(())).unwrap();
    for compression in Compression::ALL {
        let whole = compression.compress(&bytes);
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        for byte in &mut flipped[middle..middle + 64] {
            *byte ^= 0x5a;
        }
        let mut trailing = whole.clone();
        trailing.extend(b"and something else");
        let cases = [
            ("cut", whole[..whole.len() * 2 / 3].to_vec()),
            ("trailer", whole[..whole.len() - 1].to_vec()),
            ("flipped", flipped),
            ("trailing", trailing),
        ];
        for (case, damaged) in cases {
            let how = format!("{} {case}", compression.name());
            let (path, out) = (at("in"), at(&how));
            fs::write(&path, damaged).unwrap();
            let output = run([path.to_str().unwrap(), "--out", out.to_str().unwrap()]);
            assert_eq!(output.status, Some(3), "{how}: {output:?}");
            let manifest = Results::read(&out).unwrap().manifest;
            assert_eq!(manifest["complete"], true, "{how}");
            let regions = manifest["damage"]["list"].as_array().unwrap();
            let told = regions.last().unwrap()["reason"].as_str().unwrap();
            let wanted = format!("the {} stream ", compression.name());
            assert!(told.starts_with(&wanted), "{how}: {told}");
            assert!(output.stderr.contains(told), "{how}: {output:?}");
            let frames = manifest["frames"]["total"].as_u64().unwrap();
            assert!(frames > 0, "{how}");
            if case == "trailing" {
                assert_eq!(
                    usize::try_from(frames).unwrap(),
                    Capture::parse(&bytes).records.len(),
                    "{how}"
                );
            }
        }
        // Zeros are padding.
        let (path, out) = (at("in"), at(compression.name()));
        let mut padded = whole.clone();
        padded.extend([0; 512]);
        fs::write(&path, padded).unwrap();
        assert_eq!(run_on_file(&path, &out, &[]).status, Some(0));
    }
}

#[test]
fn what_cannot_be_decompressed_at_all_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("in");
    let out = base.path().join("out");
    for (bytes, part) in [
        (
            b"\x1f\x8b\x08\0 and so on, whatever it may be".to_vec(),
            "gzip",
        ),
        (
            Compression::Zstd.compress(b"no capture, but some text"),
            "not a pcap",
        ),
        (Compression::Xz.compress(b""), "holds no bytes"),
        (
            Compression::Lz4.compress(&generated("bulk.pcap")[..10]),
            "cut short",
        ),
        (
            Compression::Gzip.compress(&Compression::Gzip.compress(&generated("bulk.pcap"))),
            "compressed with gzip",
        ),
    ] {
        fs::write(&path, bytes).unwrap();
        let output = run_on_file(&path, &out, &[]);
        assert_eq!(output.status, Some(1), "{part}: {output:?}");
        assert!(output.stderr.contains(part), "{part}: {output:?}");
        assert!(!out.exists());
    }
    let output = run(["-", "-", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.stderr.contains("once"), "{output:?}");
    let nothing = run_on_pipe(b"", 1, &out, &[]);
    assert_eq!(nothing, (Some(1), BTreeMap::new()));
}

/// What has come in is in the output when the run is interrupted, though more was to come.
#[test]
fn an_interrupted_pipe_ends_in_order_with_130() {
    let base = tempfile::tempdir().unwrap();
    let capture = Capture::parse(&generated("bulk.pcap"));
    let sent = Capture {
        records: capture.records[..40].to_vec(),
        ..capture
    };
    for threads in ["1", "2"] {
        let out = base.path().join(threads);
        let mut child = spawn(&out, &["-j", threads, "--progress", "json"]);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&sent.bytes()).unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            assert!(
                stderr.read_line(&mut line).unwrap() > 0,
                "it ended by itself"
            );
            let progress: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(progress["total_bytes"], Value::Null);
            // The last frame waits for the next, or for the end.
            if progress["frames"] == 39 {
                break;
            }
        }
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{rest}");
        let results = Results::read(&out).unwrap();
        assert_eq!(results.manifest["complete"], false);
        assert_eq!(results.manifest["frames"]["total"], 40);
        assert!(!results.flows.is_empty());
        drop(stdin);
    }
}

#[test]
fn a_pipe_that_is_interrupted_before_anything_came_leaves_nothing() {
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("out");
    let mut child = spawn(&out, &[]);
    let stdin = child.stdin.take();
    // Ready for the signal when the thread that reads the pipe is there.
    let threads = format!("/proc/{}/task", child.id());
    while fs::read_dir(&threads).unwrap().count() < 2 {
        thread::yield_now();
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(!out.exists());
    drop(stdin);
}

/// Frames of a pcapng without any time, with payload that does not compress.
fn untimed(frames: u8) -> Vec<u8> {
    let mut random = Prng::new(7);
    let mut bytes = block(
        0x0a0d_0d0a,
        b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        None,
    );
    bytes.extend(block(1, b"\x01\0\0\0\0\0\x04\0", None));
    for number in 0..frames {
        let payload: Vec<u8> = (0..600)
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        let packet = data_packet(4000, 1000 + 600 * u32::from(number), &payload);
        let mut body = u32::try_from(packet.len()).unwrap().to_le_bytes().to_vec();
        body.extend(&packet);
        bytes.extend(block(3, &body, None));
    }
    bytes
}

/// Damage of the compression is damage wherever the bytes come from, and costs the same bytes: also where it is
/// met while the beginning of the capture is looked at.
#[test]
fn damaged_compression_gives_the_same_as_a_file_and_through_a_pipe() {
    let base = tempfile::tempdir().unwrap();
    let captures = [untimed(200), nasty::sound(Format::ALL[0])];
    let mut damaged = 0;
    for (number, capture) in captures.iter().enumerate() {
        for how in Compression::ALL {
            let whole = how.compress(capture);
            let header = how.compress(&capture[..24.max(number * 24)]);
            let mut files = vec![
                [&header[..], b"junk"].concat(),
                [&whole[..], &capture[..]].concat(),
                header[..header.len() - 2].to_vec(),
                whole[..whole.len() - 3].to_vec(),
            ];
            for part in 1..6 {
                let mut file = whole.clone();
                let at = file.len() * part / 6;
                file[at] ^= 0x10;
                files.push(file);
            }
            for (kind, file) in files.iter().enumerate() {
                let at = |name: &str| base.path().join(format!("{number}{how:?}{kind}{name}"));
                let (path, out) = (at("in"), at("file"));
                fs::write(&path, file).unwrap();
                let status = run_on_file(&path, &out, &[]).status;
                let wanted = outcome(status, &out);
                damaged += usize::from(status == Some(3));
                let name = format!("{number} {how:?} {kind}");
                for (pipe, at_a_time) in [("a", 1000), ("b", 70_000)] {
                    let piped = run_on_pipe(file, at_a_time, &at(pipe), &["-q"]);
                    assert_equal(&piped, &wanted, &format!("{name} by {at_a_time}"));
                }
                let other = at("other");
                let more = ["--no-mmap", "--batch-bytes", "5000", "--chunk-bytes", "700"];
                let status = run_on_file(&path, &other, &more).status;
                assert_equal(&outcome(status, &other), &wanted, &name);
            }
        }
    }
    assert!(damaged > 30, "{damaged}");
}
