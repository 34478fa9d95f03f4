//! A whole run.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use super::batch::{Join, JoinedBatch};
use super::behind::Behind;
use super::report::{self, RunReport};
use super::source::Source;
use super::tables::Tables;
use super::worker::Worker;
use crate::capture::{CaptureError, Input, Inputs, Search};
use crate::config::{Config, EPOCH_FRAMES, MOST_THREADS, SHARDS};
use crate::model::{EndReason, shown};
use crate::output::accounting::AccountingError;
use crate::output::{
    DescriptorBudget, FileTotals, FlowCaptureWriter, FooterFacts, OutputDir, OutputError,
    PayloadOutput, PayloadTotals, Taking,
};

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes of the input files done.
    pub bytes: u64,
    /// Bytes of the input files in all; `None` with standard input.
    pub total_bytes: Option<u64>,
    /// Frames done.
    pub frames: u64,
}

/// How the caller takes part in a run.
pub struct Control<'a> {
    /// Set from outside to end the run early, in order.
    pub interrupted: Arc<AtomicBool>,
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
    #[error("cannot read {}: {source}; {}", shown(path), advice(source))]
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

/// What to do about an input that cannot be read on.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::OutOfMemory => {
            "the process may not have as much address space as the file has bytes (ulimit -v): \
             run with --no-mmap"
        }
        io::ErrorKind::UnexpectedEof => {
            "something else writes to it: run again on a copy that nothing writes to"
        }
        io::ErrorKind::NotFound => {
            "something removed or renamed it during the run: keep others away and run again"
        }
        _ => "check the device, or copy the file to a healthy one and run again",
    }
}

impl RunError {
    /// `input` could not be read at or behind `offset`.
    pub(super) fn read(input: &Input, offset: u64, error: &io::Error) -> RunError {
        if let Some(error) = input.spool_error() {
            return RunError::Capture(error);
        }
        RunError::Read {
            path: input.path().to_owned(),
            source: io::Error::new(error.kind(), format!("at offset {offset}: {error}")),
        }
    }
}

/// Runs as configured, from the input to the manifest.
pub fn run(config: &Config, mut control: Control<'_>) -> Result<RunReport, RunError> {
    let started = Instant::now();
    let mut inputs = Inputs::open(
        &config.inputs,
        &Search {
            recursive: config.recursive,
            output: config.out.clone(),
        },
        config.mmap,
        &control.interrupted,
    )?;
    let taking = Taking {
        force: config.force,
        sync: config.sync,
    };
    let dir = OutputDir::create_sparing(&config.out, taking, inputs.matcher())?;
    let dir = Arc::new(dir);
    inputs.keep_in(dir.path(), || dir.unnamed_file())?;
    let threads = config
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
        .clamp(1, MOST_THREADS);
    let no_threads = |reason: String| RunError::Threads { threads, reason };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("bulkreasm-{number}"))
        .build()
        .map_err(|error| no_threads(error.to_string()))?;
    let footer = Arc::new(FooterFacts {
        config_json: report::config_value(config).to_string(),
    });
    // Each opens one file without a permit; a capture that is written anew is another.
    let per_thread = if config.decode.keep_frames { 2 } else { 1 };
    let run = Run {
        config,
        inputs: &inputs,
        workers: workers(
            config,
            &dir,
            per_thread * threads + inputs.descriptors(),
            &footer,
        ),
        tables: Tables::create(&dir, config, &inputs, &footer)?,
        join: Join::new(&inputs, config),
    };
    let finished = std::thread::scope(|scope| {
        let _feeding = inputs
            .feed(scope, threads)
            .map_err(|error| no_threads(error.to_string()))?;
        pool.install(|| run.all(&mut control))
    })?;
    // What is synced from here on is what was written for the user.
    inputs.let_go_of_spool();
    report::complete(config, &inputs, &dir, finished, started.elapsed(), threads)
}

/// The workers, which leave `descriptors` to others.
fn workers(
    config: &Config,
    dir: &Arc<OutputDir>,
    descriptors: usize,
    footer: &Arc<FooterFacts>,
) -> Vec<Worker> {
    let budget = DescriptorBudget::from_process(descriptors);
    (0..SHARDS)
        .map(|shard| {
            let payload = PayloadOutput::new(config.payload, shard, dir, &budget, footer);
            let captures = config
                .decode
                .keep_frames
                .then(|| FlowCaptureWriter::new(Arc::clone(dir), Arc::clone(&budget)));
            Worker::new(shard, config.reassembly.clone(), payload, captures)
        })
        .collect()
}

struct Run<'run> {
    config: &'run Config,
    inputs: &'run Inputs,
    workers: Vec<Worker>,
    tables: Tables,
    join: Join,
}

impl Run<'_> {
    /// While one batch is reassembled, the next is decoded (or after that, where nothing of it has
    /// arrived yet), what came of the last one goes to the tables, and what was scanned is let go of.
    fn all(mut self, control: &mut Control<'_>) -> Result<report::Finished, RunError> {
        let inputs = self.inputs;
        let total_bytes = inputs.list().iter().map(Input::file_len).sum();
        let mut source = Source::new(inputs, self.config);
        let mut behind = Behind::new(inputs, self.config.payload.mode);
        let mut ahead = source.next()?;
        // Rows of earlier epochs may be written.
        let mut epoch = 0;
        while let Some(batch) = ahead.take() {
            let interrupted = !source.is_at_end() && control.interrupted.load(Ordering::Relaxed);
            let mut joined = self.join.join(inputs, batch);
            while joined.goes_on() {
                let written = work(&mut self.workers, &joined).inspect_err(|_| inputs.stop());
                self.check_input()?;
                written?;
                self.hand_over();
                self.join.go_on(&mut joined);
            }
            let (workers, tables) = (&mut self.workers, &mut self.tables);
            let (written, (decoded, tabled)) = rayon::join(
                // Nothing that is yet to arrive is waited for after an error.
                || work(workers, &joined).inspect_err(|_| inputs.stop()),
                || {
                    rayon::join(
                        || {
                            if interrupted || source.must_wait() {
                                Ok(None)
                            } else {
                                source.next()
                            }
                        },
                        || rayon::join(|| tables.write_before((epoch, 0)), || behind.let_go()).0,
                    )
                },
            );
            // A read that failed is the cause of whatever failed after it.
            self.check_input()?;
            written?;
            ahead = decoded?;
            tabled?;
            epoch = self.join.frames / EPOCH_FRAMES;
            self.hand_over();
            behind.passed(&joined);
            (control.progress)(Progress {
                bytes: joined.bytes_done,
                total_bytes,
                frames: self.join.frames,
            });
            if ahead.is_none() && !interrupted {
                ahead = source.next()?;
            }
        }
        let interrupted = !source.is_at_end();
        let seed = source.seed();
        let reason = if interrupted {
            EndReason::Interrupted
        } else {
            EndReason::Eof
        };
        let (ended, ()) = rayon::join(|| self.end_flows(reason), || behind.let_go_of_all());
        ended?;
        let stats = self.workers.iter().map(Worker::stats).collect();
        let mut payload = PayloadTotals::default();
        for worker in &self.workers {
            payload += worker.payload_totals();
        }
        let mut captures = FileTotals::default();
        for worker in &self.workers {
            captures += worker.capture_totals();
        }
        let (accounting, tables) = self.tables.finish()?;
        Ok(report::Finished {
            interrupted,
            join: self.join,
            seed,
            accounting,
            tables,
            payload,
            captures,
            stats,
        })
    }

    /// Ends all flows, so many at a time, since each becomes a row that waits to be written.
    fn end_flows(&mut self, reason: EndReason) -> Result<(), RunError> {
        /// Rows of so many flows stay in the cache until they are written.
        const AT_ONCE: usize = 1 << 13;
        let mut open: Vec<u64> = self.workers.iter().flat_map(Worker::open_flows).collect();
        open.sort_unstable();
        let bounds = open.iter().skip(AT_ONCE).step_by(AT_ONCE).copied();
        let epoch = self.join.frames / EPOCH_FRAMES;
        let mut ended_before = 0;
        for bound in bounds.chain([u64::MAX]) {
            let (watermark, inputs) = (self.join.watermark, self.inputs);
            let (workers, tables) = (&mut self.workers, &mut self.tables);
            let (ended, tabled) = rayon::join(
                || {
                    workers.par_iter_mut().try_for_each(|worker| {
                        worker.finish_before(bound, watermark, reason, inputs)
                    })
                },
                || tables.write_before((epoch, ended_before)),
            );
            self.check_input()?;
            ended?;
            tabled?;
            self.hand_over();
            ended_before = bound;
        }
        Ok(())
    }

    /// Moves rows from the shards to the tables.
    fn hand_over(&mut self) {
        for worker in &mut self.workers {
            self.tables.add(worker.take_rows());
        }
    }

    /// Payload is read where it is needed, far from anyone who could return an error.
    fn check_input(&self) -> Result<(), RunError> {
        match self.inputs.read_error() {
            None => Ok(()),
            Some((input, error)) => Err(RunError::Read {
                path: input.path().to_owned(),
                source: io::Error::new(error.kind(), error.to_string()),
            }),
        }
    }
}

fn work(workers: &mut [Worker], batch: &JoinedBatch<'_>) -> Result<(), OutputError> {
    workers
        .par_iter_mut()
        .try_for_each(|worker| worker.batch(batch, batch))
}
