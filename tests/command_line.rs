//! What users and scripts see of the program: exit statuses, messages, files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::capture_file::Format;
use support::generator::config::{Config, Profile};
use support::generator::generate;
use support::nasty;
use support::output::{Output, Results, files_below, read_table, run};
use support::truth::{FlowTruth, sha256};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bulkreasm");

/// A directory for one test, with a capture and a place for the output.
struct Place {
    scratch: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place::with(&nasty::sound(Format::ALL[0]))
    }

    fn with(capture: &[u8]) -> Place {
        let place = Place {
            scratch: tempfile::tempdir().unwrap(),
        };
        fs::write(place.input(), capture).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn input(&self) -> PathBuf {
        self.path("in.pcap")
    }

    fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Runs the program on the capture.
    fn run(&self, args: &[&str]) -> Output {
        self.run_on(&self.input(), &self.out(), args)
    }

    fn run_on(&self, input: &Path, out: &Path, args: &[&str]) -> Output {
        assert!(self.scratch.path().is_dir());
        let mut all = vec![input.to_str().unwrap(), "--out", out.to_str().unwrap()];
        all.extend(args);
        run(all)
    }

    fn results(&self) -> Results {
        Results::read(&self.out()).unwrap()
    }

    /// The program on the capture, as words for a shell.
    fn words(&self) -> String {
        let (input, out) = (self.input(), self.out());
        format!(
            "'{PROGRAM}' '{}' --out '{}'",
            input.display(),
            out.display()
        )
    }

    fn shell(script: &str) -> Output {
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        Output {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn generated(config: &Config) -> (Vec<u8>, Vec<FlowTruth>) {
    let (mut capture, mut truth) = (Vec::new(), Vec::new());
    generate(config, &mut capture, |flow| {
        truth.extend(flow.truth());
        Ok(())
    })
    .unwrap();
    truth.sort_by_key(|flow| flow.flow_id);
    (capture, truth)
}

/// Flows with losses, so that there are gaps.
fn lossy() -> Vec<u8> {
    let config = Config {
        flows: 20,
        bytes: 400_000,
        loss: 0.1,
        ..Config::of(Profile::Bulk)
    };
    generated(&config).0
}

/// The digest of a payload file, as the truth gives it: none where there is no byte.
fn digest(payload: &[u8]) -> Option<String> {
    (!payload.is_empty()).then(|| sha256(payload))
}

/// A failed run: one line on standard error which holds all of these, and nothing else.
fn fails(output: &Output, parts: &[&str]) {
    assert_eq!(output.status, Some(1), "{output:?}");
    assert_eq!(output.stdout, "");
    assert!(
        output.stderr.starts_with("bulkreasm: error: "),
        "{output:?}"
    );
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    for part in parts {
        assert!(output.stderr.contains(part), "no {part:?} in {output:?}");
    }
}

#[test]
fn a_run_without_trouble_prints_a_table() {
    let place = Place::new();
    let output = place.run(&[]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
    let names: Vec<&str> = output
        .stdout
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let wanted = [
        "frames",
        "flows",
        "payload",
        "missing",
        "conflicts",
        "damage",
        "speed",
        "output",
        "query",
    ];
    assert_eq!(names, wanted);
    let results = place.results();
    assert_eq!(results.flows.len(), 1);
    assert_eq!(results.payload(&results.flows[0], "c2s"), b"ask");
    assert_eq!(results.payload(&results.flows[0], "s2c"), b"answer");
    assert_eq!(results.manifest["complete"], true);
}

#[test]
fn inputs_that_cannot_be_read_end_with_1() {
    let place = Place::new();
    let missing = place.path("missing.pcap");
    fails(
        &place.run_on(&missing, &place.out(), &[]),
        &["missing.pcap", "no such file"],
    );
    let bare = place.path("bare");
    fs::create_dir(&bare).unwrap();
    fs::write(bare.join("notes"), "no capture at all").unwrap();
    fails(
        &place.run_on(&bare, &place.out(), &[]),
        &[bare.to_str().unwrap(), "no capture"],
    );
    fails(
        &place.run_on(&place.path("*.pcapng"), &place.out(), &[]),
        &["*.pcapng", "no file matches"],
    );
    for (name, bytes, what) in [
        ("a.pcap.gz", &b"\x1f\x8b\x08\0 and so on"[..], "gzip"),
        ("a.txt", b"this is some text, and no capture", "not a pcap"),
        ("a.snoop", b"snoop\0\0\0\0\0\0\x02\0\0\0\x04", "snoop"),
        ("empty.pcap", b"", "empty"),
    ] {
        let path = place.path(name);
        fs::write(&path, bytes).unwrap();
        fails(&place.run_on(&path, &place.out(), &[]), &[name, what]);
    }
    assert!(
        !place.out().exists(),
        "a run that cannot begin leaves nothing"
    );
}

#[test]
fn files_of_a_directory_that_are_no_captures_are_skipped_and_named() {
    let place = Place::new();
    let folder = place.path("folder");
    fs::create_dir_all(folder.join("below")).unwrap();
    let capture = nasty::sound(Format::ALL[0]);
    fs::write(folder.join("b.pcap"), &capture).unwrap();
    fs::write(folder.join("a.cap"), &capture).unwrap();
    fs::write(folder.join("below/c.pcap"), &capture).unwrap();
    fs::write(folder.join("empty.pcap"), "").unwrap();
    fs::write(folder.join("begun.pcap"), &capture[..10]).unwrap();
    fs::write(folder.join("notes.txt"), "the notes of this capture").unwrap();
    fs::hard_link(folder.join("b.pcap"), folder.join("same.pcap")).unwrap();
    symlink("nowhere.pcap", folder.join("dangling.pcap")).unwrap();
    symlink("circle.pcap", folder.join("circle.pcap")).unwrap();
    let output = place.run_on(&folder, &place.out(), &["--no-recursive"]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let manifest = place.results().manifest;
    let names = |list: &str| -> Vec<String> {
        let files = manifest[list].as_array().unwrap().iter();
        files
            .map(|file| {
                file["path"]
                    .as_str()
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(names("inputs"), ["a.cap", "b.pcap"]);
    let skipped = names("skipped_files");
    let no_captures = [
        "empty.pcap",
        "begun.pcap",
        "notes.txt",
        "dangling.pcap",
        "circle.pcap",
    ];
    for name in no_captures.iter().chain(&["same.pcap"]) {
        assert!(skipped.contains(&(*name).to_owned()), "{name}: {skipped:?}");
    }
    assert_eq!(skipped.len(), 6);
    assert_eq!(output.stderr.lines().count(), 4, "{output:?}");
    // What is named must be one.
    for name in no_captures {
        let out = place.path("other");
        fails(&place.run_on(&folder.join(name), &out, &[]), &[name]);
        assert!(!out.exists());
    }
}

#[test]
fn output_directories_that_cannot_be_written_end_with_1() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "mine").unwrap();
    for out in [file.clone(), file.join("below")] {
        fails(
            &place.run_on(&place.input(), &out, &[]),
            &["cannot write", "not a directory", "--out"],
        );
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("notes"), "mine").unwrap();
    fails(
        &place.run_on(&place.input(), &full, &[]),
        &["full", "not empty", "--force"],
    );
    assert_eq!(files_below(&full).len(), 1);

    let sealed = place.path("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser may write anywhere.
    if fs::write(sealed.join("probe"), "").is_err() {
        let out = sealed.join("out");
        fails(&place.run_on(&place.input(), &out, &[]), &["sealed/out"]);
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new();
    let (input, out) = (place.input(), place.out());
    let (input, out) = (input.to_str().unwrap(), out.to_str().unwrap());
    for args in [
        &[][..],
        &[input],
        &["--out", out],
        &[input, "--out", out, "--nonsense"],
        &[input, "--out", out, "-j", "0"],
        &[input, "--out", out, "--gaps", "maybe"],
        &[input, "--out", out, "--max-gap", "-1"],
        &[input, "--out", out, "--memory-limit", "much"],
        &[input, "--out", out, "--idle-timeout", "soon"],
        &[input, "--out", out, "--quiet", "--verbose"],
    ] {
        let output = run(args);
        assert_eq!(output.status, Some(2), "{args:?}: {output:?}");
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(output.stderr.starts_with("error: "), "{args:?}: {output:?}");
        assert!(output.stderr.contains("--help"), "{args:?}: {output:?}");
    }
    assert!(!place.out().exists());
    for flag in ["--help", "--version"] {
        let output = run([flag]);
        assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
        assert!(output.stdout.contains("bulkreasm"), "{}", output.stdout);
    }
}

#[test]
fn damage_ends_with_3_and_tells_where() {
    let mut capture = nasty::sound(Format::ALL[0]);
    // The length of the fourth record.
    let at = 24 + 3 * (16 + 54);
    capture[at + 8..at + 12].fill(0xff);
    let place = Place::with(&capture);
    let output = place.run(&[]);
    assert_eq!(output.status, Some(3), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    let input = place.input();
    for part in [
        input.to_str().unwrap(),
        &format!("offset {at}"),
        "73 B lost",
    ] {
        assert!(output.stderr.contains(part), "no {part:?} in {output:?}");
    }
    let results = place.results();
    assert_eq!(results.manifest["complete"], true);
    assert_eq!(results.manifest["damage"]["bytes"], 73);
    assert_eq!(results.payload(&results.flows[0], "s2c"), b"answer");
    // A file that ends too early is damaged too.
    let place = Place::with(&nasty::sound(Format::ALL[0])[..at + 20]);
    let output = place.run(&["-q"]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(3), ""));
}

#[test]
fn json_prints_the_manifest() {
    let place = Place::with(&lossy());
    let output = place.run(&["--json"]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
    let printed: Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(printed["flows"]["count"] == 20);
    let kept = fs::read_to_string(place.out().join("manifest.json")).unwrap();
    assert_eq!(output.stdout, kept);
}

#[test]
fn quiet_prints_nothing() {
    let place = Place::with(&lossy());
    let output = place.run(&["--quiet"]);
    assert_eq!(output.status, Some(0));
    assert_eq!(output.stdout + &output.stderr, "");
    assert!(place.out().join("manifest.json").exists());
    // An error is told all the same.
    fails(&place.run(&["--quiet"]), &["not empty"]);
}

#[test]
fn force_replaces_an_earlier_run_and_nothing_else() {
    let place = Place::with(&lossy());
    assert_eq!(place.run(&["--csv"]).status, Some(0));
    fs::write(place.out().join("notes"), "mine").unwrap();
    fs::write(place.input(), nasty::sound(Format::ALL[0])).unwrap();
    fails(&place.run(&[]), &["not empty", "--force"]);
    assert_eq!(place.run(&["--force"]).status, Some(0));
    let mut forced = files_below(&place.out());
    assert_eq!(forced.remove(Path::new("notes")), Some(b"mine".to_vec()));
    let anew = place.path("anew");
    assert_eq!(place.run_on(&place.input(), &anew, &[]).status, Some(0));
    let anew = files_below(&anew);
    assert_eq!(
        forced.keys().collect::<Vec<_>>(),
        anew.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &anew {
        // The manifest holds timings.
        if name != Path::new("manifest.json") {
            assert!(forced[name] == *bytes, "{} differs", name.display());
        }
    }
    assert_eq!(place.results().flows.len(), 1);
}

/// A capture that this program wrote is an input like any other, and `--force` must not remove it.
#[test]
fn force_does_not_remove_an_input() {
    let place = Place::new();
    assert_eq!(place.run(&["--pcaps", "--csv"]).status, Some(0));
    let folder = place.out().join("pcaps/00000");
    let capture = folder.join("1.pcap");
    let (link, symbolic) = (place.path("link.pcap"), place.path("symbolic.pcap"));
    fs::hard_link(&capture, &link).unwrap();
    symlink(&capture, &symbolic).unwrap();
    let before = files_below(&place.out());
    for input in [&capture, &folder, &link, &symbolic] {
        let output = place.run_on(input, &place.out(), &["--force"]);
        fails(&output, &["pcaps/00000/1.pcap", "is an input", "--out"]);
        assert!(before == files_below(&place.out()), "{}", input.display());
    }
    let (input, out) = (capture.display(), place.out());
    let output = Place::shell(&format!(
        "'{PROGRAM}' - --force --out '{}' < '{input}'",
        out.display()
    ));
    fails(&output, &["pcaps/00000/1.pcap", "is an input"]);
    assert!(before == files_below(&place.out()));
    // Elsewhere it is one that can be read.
    let output = place.run_on(&capture, &place.path("other"), &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
}

#[test]
fn a_capture_without_frames_gives_tables_without_rows() {
    for format in Format::ALL {
        let capture = support::capture_file::CaptureWriter::new(Vec::new(), format, 0)
            .unwrap()
            .finish()
            .unwrap();
        let place = Place::with(&capture);
        let output = place.run(&["--csv"]);
        assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
        let results = place.results();
        assert!(results.flows.is_empty() && results.gaps.is_empty());
        assert_eq!(results.manifest["frames"]["total"], 0);
        let csv = fs::read_to_string(place.out().join("flows.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1, "a header alone");
    }
}

#[test]
fn csv_has_the_rows_of_the_table() {
    let place = Place::with(&lossy());
    assert_eq!(place.run(&["--csv"]).status, Some(0));
    let csv = fs::read_to_string(place.out().join("flows.csv")).unwrap();
    let rows = read_table(&place.out().join("flows.parquet")).unwrap();
    assert_eq!(csv.lines().count(), rows.len() + 1);
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    for column in rows[0].columns() {
        assert!(header.contains(&column), "no {column} in {header:?}");
    }
    let id = header.iter().position(|name| *name == "flow_id").unwrap();
    for (line, row) in csv.lines().skip(1).zip(&rows) {
        let cell = line.split(',').nth(id).unwrap();
        assert_eq!(Some(cell.to_owned()), row.text("flow_id"));
    }
    let without = Place::new();
    assert_eq!(without.run(&[]).status, Some(0));
    assert!(!without.out().join("flows.csv").exists());
}

#[test]
fn without_payload_there_are_no_streams() {
    let place = Place::with(&lossy());
    assert_eq!(place.run(&["--payload", "none"]).status, Some(0));
    assert!(!place.out().join("streams").exists());
    let none = place.results();
    let files = Place::with(&lossy());
    assert_eq!(files.run(&[]).status, Some(0));
    let files = files.results();
    assert_eq!(none.gaps, files.gaps);
    assert_eq!(none.flows.len(), files.flows.len());
    for (none, files) in none.flows.iter().zip(&files.flows) {
        for direction in ["c2s", "s2c"] {
            let (path, bytes) = (
                format!("{direction}_path"),
                format!("{direction}_stream_bytes"),
            );
            assert_eq!(none.int(&bytes), files.int(&bytes));
            assert_eq!(none.text(&path), None);
            assert_eq!(files.text(&path).is_some(), files.int(&bytes) > 0);
        }
    }
}

#[test]
fn skipped_gaps_leave_the_captured_bytes_alone() {
    let config = Config {
        flows: 20,
        bytes: 400_000,
        loss: 0.1,
        ..Config::of(Profile::Bulk)
    };
    let (capture, truth) = generated(&config);
    let place = Place::with(&capture);
    assert_eq!(place.run(&["--gaps", "skip"]).status, Some(0));
    let results = place.results();
    assert!(!results.gaps.is_empty(), "the capture has gaps");
    let mut with_gaps = 0;
    assert_eq!(results.flows.len(), truth.len());
    for (row, flow) in results.flows.iter().zip(&truth) {
        for (direction, half) in [("c2s", &flow.c2s), ("s2c", &flow.s2c)] {
            let payload = results.payload(row, direction);
            assert_eq!(payload.len() as u64, half.stream_bytes);
            let wanted = half.sha256_without_gaps.as_ref().or(half.sha256.as_ref());
            assert_eq!(digest(&payload).as_ref(), wanted, "{}", flow.flow_id);
            with_gaps += usize::from(half.sha256_without_gaps.is_some());
        }
    }
    assert!(with_gaps > 5, "only {with_gaps} streams have inner gaps");
}

#[test]
fn sixty_four_open_files_are_enough_for_any_number_of_flows() {
    let config = Config {
        flows: 2_000,
        bytes: 8_000_000,
        concurrent: 2_000,
        ..Config::of(Profile::Small)
    };
    let (capture, truth) = generated(&config);
    let place = Place::with(&capture);
    let output = Place::shell(&format!("ulimit -n 64 && exec {} -j 8", place.words()));
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
    let results = place.results();
    assert_eq!(results.flows.len(), truth.len());
    for (row, flow) in results.flows.iter().zip(&truth) {
        assert_eq!(row.text("flow_id"), Some(flow.flow_id.to_string()));
        for (direction, half) in [("c2s", &flow.c2s), ("s2c", &flow.s2c)] {
            let payload = results.payload(row, direction);
            assert_eq!(digest(&payload), half.sha256, "{}", flow.flow_id);
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // The pipe is closed before the program begins to write to it.
    let place = Place::with(&lossy());
    for args in ["", "--json"] {
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("read go; exec {} --force {args}", place.words()),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {output:?}");
        assert!(output.stderr.is_empty(), "{args}: {output:?}");
    }
    fs::remove_dir_all(place.out()).unwrap();
    let output = Place::shell(&format!("{} --json | head -c 1", place.words()));
    assert_eq!((output.status, output.stdout.as_str()), (Some(0), "{"));
    assert_eq!(output.stderr, "");
}

#[test]
fn standard_output_that_cannot_be_written_ends_with_1() {
    let place = Place::new();
    for args in ["", "--json"] {
        let output = Place::shell(&format!("{} --force {args} > /dev/full", place.words()));
        fails(
            &output,
            &["standard output", "No space left", "manifest.json"],
        );
    }
    let output = Place::shell(&format!("{} --force --quiet > /dev/full", place.words()));
    assert_eq!(output.status, Some(0), "{output:?}");
}

#[test]
fn a_file_counts_once_as_standard_input_and_by_name() {
    let place = Place::new();
    let (input, out) = (place.input(), place.out());
    let frames = place
        .run(&[])
        .status
        .map(|_| place.results().manifest["inputs"][0]["frames"].clone());
    for names in ["- FILE", "FILE -"] {
        let names = names.replace("FILE", &format!("'{}'", input.display()));
        let output = Place::shell(&format!(
            "'{PROGRAM}' {names} --force --out '{}' < '{}'",
            out.display(),
            input.display()
        ));
        assert_eq!(output.status, Some(0), "{output:?}");
        let manifest = place.results().manifest;
        assert_eq!(
            manifest["inputs"].as_array().unwrap().len(),
            1,
            "{manifest}"
        );
        assert_eq!(manifest["skipped_files"].as_array().unwrap().len(), 1);
        assert_eq!(Some(manifest["inputs"][0]["frames"].clone()), frames);
    }
}

/// A path need not be Unicode, and evidence must be found again by what the manifest says.
#[test]
fn paths_that_are_no_text_are_told_byte_by_byte() {
    let place = Place::new();
    let folder = place.path("folder");
    fs::create_dir(&folder).unwrap();
    let odd = folder.join(OsStr::from_bytes(b"ev\xffidence.pcap"));
    fs::copy(place.input(), &odd).unwrap();
    fs::copy(place.input(), folder.join("plain.pcap")).unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"note\xfe")), "no capture").unwrap();
    let output = place.run_on(&folder, &place.out(), &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let manifest = place.results().manifest;
    let bytes = |file: &Value| -> Option<Vec<u8>> {
        let text = file["path_hex"].as_str()?.as_bytes();
        let digits = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        Some(text.chunks(2).map(digits).collect())
    };
    let inputs = manifest["inputs"].as_array().unwrap();
    let told: Vec<_> = inputs.iter().map(bytes).collect();
    assert!(
        told.contains(&Some(odd.as_os_str().as_bytes().to_vec())),
        "{inputs:?}"
    );
    assert!(told.contains(&None), "text needs no other form: {inputs:?}");
    let skipped = bytes(&manifest["skipped_files"][0]).unwrap();
    assert!(skipped.ends_with(b"/note\xfe"), "{skipped:?}");
}

#[test]
fn reading_and_mapping_the_input_give_the_same() {
    let place = Place::with(&lossy());
    let read = place.path("read");
    assert_eq!(place.run(&["--csv"]).status, Some(0));
    let output = place.run_on(&place.input(), &read, &["--csv", "--no-mmap"]);
    assert_eq!(output.status, Some(0));
    let (mut mapped, mut read) = (files_below(&place.out()), files_below(&read));
    for files in [&mut mapped, &mut read] {
        files.remove(Path::new("manifest.json")).unwrap();
    }
    assert!(mapped.len() > 20);
    assert!(mapped == read);
}

#[test]
fn where_nothing_is_a_terminal_there_are_no_escape_codes() {
    let mut damaged = lossy();
    damaged[24 + 8..24 + 12].fill(0xff);
    let place = Place::with(&damaged);
    let missing = place.path("missing.pcap");
    for colour in ["NO_COLOR=1", "-u NO_COLOR"] {
        for words in [
            format!("{} --force -v", place.words()),
            format!("{} --nonsense", place.words()),
            format!("'{PROGRAM}' --help"),
            format!("'{PROGRAM}' '{}' --out x", missing.display()),
        ] {
            let output = Place::shell(&format!(
                "env -u CLICOLOR_FORCE {colour} TERM=xterm-256color {words}"
            ));
            let said = output.stdout + &output.stderr;
            assert!(!said.is_empty(), "{words}");
            assert!(!said.contains('\u{1b}'), "{words}: {said}");
        }
    }
}

#[test]
fn progress_as_json_is_one_object_a_line() {
    let place = Place::with(&lossy());
    let output = place.run(&["--progress", "json", "--batch-bytes", "100K"]);
    assert_eq!(output.status, Some(0));
    let mut before = 0;
    for line in output.stderr.lines() {
        let progress: Value = serde_json::from_str(line).unwrap();
        let bytes = progress["bytes"].as_u64().unwrap();
        assert!(bytes > before, "{line}");
        before = bytes;
    }
    assert_eq!(before, fs::metadata(place.input()).unwrap().len());
}

/// Whether a signal waits for the process, and how often its first thread has gone to sleep.
fn sleeps(process: u32) -> (bool, u64) {
    let status = fs::read_to_string(format!("/proc/{process}/task/{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let waiting = u64::from_str_radix(&field("ShdPnd:"), 16).unwrap()
        | u64::from_str_radix(&field("SigPnd:"), 16).unwrap();
    (
        waiting != 0,
        field("voluntary_ctxt_switches:").parse().unwrap(),
    )
}

#[test]
fn an_interrupted_run_ends_in_order_with_130() {
    let config = Config {
        flows: 500,
        bytes: 2_000_000,
        concurrent: 500,
        ..Config::of(Profile::Small)
    };
    let (capture, truth) = generated(&config);
    let sent: u64 = truth.iter().map(|f| f.c2s.packets + f.s2c.packets).sum();
    let place = Place::with(&capture);
    // One line of progress for each frame: more than a pipe holds. The program cannot come to its
    // end as long as nobody reads them.
    let mut child = Command::new(PROGRAM)
        .arg(place.input())
        .arg("--out")
        .arg(place.out())
        .args(["-j", "2", "--batch-bytes", "1", "--progress", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    // The first thread waits for the others; a signal wakes it, and it goes back to sleep.
    let (_, before) = sleeps(child.id());
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let mut turns = 0;
    while !matches!(sleeps(child.id()), (false, now) if now > before) {
        thread::sleep(Duration::from_millis(1));
        turns += 1;
        assert!(turns < 30_000, "the signal did not arrive");
    }
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest}");
    assert!(rest.contains("interrupted"), "{rest}");
    let results = place.results();
    assert_eq!(results.manifest["complete"], false);
    let done = results.manifest["frames"]["total"].as_u64().unwrap();
    assert!(done > 0 && done < sent, "{done} of {sent} frames");
    let packets: i64 = results
        .flows
        .iter()
        .map(|row| row.int("c2s_packets") + row.int("s2c_packets"))
        .sum();
    assert_eq!(packets.unsigned_abs(), done);
    assert!(
        results
            .flows
            .iter()
            .any(|row| row.text("end_reason").as_deref() == Some("interrupted"))
    );
}
