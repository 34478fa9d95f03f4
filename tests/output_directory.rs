//! The output directory belongs to one run at a time, nothing is written through a link, and what the
//! system refuses is told as that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::capture_file::Format;
use support::generator::config::{Config, Profile};
use support::generator::generate;
use support::nasty;
use support::output::{Results, read_table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bulkreasm");

/// Flows with a little of everything, so that all tables have rows.
fn capture() -> Vec<u8> {
    capture_of(60, 300_000)
}

fn capture_of(flows: u64, bytes: u64) -> Vec<u8> {
    let config = Config {
        flows,
        bytes,
        loss: 0.05,
        ..Config::of(Profile::Bulk)
    };
    let mut capture = Vec::new();
    generate(&config, &mut capture, |_| Ok(())).unwrap();
    capture
}

/// A run on standard input that has begun to write, and waits for the rest of its input.
struct Begun {
    child: Child,
    stdin: ChildStdin,
    rest: Vec<u8>,
}

impl Begun {
    /// With so many bytes of the capture.
    fn new(mut command: Command, capture: &[u8], first: usize, out: &Path) -> Begun {
        let mut child = command
            .args(["-", "--out", out.to_str().unwrap(), "-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (now, rest) = capture.split_at(first);
        stdin.write_all(now).unwrap();
        // Tables are begun before anything is decoded.
        let mut turns = 0;
        while temporaries(out).len() < 3 {
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
            thread::sleep(Duration::from_millis(1));
            turns += 1;
            assert!(turns < 30_000, "it did not begin");
        }
        Begun {
            child,
            stdin,
            rest: rest.to_vec(),
        }
    }

    fn on(capture: &[u8], out: &Path) -> Begun {
        Begun::new(Command::new(PROGRAM), capture, capture.len() / 2, out)
    }

    fn signal(&self, signal: Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Lets it come to its end.
    fn finish(mut self) -> Output {
        self.stdin.write_all(&self.rest).unwrap();
        self.wait()
    }

    fn wait(self) -> Output {
        drop(self.stdin);
        self.child.wait_with_output().unwrap()
    }
}

/// Files under temporary names.
fn temporaries(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "tmp"))
        .collect()
}

fn run_on(input: &Path, out: &Path, more: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg(input)
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .unwrap()
}

/// Standard error of a run that ended with 1.
fn failure(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.starts_with("bulkreasm: error: "), "{text}");
    text
}

/// The manifest and the tables speak of the same run.
fn agree(out: &Path) -> usize {
    let results = Results::read(out).unwrap();
    assert_eq!(results.manifest["complete"], true);
    assert_eq!(results.manifest["flows"]["count"], results.flows.len());
    assert!(temporaries(out).is_empty());
    results.flows.len()
}

#[test]
fn a_directory_belongs_to_one_run_at_a_time() {
    let scratch = tempfile::tempdir().unwrap();
    let (out, input) = (scratch.path().join("out"), scratch.path().join("in"));
    fs::write(&input, nasty::sound(Format::ALL[0])).unwrap();
    let first = Begun::on(&capture(), &out);
    for more in [&[][..], &["--force"]] {
        let text = failure(&run_on(&input, &out, more));
        assert!(text.contains("another run is writing to"), "{text}");
        assert!(text.contains(out.to_str().unwrap()), "{text}");
    }
    let output = first.finish();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(agree(&out) > 1);
    let text = failure(&run_on(&input, &out, &[]));
    assert!(text.contains("not empty"), "{text}");
}

#[test]
fn a_killed_run_leaves_no_lock() {
    let scratch = tempfile::tempdir().unwrap();
    let (out, input) = (scratch.path().join("out"), scratch.path().join("in"));
    fs::write(&input, nasty::sound(Format::ALL[0])).unwrap();
    let first = Begun::on(&capture(), &out);
    first.signal(Signal::KILL);
    assert_eq!(first.wait().status.signal(), Some(9));
    assert!(!out.join("manifest.json").exists());
    let output = run_on(&input, &out, &["--force", "-q"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(agree(&out), 1, "what was left is gone");
}

#[test]
fn of_two_runs_that_begin_together_one_has_the_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let inputs = ["one", "other"].map(|name| scratch.path().join(name));
    fs::write(&inputs[0], nasty::sound(Format::ALL[0])).unwrap();
    fs::write(&inputs[1], capture()).unwrap();
    for turn in 0..20 {
        let out = scratch.path().join(turn.to_string());
        let children = inputs.each_ref().map(|input| {
            Command::new(PROGRAM)
                .arg(input)
                .args(["-q", "--payload", "none", "--out"])
                .arg(&out)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let outputs = children.map(|child| child.wait_with_output().unwrap());
        let codes = outputs.each_ref().map(|output| output.status.code());
        let won = codes.iter().position(|code| *code == Some(0)).unwrap();
        failure(&outputs[1 - won]);
        assert_eq!(agree(&out) == 1, won == 0, "{codes:?}");
    }
}

#[test]
fn nothing_is_written_through_a_link_that_is_planted() {
    let scratch = tempfile::tempdir().unwrap();
    let (out, victim) = (scratch.path().join("out"), scratch.path().join("victim"));
    fs::write(&victim, "precious").unwrap();
    let first = Begun::on(&capture(), &out);
    let mut names = vec!["manifest.json".to_owned(), ".manifest.json.tmp".to_owned()];
    for own in temporaries(&out) {
        let name = own.file_name().unwrap().to_str().unwrap().to_owned();
        // Neither the names that an earlier version had, nor those that will be, are of any use.
        let table = &name[1..name.find(".parquet").unwrap() + ".parquet".len()];
        names.extend([table.to_owned(), format!(".{table}.tmp")]);
    }
    for name in &names {
        symlink(&victim, out.join(name)).unwrap();
    }
    let output = first.finish();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        let left = out.join(name).symlink_metadata().unwrap();
        assert!(left.is_file(), "{name} was replaced");
    }
    Results::read(&out).unwrap();
}

#[test]
fn a_directory_that_is_a_link_by_then_is_an_error() {
    for (name, more) in [
        ("streams", &[][..]),
        ("payload", &["--payload", "parquet"]),
        ("pcaps", &["--payload", "none", "--pcaps"]),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let (out, elsewhere) = (scratch.path().join("out"), scratch.path().join("elsewhere"));
        fs::create_dir_all(elsewhere.join("00000")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(more);
        // Less than a batch, which is not written before its end has come.
        let sound = nasty::sound(Format::ALL[0]);
        let first = Begun::new(command, &sound, sound.len() / 2, &out);
        symlink(&elsewhere, out.join(name)).unwrap();
        let text = failure(&first.finish());
        assert!(text.contains("is a symbolic link"), "{name}: {text}");
        assert_eq!(fs::read_dir(elsewhere.join("00000")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
        assert!(!out.join("manifest.json").exists());
    }
}

/// Whatever file the limit stops, and wherever in it, footers included.
#[test]
fn a_limit_on_the_size_of_files_is_an_error_that_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let input = scratch.path().join("in");
    // Enough flows for their table to be larger as CSV than in Parquet.
    fs::write(&input, capture_of(400, 4_000_000)).unwrap();
    let mut stopped = Vec::new();
    for (which, more) in [
        "--payload none --csv --segments",
        "--payload files --no-sync",
        "--payload parquet --hash sha256",
        "--payload none --pcaps",
    ]
    .into_iter()
    .enumerate()
    {
        let mut done = false;
        for blocks in (0..6)
            .map(|n| 2 << (2 * n))
            .flat_map(|n| [n, n + n / 2, 2 * n])
        {
            let out = scratch.path().join(format!("{which}-{blocks}"));
            let script = format!(
                "ulimit -f {blocks}; exec '{PROGRAM}' '{}' --out '{}' -q {more}",
                input.display(),
                out.display()
            );
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            if output.status.code() == Some(0) {
                done = true;
                assert!(agree(&out) > 1);
                break;
            }
            let text = failure(&output);
            for part in ["File too large", "ulimit -f", out.to_str().unwrap()] {
                assert!(text.contains(part), "{more} {blocks}: {text}");
            }
            assert!(!text.contains("bug"), "{text}");
            assert!(!out.join("manifest.json").exists());
            let file = text
                .split_whitespace()
                .find(|word| word.contains("/out") || word.starts_with('/'));
            stopped.extend(
                file.and_then(|file| file.rsplit('/').next())
                    .map(str::to_owned),
            );
        }
        assert!(done, "{more}");
    }
    for file in ["flows.parquet", "flows.csv", "part-"] {
        let told = stopped.iter().any(|name| name.starts_with(file));
        assert!(told, "{file} never failed: {stopped:?}");
    }
}

#[test]
fn a_terminal_that_is_closed_ends_the_run_in_order() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, signal) in [("hup", Signal::HUP), ("term", Signal::TERM)] {
        let out = scratch.path().join(name);
        let first = Begun::on(&capture(), &out);
        first.signal(signal);
        // Its standard input stays open: it ends without.
        let Begun {
            mut child, stdin, ..
        } = first;
        let status = child.wait().unwrap();
        drop(stdin);
        assert_eq!(status.code(), Some(130), "{status}");
        let results = Results::read(&out).unwrap();
        assert_eq!(results.manifest["complete"], false);
        assert!(temporaries(&out).is_empty());
    }
}

#[test]
fn a_run_that_was_told_to_outlive_its_terminal_does() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", PROGRAM]);
    let capture = capture();
    let first = Begun::new(command, &capture, capture.len() / 2, &out);
    first.signal(Signal::HUP);
    let output = first.finish();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(agree(&out) > 1);
}

#[test]
fn syncing_changes_nothing_that_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let input = scratch.path().join("in");
    fs::write(&input, capture()).unwrap();
    let tables = [&[][..], &["--no-sync"]].map(|more| {
        let out = scratch.path().join(more.concat());
        let output = run_on(&input, &out.join("out"), more);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut bytes = Vec::new();
        let flows = out.join("out/flows.parquet");
        fs::File::open(&flows)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(!read_table(&flows).unwrap().is_empty());
        bytes
    });
    assert_eq!(tables[0], tables[1]);
}
