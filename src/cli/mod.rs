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

use clap::Parser;

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
/// Interrupted: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

/// The program: reads the arguments, runs, prints, and tells the exit status.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(refuse(&error)),
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

/// Prints what is wrong with the arguments, or the help that was asked for. An argument is shown as it
/// was typed only where nothing of it controls the terminal; a pattern of the shell may have brought a
/// name that does.
fn refuse(error: &clap::Error) -> u8 {
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    let text = plain(&error.render().to_string(), &typed);
    match text {
        None => drop(error.print()),
        Some(text) => drop(io::stderr().write_all(text.as_bytes())),
    }
    u8::try_from(error.exit_code()).unwrap_or(FAILED)
}

/// The message with what it quotes of the arguments written out; `None` where nothing must be.
fn plain(message: &str, typed: &[OsString]) -> Option<String> {
    let mut quoted: Vec<(String, String)> = Vec::new();
    for argument in typed {
        let bytes = argument.as_bytes();
        // The message may quote the value alone.
        let value = bytes.iter().position(|&byte| byte == b'=');
        let value = value.map_or(&[][..], |at| &bytes[at + 1..]);
        for bytes in [bytes, value, bytes.get(2..).unwrap_or_default()] {
            let (raw, shown) = (String::from_utf8_lossy(bytes), Shown::bytes(bytes));
            let shown = shown.to_string();
            if raw != shown {
                quoted.push((raw.into_owned(), shown));
            }
        }
    }
    if quoted.is_empty() {
        return None;
    }
    quoted.sort_by_key(|(raw, _)| std::cmp::Reverse(raw.len()));
    let mut text = message.to_owned();
    for (raw, shown) in &quoted {
        text = text.replace(raw, shown);
    }
    let lines = text.lines().map(|line| Shown::bytes(line.as_bytes()));
    Some(lines.map(|line| format!("{line}\n")).collect())
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
            shown(&config.out.join("manifest.json"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_without_their_controls() {
        let typed = |text: &str| vec![OsString::from(text)];
        let message = "error: unexpected argument '--a\u{1b}]0;x\u{7}\nerror: b' found\n\nUsage: x\n";
        let told = plain(message, &typed("--a\u{1b}]0;x\u{7}\nerror: b")).unwrap();
        let wanted = "error: unexpected argument '--a\\x1b]0;x\\x07\\nerror: b' found\n\nUsage: x\n";
        assert_eq!(told, wanted);
        let message = "error: invalid value '\u{202e}x' for '--threads <N>'\n";
        for argument in ["--threads=\u{202e}x", "-j\u{202e}x", "\u{202e}x"] {
            let told = plain(message, &typed(argument)).unwrap();
            assert!(told.contains("'\\u{202e}x' for"), "{told}");
        }
        assert_eq!(plain("error: x\n", &typed("--x")), None);
    }
}
