//! Progress on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::ProgressArg;
use crate::pipeline::Progress;

/// Shows how far a run has come.
pub(super) enum Display {
    Silent,
    Bar(ProgressBar),
    Json(Instant),
}

impl Display {
    pub(super) fn new(when: ProgressArg, quiet: bool) -> Display {
        match when {
            ProgressArg::Json => Display::Json(Instant::now()),
            ProgressArg::Auto if !quiet && stderr().is_terminal() => Display::Bar(bar()),
            ProgressArg::Auto | ProgressArg::Never => Display::Silent,
        }
    }

    pub(super) fn show(&self, progress: Progress) {
        match self {
            Display::Silent => {}
            Display::Bar(bar) => {
                match progress.total_bytes {
                    Some(total) => bar.set_length(total),
                    None if bar.length().is_some() => endless(bar),
                    None => {}
                }
                bar.set_position(progress.bytes);
            }
            Display::Json(started) => {
                let line = serde_json::json!({
                    "bytes": progress.bytes,
                    "total_bytes": progress.total_bytes,
                    "frames": progress.frames,
                    "seconds": started.elapsed().as_secs_f64(),
                });
                // Whoever reads it may have gone; the run goes on.
                let _ = writeln!(stderr(), "{line}");
            }
        }
    }

    pub(super) fn clear(&self) {
        if let Display::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Nobody knows how much is to come: no bar, but bytes so far and rate.
fn endless(bar: &ProgressBar) {
    bar.unset_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {bytes} {bytes_per_sec} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
