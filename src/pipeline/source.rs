//! The capture, batch after batch: over all files, in the order of time.
//!
//! The order of frames is defined so: again and again comes the frame at which the clock of its own
//! file is least, and of equal ones that of the file that comes first. The clock of a file at a frame
//! is the greatest time in it up to there. So all frames of a file come before those of the next one
//! just when its clock never passes the time at which the next one begins, and then they are decoded
//! from guessed boundaries in parallel ([`mod@stretch`]). Only where files do overlap are their frames
//! put in order one by one ([`mod@merge`]).

use std::slice;

use super::batch::DecodedBatch;
use super::merge::{self, Reading};
use super::run::RunError;
use super::stretch;
use crate::capture::{Input, Inputs};
use crate::config::Config;
use crate::model::Timestamp;
use crate::shard::ShardSeed;

/// Gives one batch after another.
pub(super) struct Source<'input> {
    config: &'input Config,
    inputs: &'input Inputs,
    /// Files under way, in their order.
    readings: Vec<Reading<'input>>,
    /// Files that have not begun.
    rest: slice::Iter<'input, Input>,
    /// The one file under way is about to overlap the next.
    expecting: bool,
    /// What spreads flows over shards, once the first frame has been seen.
    seed: Option<ShardSeed>,
    /// Bytes of files that have ended.
    bytes_ended: u64,
    /// Bytes of all files up to the last batch's end.
    bytes_done: u64,
}

impl<'input> Source<'input> {
    /// At the beginning of `inputs`.
    pub(super) fn new(inputs: &'input Inputs, config: &'input Config) -> Source<'input> {
        Source {
            config,
            inputs,
            readings: Vec::new(),
            rest: inputs.list().iter(),
            expecting: false,
            seed: None,
            bytes_ended: 0,
            bytes_done: 0,
        }
    }

    /// What spreads the flows of this capture over shards.
    pub(super) fn seed(&self) -> ShardSeed {
        self.seed.unwrap_or_default()
    }

    /// Whether everything has been given.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.as_slice().is_empty() && self.readings.iter().all(Reading::is_over)
    }

    /// Whether nothing has arrived of what comes next in some file under way.
    pub(super) fn must_wait(&self) -> bool {
        self.readings.iter().any(Reading::must_wait)
    }

    /// The next batch; `None` at the end, and where the run was stopped and no more has arrived.
    pub(super) fn next(&mut self) -> Result<Option<DecodedBatch<'input>>, RunError> {
        loop {
            for reading in self.readings.extract_if(.., |reading| reading.is_over()) {
                self.bytes_ended += reading.bytes();
            }
            let mut batch = match self.readings.as_mut_slice() {
                [] => match self.rest.next() {
                    Some(input) => {
                        self.readings.push(Reading::new(input));
                        self.expecting = false;
                        continue;
                    }
                    None => return Ok(None),
                },
                [only] if only.is_drained() && !self.expecting => {
                    let next = self.rest.as_slice().first();
                    let (batch, overlaps) = stretch(only, next, self.config, &mut self.seed)?;
                    self.expecting = overlaps;
                    batch
                }
                _ => merge::batch(
                    &mut self.readings,
                    &mut self.rest,
                    &mut self.expecting,
                    self.config,
                    &mut self.seed,
                )?,
            };
            if !batch.chunks.is_empty() {
                let under_way: u64 = self.readings.iter().map(Reading::bytes).sum();
                // How well a file is compressed is not known before its end.
                self.bytes_done = self.bytes_done.max(self.bytes_ended + under_way);
                batch.bytes_done = self.bytes_done;
                return Ok(Some(batch));
            }
            if self.inputs.is_stopped() {
                return Ok(None);
            }
        }
    }
}

/// Decodes on in the one file under way, up to where it overlaps the `next`, and tells whether it
/// came to that.
fn stretch<'input>(
    reading: &mut Reading<'input>,
    next: Option<&Input>,
    config: &Config,
    seed: &mut Option<ShardSeed>,
) -> Result<(DecodedBatch<'input>, bool), RunError> {
    let limit = next.map_or(Timestamp::from_ns(i64::MAX), Input::begins);
    let from = reading.state.offset();
    let mut stretch = stretch::decode(reading.input, &reading.state, config, seed)
        .map_err(|error| RunError::read(reading.input, from, &error))?;
    reading.held_at = stretch.held_at;
    let (kept, overlaps) = stretch.cut(reading.clock, limit);
    if let Some((clock, state)) = kept {
        (reading.clock, reading.state) = (clock, state);
    }
    Ok((stretch.batch, overlaps))
}
