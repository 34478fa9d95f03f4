//! A whole run.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use super::batch::{self, DecodedBatch, Join, JoinedBatch};
use super::report::{self, RunReport};
use super::tables::Tables;
use super::worker::Worker;
use crate::capture::{CaptureError, Input, WalkState};
use crate::config::{Config, EPOCH_FRAMES, SHARDS};
use crate::model::EndReason;
use crate::output::accounting::AccountingError;
use crate::output::{
    DescriptorBudget, FooterFacts, OutputDir, OutputError, PayloadOutput, PayloadTotals,
};

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Capture bytes done.
    pub bytes: u64,
    /// Capture bytes in all.
    pub total_bytes: u64,
    /// Frames done.
    pub frames: u64,
}

/// How the caller takes part in a run.
pub struct Control<'a> {
    /// Set from outside to end the run early, in order.
    pub interrupted: &'a AtomicBool,
    /// Told after each batch.
    pub progress: &'a mut (dyn FnMut(Progress) + Send),
}

/// Why a run could not complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The input could not be read on.
    #[error(
        "cannot read {}: {source}; check the device, or copy the file to a healthy one and run \
         again",
        path.display()
    )]
    Read {
        /// The input.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} worker threads: {reason}; ask for fewer with --threads")]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        reason: String,
    },
    /// The numbers of the run do not add up.
    #[error(transparent)]
    Accounting(AccountingError),
}

/// Runs as configured, from the input to the manifest.
pub fn run(config: &Config, mut control: Control<'_>) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let input = Input::open(&config.input, 0, config.mmap)?;
    let dir = Arc::new(OutputDir::create(&config.out, config.force)?);
    let threads = config
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
        .max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("bulkreasm-{number}"))
        .build()
        .map_err(|error| RunError::Threads {
            threads,
            reason: error.to_string(),
        })?;
    let footer = Arc::new(FooterFacts {
        config_json: report::config_value(config).to_string(),
    });
    let run = Run {
        config,
        input: &input,
        workers: workers(config, &dir, threads, &footer),
        tables: Tables::create(&dir, config, &footer)?,
        join: Join::new(config.reassembly.timeouts.fragment),
    };
    let finished = pool.install(|| run.all(&mut control))?;
    report::complete(config, &input, &dir, finished, started.elapsed(), threads)
}

fn workers(
    config: &Config,
    dir: &Arc<OutputDir>,
    threads: usize,
    footer: &Arc<FooterFacts>,
) -> Vec<Worker> {
    let budget = DescriptorBudget::from_process(threads);
    (0..SHARDS)
        .map(|shard| {
            let payload = PayloadOutput::new(config.payload, shard, dir, &budget, footer);
            Worker::new(shard, config.reassembly.clone(), payload)
        })
        .collect()
}

struct Run<'run> {
    config: &'run Config,
    input: &'run Input,
    workers: Vec<Worker>,
    tables: Tables,
    join: Join,
}

impl Run<'_> {
    /// While one batch is reassembled, the next is decoded.
    fn all(mut self, control: &mut Control<'_>) -> Result<report::Finished, RunError> {
        let mut ahead = decode_at(self.input, self.config, &self.input.start())?;
        let mut interrupted = false;
        while let Some(batch) = ahead.take() {
            let next = batch.end().cloned();
            let joined = self.join.join(self.input, batch);
            let rest = next
                .as_ref()
                .is_some_and(|state| state.offset() < self.input.len());
            interrupted = rest && control.interrupted.load(Ordering::Relaxed);
            let (input, config, workers) = (self.input, self.config, &mut self.workers);
            let (decoded, written) = rayon::join(
                || match next {
                    Some(state) if !interrupted => decode_at(input, config, &state),
                    _ => Ok(None),
                },
                || work(workers, &joined, input),
            );
            // A read that failed is the cause of whatever failed after it.
            self.check_input()?;
            written?;
            ahead = decoded?;
            self.hand_over(self.join.frames / EPOCH_FRAMES)?;
            (control.progress)(Progress {
                bytes: joined.end,
                total_bytes: self.input.len(),
                frames: self.join.frames,
            });
        }
        let reason = if interrupted {
            EndReason::Interrupted
        } else {
            EndReason::Eof
        };
        let (watermark, input) = (self.join.watermark, self.input);
        let finished = self
            .workers
            .par_iter_mut()
            .try_for_each(|worker| worker.finish(watermark, reason, input));
        self.check_input()?;
        finished?;
        self.hand_over(0)?;
        let stats = self.workers.iter().map(Worker::stats).collect();
        let mut payload = PayloadTotals::default();
        for worker in &self.workers {
            payload += worker.payload_totals();
        }
        let (accounting, tables) = self.tables.finish()?;
        Ok(report::Finished {
            interrupted,
            join: self.join,
            accounting,
            tables,
            payload,
            stats,
        })
    }

    /// Moves rows from the shards to the tables and writes those of the epochs before `epoch`.
    fn hand_over(&mut self, epoch: u64) -> Result<(), RunError> {
        for worker in &mut self.workers {
            self.tables.add(worker.take_ended());
        }
        Ok(self.tables.write_before(epoch)?)
    }

    /// Payload is read where it is needed, far from anyone who could return an error.
    fn check_input(&self) -> Result<(), RunError> {
        match self.input.read_error() {
            None => Ok(()),
            Some(error) => Err(RunError::Read {
                path: self.input.path().to_owned(),
                source: io::Error::new(error.kind(), error.to_string()),
            }),
        }
    }
}

fn decode_at<'input>(
    input: &'input Input,
    config: &Config,
    state: &WalkState,
) -> Result<Option<DecodedBatch<'input>>, RunError> {
    if state.offset() >= input.len() {
        return Ok(None);
    }
    batch::decode(input, state, &config.batch)
        .map(Some)
        .map_err(|source| RunError::Read {
            path: input.path().to_owned(),
            source: io::Error::new(
                source.kind(),
                format!("at offset {}: {source}", state.offset()),
            ),
        })
}

fn work(workers: &mut [Worker], batch: &JoinedBatch<'_>, input: &Input) -> Result<(), OutputError> {
    workers
        .par_iter_mut()
        .try_for_each(|worker| worker.batch(batch, input))
}
