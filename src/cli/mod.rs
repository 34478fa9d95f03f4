//! Arguments as typed, turned into a validated configuration; progress; the final table.

mod args;
mod progress;
mod table;
mod units;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use crate::config::Config;
use crate::pipeline::{Control, RunError, RunReport, run};
use args::Args;
use progress::Display;

/// Done.
const DONE: u8 = 0;
/// Could not go on.
const FAILED: u8 = 1;
/// Done, with damage.
const DAMAGED: u8 = 3;
/// Interrupted: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

/// The program: reads the arguments, runs, prints, and tells the exit status.
pub fn main() -> ExitCode {
    let args = Args::parse();
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

fn run_to_end(args: &Args) -> Result<u8, RunError> {
    let config = args.config();
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
            config.out.join("manifest.json").display()
        ));
        return Ok(FAILED);
    }
    Ok(if report.interrupted() {
        INTERRUPTED
    } else if report.is_damaged() {
        DAMAGED
    } else {
        DONE
    })
}

/// The first signal ends the run in order, a second one at once.
fn watch_signals(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let status = i32::from(INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(interrupted))?;
    }
    Ok(())
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
