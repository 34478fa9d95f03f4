//! Arguments as typed, turned into a validated configuration; progress; the final table.

mod args;
mod progress;
mod table;
mod units;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, Parser};

use crate::config::Config;
use crate::pipeline::{Control, RunError, RunReport, Shown, run, shown};
use args::Args;
use progress::Display;

/// Done.
const DONE: u8 = 0;
/// Could not go on.
const FAILED: u8 = 1;
/// Done, with damage.
const DAMAGED: u8 = 3;
/// Done, but a limit of memory or of a table lost something.
const LIMITED: u8 = 4;
/// Interrupted: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

/// The program: reads the arguments, runs, prints, and tells the exit status.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(refuse(error)),
    };
    ExitCode::from(match run_to_end(&args) {
        Ok(status) => status,
        Err(error) => {
            complain(&format!("error: {error}"));
            match error {
                RunError::Capture(error) if error.is_interruption() => INTERRUPTED,
                _ => FAILED,
            }
        }
    })
}

/// Prints what is wrong with the arguments, or the help that was asked for. An argument is quoted as it
/// was typed only where nothing of it controls the terminal; a pattern of the shell may have brought a
/// name that does.
fn refuse(error: clap::Error) -> u8 {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let error = quotable(error, &typed);
    // Where it cannot be printed, nobody can be told.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(FAILED)
}

/// The error about the same arguments as they may be shown.
fn quotable(error: clap::Error, typed: &[OsString]) -> clap::Error {
    let shown = |argument: &OsString| OsString::from(Shown::bytes(argument.as_bytes()).to_string());
    let written: Vec<OsString> = typed.iter().map(shown).collect();
    if written == typed {
        return error;
    }
    Args::try_parse_from(written).err().unwrap_or_else(|| {
        let text = "an argument has characters that cannot be shown";
        Args::command().error(error.kind(), text)
    })
}

fn run_to_end(args: &Args) -> Result<u8, RunError> {
    let config = args.config();
    if !args.quiet {
        for warning in args.warnings() {
            complain(&format!("warning: {warning}"));
        }
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    if let Err(error) = watch_signals(&interrupted) {
        complain(&format!("warning: cannot watch for Ctrl-C: {error}"));
    }
    let display = Display::new(args.progress, args.quiet);
    let mut show = |progress| display.show(progress);
    let control = Control {
        interrupted,
        progress: &mut show,
    };
    let result = run(&config, control);
    display.clear();
    let report = result?;
    if let Err(error) = print(args, &config, &report) {
        complain(&format!(
            "error: cannot write to standard output: {error}; the run itself is done, and its \
             numbers are in {}",
            shown(&config.out.join("manifest.json"))
        ));
        // A terminal that is closed takes standard output with it.
        return Ok(if report.interrupted() {
            INTERRUPTED
        } else {
            FAILED
        });
    }
    Ok(if report.interrupted() {
        INTERRUPTED
    } else if report.is_damaged() {
        DAMAGED
    } else if report.lost_to_limits() {
        LIMITED
    } else {
        DONE
    })
}

/// The first signal ends the run in order, a second one at once.
fn watch_signals(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Whoever starts a program with nohup wants it to outlive the terminal.
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        let status = i32::from(INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(interrupted))?;
    }
    // A write beyond the limit on the size of files is then an error that says so (setrlimit(2)).
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Whether the process was started with this signal ignored, where the system tells.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn print(args: &Args, config: &Config, report: &RunReport) -> io::Result<()> {
    if !args.quiet {
        for warning in table::warnings(config, report, args.verbose) {
            complain(&format!("warning: {warning}"));
        }
    }
    let text = if args.json {
        report.manifest_json.clone()
    } else if args.quiet {
        return Ok(());
    } else {
        table::table(config, report)
    };
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that went away (`| head`) has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "bulkreasm: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_without_their_controls() {
        for (argument, wanted) in [
            (
                "--a\u{1b}]0;x\u{7}\nerror: b",
                r"'--a\x1b]0;x\x07\nerror: b'",
            ),
            ("--threads=\u{202e}x", r"'\u{202e}x' for"),
            ("-j\u{9b}x", r"'\u{9b}x' for"),
        ] {
            let typed: Vec<OsString> = ["bulkreasm", "in", "-o", "out", argument]
                .map(OsString::from)
                .to_vec();
            let error = Args::try_parse_from(&typed).unwrap_err();
            let told = quotable(error, &typed).to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }
}
