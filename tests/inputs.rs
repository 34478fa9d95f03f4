//! Which files are read, in which order, and by which clock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::capture_file::{Format, block};
use support::compress::Compression;
use support::files::Capture;
use support::nasty;
use support::output::{Output, Results, division, files_below, run};

const HOUR: i64 = 3600 * 1_000_000_000;
const YEAR: i64 = 365 * 24 * HOUR;
const NANOS: Format = Format::Pcap {
    big_endian: false,
    nanos: true,
};
const BLOCKS: Format = Format::Pcapng { big_endian: false };

/// Ways to divide the work: threads, bytes per batch, bytes per chunk, further arguments.
const DIVISIONS: [(&str, &str, &str, &[&str]); 6] = [
    ("2", "64M", "4M", &[]),
    ("1", "64M", "4M", &["--no-mmap"]),
    ("2", "1", "1", &[]),
    ("1", "100", "70", &["--no-mmap"]),
    ("3", "150", "1", &[]),
    ("2", "300", "300", &[]),
];

fn run_on(inputs: &[PathBuf], out: &Path, args: &[&str]) -> Output {
    let mut all: Vec<OsString> = inputs.iter().map(OsString::from).collect();
    all.extend(["--out".into(), out.into()]);
    all.extend(args.iter().map(OsString::from));
    run(all)
}

/// Runs on them in all divisions, which must agree.
fn agreed(base: &Path, inputs: &[PathBuf], how: &str) -> (Output, Results) {
    let mut first = None;
    for (number, (threads, batch, chunk, more)) in DIVISIONS.into_iter().enumerate() {
        let out = base.join(format!("out{number}"));
        let mut args = division(threads, batch, chunk).to_vec();
        args.extend(more);
        args.push("--force");
        let output = run_on(inputs, &out, &args);
        let mut files = files_below(&out);
        files.remove(Path::new("manifest.json")).unwrap();
        let mut results = Results::read(&out).unwrap();
        results.manifest.as_object_mut().unwrap().remove("timings");
        let (wanted, _, manifest) =
            first.get_or_insert_with(|| (files.clone(), output, results.manifest.clone()));
        assert!(files == *wanted, "{how}: {args:?}");
        assert_eq!(results.manifest, *manifest, "{how}: {args:?}");
    }
    let (_, output, _) = first.unwrap();
    (output, Results::read(&base.join("out0")).unwrap())
}

/// A connection, one frame a second.
fn connection() -> Capture {
    let mut capture = Capture::parse(&nasty::sound(NANOS));
    for number in 0..capture.records.len() {
        at_time(
            &mut capture,
            number,
            50 * YEAR + 1_000_000_000 * count(number),
        );
    }
    capture
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

fn at_time(capture: &mut Capture, number: usize, ns: i64) {
    let record = &mut capture.records[number];
    record.0 = ns;
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    record.1[..4].copy_from_slice(&u32::try_from(seconds).unwrap().to_le_bytes());
    record.1[4..8].copy_from_slice(&u32::try_from(fraction).unwrap().to_le_bytes());
}

fn write(base: &Path, files: &[Capture]) -> Vec<PathBuf> {
    let named = files.iter().enumerate().map(|(number, file)| {
        let path = base.join(format!("cap{number}"));
        fs::write(&path, file.bytes()).unwrap();
        path
    });
    named.collect()
}

#[test]
fn a_clock_that_slips_once_ends_nothing_wherever() {
    let base = tempfile::tempdir().unwrap();
    let whole = connection();
    let last = whole.records.len() - 1;
    for cut in [0, 1, 3, 4, last] {
        for slipped in 0..last {
            // The last frame of a file that is not the last may be right.
            if slipped + 1 == cut {
                continue;
            }
            for by in [-50 * YEAR, -21 * YEAR, 30 * YEAR] {
                let mut capture = whole.clone();
                let ns = whole.records[slipped].0 + by;
                at_time(&mut capture, slipped, ns);
                let files = capture.deal(2, |number| usize::from(number >= cut));
                let files = &files[usize::from(cut == 0)..];
                // Two frames cannot tell which of them is wrong.
                if files.iter().any(|file| file.records.len() == 2) {
                    continue;
                }
                let how = format!("frame {slipped} by {by}, cut at {cut}");
                let paths = write(base.path(), files);
                let (output, results) = agreed(base.path(), &paths, &how);
                assert_eq!(output.status, Some(0), "{how}");
                assert_eq!(results.flows.len(), 1, "{how}");
                let flow = &results.flows[0];
                assert_eq!(flow.text("end_reason").as_deref(), Some("fin"), "{how}");
                assert!(flow.bool("complete"), "{how}");
                assert_eq!(results.payload(flow, "s2c"), b"answer", "{how}");
                let jumps = results.manifest["anomalies"]["clock_jumps"]
                    .as_u64()
                    .unwrap();
                assert!((1..=2).contains(&jumps), "{how}: {jumps}");
                let told = output
                    .stderr
                    .lines()
                    .filter(|line| line.contains("the clock goes"));
                assert_eq!(told.count(), 1, "{how}: {}", output.stderr);
            }
        }
    }
}

#[test]
fn a_clock_that_was_set_is_counted_and_told() {
    let base = tempfile::tempdir().unwrap();
    let mut capture = connection();
    let begin = capture.records[0].0;
    at_time(&mut capture, 3, begin + HOUR + 2_000_000_001);
    at_time(&mut capture, 4, begin + 2 * HOUR);
    let (output, results) = agreed(base.path(), &write(base.path(), &[capture.clone()]), "set");
    assert_eq!(results.manifest["anomalies"]["clock_jumps"], 2);
    let warning = "cap0: the clock goes forth by 1 hours, or nothing was captured for so long, before frame 4 of all \
                   inputs, from 2019-12-20T00:00:02.000000Z to 2019-12-20T01:00:02.000000Z: the first of 2 jumps of \
                   more than an hour";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
    let mut back = connection();
    for number in 3..back.records.len() {
        at_time(&mut back, number, begin - 2 * HOUR + count(number));
    }
    let (output, _) = agreed(base.path(), &write(base.path(), &[back]), "back");
    let warning = "the clock goes back by 2 hours before frame 4 of all inputs, from";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
    // An hour is none.
    let quiet = {
        let mut capture = connection();
        for number in 3..capture.records.len() {
            at_time(
                &mut capture,
                number,
                begin + 2_000_000_000 + HOUR * (count(number) - 2),
            );
        }
        capture
    };
    let (output, results) = agreed(base.path(), &write(base.path(), &[quiet]), "quiet");
    assert_eq!(results.manifest["anomalies"]["clock_jumps"], 0);
    assert_eq!(output.stderr, "");
}

/// A slip in one of two files that overlap, in front of the first frame of the other, which has no time.
#[test]
fn times_are_judged_alike_wherever_a_batch_ends() {
    let base = tempfile::tempdir().unwrap();
    let whole = connection();
    for slipped in 1..whole.records.len() - 1 {
        let mut one = whole.clone();
        at_time(&mut one, slipped, whole.records[slipped].0 + 5 * HOUR);
        let mut other = Capture::parse(&nasty::sound(BLOCKS));
        let frame = other.records[0].1[28..].to_vec();
        let body = [&60u32.to_le_bytes()[..], &frame[..60]].concat();
        other.records.truncate(2);
        for (number, record) in other.records.iter_mut().enumerate() {
            let ns = whole.records[slipped].0 + 500_000_000 + count(number);
            let [high, low] = [ns >> 32, ns & 0xffff_ffff].map(|n| u32::try_from(n).unwrap());
            record.1[12..16].copy_from_slice(&high.to_le_bytes());
            record.1[16..20].copy_from_slice(&low.to_le_bytes());
        }
        other.records.insert(0, (0, block(3, &body, None)));
        let paths = write(base.path(), &[one, other]);
        agreed(base.path(), &paths, &format!("frame {slipped}"));
    }
}

/// A pcapng whose packets come behind so many bytes of secrets, name resolution and custom blocks.
fn with_blocks_in_front(capture: &Capture, bytes: usize) -> Vec<u8> {
    let mut all = capture.head.clone();
    let big = vec![0x41; bytes / 12 * 4];
    for kind in [10, 4, 0x0bad] {
        all.extend(block(kind, &big, None));
    }
    all.extend(capture.records.iter().flat_map(|(_, record)| record));
    all
}

#[test]
fn files_are_put_in_order_whatever_lies_before_their_first_frame() {
    let base = tempfile::tempdir().unwrap();
    let whole = Capture::parse(&nasty::sound(BLOCKS));
    let [early, late]: [Capture; 2] = whole.rotate(2).try_into().unwrap();
    for bytes in [600, 5 << 20] {
        let early = with_blocks_in_front(&early, bytes);
        let at = |name: &str| base.path().join(name);
        fs::write(at("a"), late.bytes()).unwrap();
        fs::write(at("z"), &early).unwrap();
        let mut files = vec![at("z")];
        for how in Compression::ALL {
            let path = at(&format!("z.{}", how.name()));
            fs::write(&path, how.compress(&early)).unwrap();
            files.push(path);
        }
        for file in &files {
            for more in [&[][..], &["--no-mmap"]] {
                let mut args = vec!["--force", "-q"];
                args.extend(more);
                assert_eq!(
                    run_on(&[at("a"), file.clone()], &at("out"), &args).status,
                    Some(0)
                );
                in_order(&at("out"), file);
            }
        }
        let piped = Command::new(env!("CARGO_BIN_EXE_bulkreasm"))
            .args([
                at("a").as_os_str(),
                OsStr::new("-"),
                OsStr::new("--out"),
                at("out").as_os_str(),
            ])
            .args(["--force", "-q"])
            .stdin(Stdio::from(File::open(at("z")).unwrap()))
            .status()
            .unwrap();
        assert_eq!(piped.code(), Some(0));
        in_order(&at("out"), Path::new("-"));
    }
}

fn in_order(out: &Path, first: &Path) {
    let results = Results::read(out).unwrap();
    assert_eq!(
        results.manifest["inputs"][0]["path"],
        first.to_str().unwrap()
    );
    assert_eq!(results.flows.len(), 1, "{}", first.display());
    assert_eq!(results.payload(&results.flows[0], "s2c"), b"answer");
}

#[test]
fn files_with_equal_times_come_in_the_natural_order_of_their_names() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("in");
    fs::create_dir(&folder).unwrap();
    for name in ["cap10", "cap2", "cap1"] {
        fs::write(folder.join(name), nasty::sound(NANOS)).unwrap();
    }
    let out = base.path().join("out");
    assert_eq!(run_on(&[folder], &out, &["-q"]).status, Some(0));
    let manifest = Results::read(&out).unwrap().manifest;
    let paths: Vec<&str> = (0..3)
        .map(|file| manifest["inputs"][file]["path"].as_str().unwrap())
        .map(|path| path.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(paths, ["cap1", "cap2", "cap10"]);
}

#[test]
fn a_file_without_bytes_among_others_is_a_warning() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    fs::write(at("next"), "").unwrap();
    fs::write(at("full"), nasty::sound(NANOS)).unwrap();
    let output = run_on(&[at("next"), at("full")], &at("out"), &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(output.stderr.contains("next: empty"), "{output:?}");
    let manifest = Results::read(&at("out")).unwrap().manifest;
    assert_eq!(manifest["skipped_files"].as_array().unwrap().len(), 1);
    // Alone, or where there is nothing else, it is an error.
    fs::write(at("other"), "").unwrap();
    for inputs in [&[at("next")][..], &[at("next"), at("other")]] {
        let output = run_on(inputs, &at("none"), &[]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(
            output.stderr.contains("next: the file is empty"),
            "{output:?}"
        );
    }
    // One that is compressed is not 0 bytes long.
    for how in Compression::ALL {
        fs::write(at("packed"), how.compress(b"")).unwrap();
        let told = format!(
            "packed: compressed with {}, and it holds no bytes",
            how.name()
        );
        for (inputs, status) in [
            (&[at("packed")][..], 1),
            (&[at("packed"), at("full")], 0),
            (&[at("full"), at("packed")], 0),
        ] {
            let output = run_on(inputs, &at("out"), &["--force"]);
            assert_eq!(output.status, Some(status), "{output:?}");
            assert!(output.stderr.contains(&told), "{output:?}");
        }
    }
}

#[test]
fn directories_are_searched_below_but_not_what_earlier_runs_wrote() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    fs::create_dir_all(at("in/below/deep")).unwrap();
    for name in ["in/a", "in/below/deep/b"] {
        fs::write(at(name), nasty::sound(NANOS)).unwrap();
    }
    symlink(at("in"), at("in/below/up")).unwrap();
    let names = |out: &str, list: &str| -> Vec<String> {
        let manifest = Results::read(&at(out)).unwrap().manifest;
        let files = manifest[list].as_array().into_iter().flatten();
        let path = |file: &serde_json::Value| file["path"].as_str().unwrap().to_owned();
        files.map(path).collect()
    };
    let inside = |name: &str| at(name).to_str().unwrap().to_owned();
    // The second run meets what the first wrote, captures of flows included, and its own directory.
    for out in ["in/first", "in/second"] {
        let output = run_on(&[at("in")], &at(out), &["--pcaps"]);
        assert_eq!(output.status, Some(0), "{output:?}");
        assert_eq!(
            names(out, "inputs"),
            ["in/a", "in/below/deep/b"].map(inside)
        );
    }
    let again = run_on(&[at("in")], &at("in/second"), &["--pcaps", "--force"]);
    assert_eq!(again.status, Some(0), "{again:?}");
    let skipped = ["in/below/up", "in/first", "in/second"];
    assert_eq!(names("in/second", "skipped_files"), skipped.map(inside));
    let flat = run_on(&[at("in")], &at("flat"), &["--no-recursive"]);
    assert_eq!(
        (flat.status, names("flat", "inputs")),
        (Some(0), vec![inside("in/a")])
    );
    let none = run_on(&[at("in/first")], &at("none"), &[]);
    assert_eq!(none.status, Some(1));
    assert!(
        none.stderr.contains("the output of an earlier run"),
        "{none:?}"
    );
    // What lies beside output is read where its directory was named, also if the run writes to it.
    for (beside, more) in [("in/first", &[][..]), ("in/second", &["--force"])] {
        fs::write(at(beside).join("c"), nasty::sound(NANOS)).unwrap();
        let out = if more.is_empty() { "beside" } else { beside };
        let output = run_on(&[at(beside)], &at(out), more);
        assert_eq!(output.status, Some(0), "{output:?}");
        assert_eq!(names(out, "inputs"), [inside(&format!("{beside}/c"))]);
    }
    // A run that was killed leaves no manifest.
    fs::remove_file(at("in/first/manifest.json")).unwrap();
    let output = run_on(&[at("in")], &at("last"), &["--pcaps"]);
    assert_eq!(output.status, Some(0), "{output:?}");
    assert_eq!(
        names("last", "inputs"),
        ["in/a", "in/below/deep/b"].map(inside)
    );
}

/// Somebody else's file in a directory ends nothing, unless it was named.
#[test]
fn a_file_that_may_not_be_read_is_skipped_in_a_directory() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    fs::create_dir_all(at("in/below")).unwrap();
    fs::write(at("in/a"), nasty::sound(NANOS)).unwrap();
    let sealed = at("in/below/sealed");
    fs::write(&sealed, nasty::sound(NANOS)).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read anything.
    let inputs = if File::open(&sealed).is_ok() { 2 } else { 1 };
    let output = run_on(&[at("in")], &at("out"), &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let manifest = Results::read(&at("out")).unwrap().manifest;
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), inputs);
    if inputs == 1 {
        let told = "below/sealed: permission denied";
        assert!(output.stderr.contains(told), "{output:?}");
        let named = run_on(&[at("in/a"), sealed], &at("none"), &[]);
        assert_eq!(named.status, Some(1), "{named:?}");
    }
}

/// A file's name comes from whoever made the file.
#[test]
fn names_do_not_reach_the_terminal_raw() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("in");
    fs::create_dir(&folder).unwrap();
    let evil = b"\x1b]0;own\x07\nbulkreasm: error: forged\x7f\xff \xc2\x9b2J \xe2\x80\xae";
    let shown = r"\x1b]0;own\x07\nbulkreasm: error: forged\x7f\xff \u{9b}2J \u{202e}";
    let odd = |prefix: &str| folder.join(OsStr::from_bytes(&[prefix.as_bytes(), evil].concat()));
    let mut damaged = nasty::sound(NANOS);
    damaged.extend([0; 100]);
    fs::write(odd("capture"), damaged).unwrap();
    fs::write(odd("text"), "no capture").unwrap();
    let out = base.path().join(OsStr::from_bytes(b"o\'\x1b[2J\xc2\x9b"));
    let missing = odd("missing");
    let runs = [
        run_on(std::slice::from_ref(&folder), &out, &["-v"]),
        run_on(std::slice::from_ref(&folder), &out, &["--json", "--force"]),
        run_on(std::slice::from_ref(&folder), &out, &[]),
        run_on(std::slice::from_ref(&missing), &out, &[]),
        run_on(&[odd("text")], &out, &[]),
        run_on(&[folder.clone(), odd("capture")], &odd("text"), &[]),
        run([OsStr::from_bytes(&[&b"--"[..], evil].concat())]),
        run([
            OsStr::from_bytes(&[&b"-j"[..], evil].concat()),
            OsStr::new("x"),
        ]),
    ];
    for output in &runs {
        let control = |letter: char| {
            letter != '\n' && letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter)
        };
        assert!(!output.stderr.contains(control), "{:?}", output.stderr);
        assert!(!output.stdout.contains(control), "{:?}", output.stdout);
        assert!(!output.stderr.contains("\nbulkreasm: error: forged"));
    }
    for (run, prefix) in [
        (0, "text"),
        (0, "capture"),
        (3, "missing"),
        (4, "text"),
        (5, "text"),
    ] {
        let wanted = format!("{prefix}{shown}");
        assert!(
            runs[run].stderr.contains(&wanted),
            "{run}: {}",
            runs[run].stderr
        );
    }
    assert!(
        runs[0].stdout.contains(r"o''\x1b[2J\u{9b}/flows.parquet'"),
        "{}",
        runs[0].stdout
    );
    let manifest: serde_json::Value = serde_json::from_str(&runs[1].stdout).unwrap();
    let path = manifest["inputs"][0]["path"].as_str().unwrap();
    assert!(
        path.contains('\u{9b}') && path.contains('\u{202e}'),
        "{path:?}"
    );
}

#[test]
fn advice_names_what_helps() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    fs::write(at("a[1].pcap"), nasty::sound(NANOS)).unwrap();
    let found = run_on(&[at("a[1].pcap")], &at("out"), &["-q"]);
    assert_eq!(found.status, Some(0), "the name counts first: {found:?}");
    for (path, wanted) in [
        (at("a[1].pcap/"), "a file and no directory"),
        (at("a[1].pcap/b"), "a file and no directory"),
        (at("b[1].pcap"), "write [*], [?] and [[]"),
        (PathBuf::from("/proc/self/mem"), "standard input"),
    ] {
        let output = run_on(std::slice::from_ref(&path), &at("none"), &[]);
        assert_eq!(output.status, Some(1), "{output:?}");
        assert!(
            output.stderr.contains(wanted),
            "{}: {output:?}",
            path.display()
        );
        assert!(!at("none").exists());
    }
    // A map of the file does not fit, and reading it does.
    let large = at("large");
    fs::write(&large, nasty::sound(NANOS)).unwrap();
    let file = File::options().write(true).open(&large).unwrap();
    file.set_len(64 << 30).unwrap();
    let words = format!(
        "ulimit -v 16000000; exec '{}' '{}' --out '{}' -j 1",
        env!("CARGO_BIN_EXE_bulkreasm"),
        large.display(),
        at("limited").display()
    );
    let output = Command::new("sh").args(["-c", &words]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("run with --no-mmap"), "{told}");
}
