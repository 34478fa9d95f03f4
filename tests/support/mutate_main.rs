//! Runs the program on damaged captures and reports every crash, hang, odd exit status and excess
//! of memory, with the input that caused it.
//!
//! `cargo run --release --example mutate -- --program target/release/bulkreasm data/`

#[path = "mod.rs"]
mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use support::mutation::mutate;
use support::prng::{Prng, mix};

/// Runs the program on damaged captures.
#[derive(Parser)]
struct Args {
    /// Captures, or directories of captures, to start from.
    #[arg(required = true)]
    captures: Vec<PathBuf>,
    #[arg(long, default_value = "target/release/bulkreasm")]
    program: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many damaged captures to try.
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// Try this one alone and keep its input.
    #[arg(long)]
    only: Option<u64>,
    /// Processes at once.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Seconds that a run may take.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Megabytes that a run may hold resident.
    #[arg(long, default_value_t = 512)]
    megabytes: u64,
    /// Captures larger than this many bytes are left out.
    #[arg(long, default_value_t = 300_000)]
    largest: u64,
    /// Where offending inputs are kept.
    #[arg(long, default_value = "mutation-failures")]
    keep: PathBuf,
    /// Where damaged captures and outputs lie for a moment: a tmpfs.
    #[arg(long, default_value = "/dev/shm")]
    scratch: PathBuf,
    /// A further argument for the program; may be given more than once.
    #[arg(long, allow_hyphen_values = true)]
    arg: Vec<String>,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut bases = Vec::new();
    for path in &args.captures {
        collect(path, args.largest, &mut bases)?;
    }
    bases.sort();
    if bases.is_empty() {
        return Err(io::Error::other("no captures to start from"));
    }
    let bases: Vec<(PathBuf, Vec<u8>)> = bases
        .into_iter()
        .map(|path| Ok((path.clone(), fs::read(path)?)))
        .collect::<io::Result<_>>()?;
    let scratch = tempfile::tempdir_in(&args.scratch)?;
    let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    let jobs = if args.only.is_some() { 1 } else { args.jobs };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|job| {
                let place = scratch.path().join(job.to_string());
                let (args, bases, next, failures) = (&args, &bases, &next, &failures);
                let worker = move || work(args, bases, &place, next, failures);
                scope.spawn(worker)
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().expect("a worker does not panic"))
    })?;
    let (runs, failures) = (
        next.load(Ordering::Relaxed).min(args.count),
        failures.into_inner(),
    );
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        io::stderr(),
        "{runs} runs in {seconds:.0} s, {failures} failures"
    )?;
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn collect(path: &Path, largest: u64, into: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), largest, into)?;
        }
    } else {
        let name = path.extension().unwrap_or_default();
        let capture = name == "pcap" || name == "pcapng" || name == "cap";
        if capture && fs::metadata(path)?.len() <= largest {
            into.push(path.to_owned());
        }
    }
    Ok(())
}

fn work(
    args: &Args,
    bases: &[(PathBuf, Vec<u8>)],
    place: &Path,
    next: &AtomicU64,
    failures: &AtomicU64,
) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let (input, out) = (place.join("in.pcap"), place.join("out"));
    loop {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        if turn >= args.count || (args.only.is_some() && turn > 0) {
            return Ok(());
        }
        let index = args.only.unwrap_or(turn);
        let mut prng = Prng::new(mix(args.seed) ^ index);
        let (base, bytes) = prng.pick(bases);
        let mutated = mutate(bytes, &mut prng);
        fs::write(&input, &mutated)?;
        let verdict = trial(args, &input, &out)?;
        if out.exists() {
            fs::remove_dir_all(&out)?;
        }
        if let Some(verdict) = &verdict {
            failures.fetch_add(1, Ordering::Relaxed);
            writeln!(
                io::stderr(),
                "run {index}, from {}: {verdict}",
                base.display()
            )?;
        }
        if verdict.is_some() || args.only.is_some() {
            fs::create_dir_all(&args.keep)?;
            fs::write(
                args.keep.join(format!("{}-{index}.pcap", args.seed)),
                &mutated,
            )?;
        }
    }
}

/// Runs the program once; the answer is what it did wrong.
fn trial(args: &Args, input: &Path, out: &Path) -> io::Result<Option<String>> {
    let mut child = Command::new(&args.program)
        .arg(input)
        .arg("--out")
        .arg(out)
        .args(&args.arg)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // A pipe that nobody reads would stop a talkative program.
    let mut pipe = child.stderr.take().expect("stderr is piped");
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        pipe.read_to_end(&mut said)
            .map(|_| String::from_utf8_lossy(&said).into_owned())
    });
    let verdict = watch(args, &mut child)?;
    let said = reader.join().expect("the reader does not panic")?;
    let quote = || {
        said.lines()
            .find(|l| l.contains("panicked"))
            .unwrap_or("")
            .to_owned()
    };
    Ok(verdict.map(|v| format!("{v} {}", quote())).or_else(|| {
        said.contains("panicked")
            .then(|| format!("a panic that was caught: {}", quote()))
    }))
}

fn watch(args: &Args, child: &mut Child) -> io::Result<Option<String>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.code() {
                Some(0 | 1 | 3 | 4) => None,
                Some(code) => Some(format!("exit status {code}")),
                None => Some(format!("{status}")),
            });
        }
        let resident = peak_megabytes(child.id());
        let late = started.elapsed() > Duration::from_secs(args.seconds);
        if late || resident > args.megabytes {
            child.kill()?;
            child.wait()?;
            return Ok(Some(if late {
                format!("still running after {} s", args.seconds)
            } else {
                format!("{resident} MB resident")
            }));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The greatest resident size so far. It is asked for every few milliseconds while the program
/// runs: hundreds of megabytes take longer than that to touch.
fn peak_megabytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
