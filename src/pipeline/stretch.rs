//! A stretch of one file: chunks walked and decoded in parallel from guessed boundaries.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::batch::DecodedBatch;
use super::chunk::{self, Chunk};
use super::clock::{Judged, Successor};
use crate::capture::{Input, WalkState, Walker, Window, find_boundary};
use crate::config::Config;
use crate::model::Timestamp;
use crate::shard::ShardSeed;

/// What is read beyond what was asked for, so that the record across the end is likely in it: bytes.
const MARGIN: u64 = 256 << 10;

/// A stretch of one file, decoded.
#[derive(Default)]
pub(super) struct Stretch<'input> {
    pub(super) batch: DecodedBatch<'input>,
    /// The state behind each chunk.
    pub(super) ends: Vec<WalkState>,
    /// Where what had arrived of a stream ended, if its last frame was held back.
    pub(super) held_at: Option<u64>,
}

impl Stretch<'_> {
    /// Leaves the last frame to the next stretch, by when it will be known what follows it.
    fn hold_last_frame_back(&mut self, config: &Config) {
        while let Some(chunk) = self.batch.chunks.pop() {
            self.ends.pop();
            let Some((_, last)) = chunk.edges else {
                continue;
            };
            if let Some((shorter, end)) = chunk.without_last(&self.batch.windows, &config.decode) {
                self.batch.chunks.push(shorter);
                self.ends.push(end);
            }
            chunk::settle(&mut self.batch.chunks, Some(last.successor()));
            return;
        }
    }

    /// Drops the chunks from the first on in which the clock of the file, which stood at `clock`
    /// before, passes `limit`. Gives the clock and the state behind what is left, if anything is, and
    /// whether something was dropped.
    pub(super) fn cut(
        &mut self,
        mut clock: Timestamp,
        limit: Timestamp,
    ) -> (Option<(Timestamp, WalkState)>, bool) {
        let mut kept = 0;
        for chunk in &self.batch.chunks {
            let after = clock.max(chunk.watermark);
            if after > limit {
                break;
            }
            clock = after;
            kept += 1;
        }
        let dropped = kept < self.batch.chunks.len();
        self.batch.chunks.truncate(kept);
        self.ends.truncate(kept);
        (self.ends.last().map(|end| (clock, end.clone())), dropped)
    }
}

/// Decodes the stretch that begins at `start`.
///
/// Each task guesses where a record begins in its own part. The guesses are then verified from left
/// to right: a chunk stands only if the one before it ended in exactly the state that the guess
/// assumed, and is decoded again from there otherwise. So a wrong guess costs time, and never an
/// answer.
///
/// `seed` is that of the capture, if a frame of it has been seen; the first one sets it.
///
/// Of a stream it takes what has arrived, and nothing where the run was stopped.
pub(super) fn decode<'input>(
    input: &'input Input,
    start: &WalkState,
    config: &Config,
    seed: &mut Option<ShardSeed>,
) -> io::Result<Stretch<'input>> {
    let (mut least, mut wanted) = (1, config.batch.batch_bytes.max(1));
    loop {
        let window = input.window(start.offset(), least, wanted.saturating_add(MARGIN))?;
        let (have, at_eof) = (window.data().len() as u64, window.at_eof());
        // The first frame of all, which is needed before any is decoded. A window without one has
        // nothing to decode.
        if seed.is_none() {
            let first = Walker::new(&window, start.clone(), u64::MAX).next();
            *seed = first.map(|frame| ShardSeed::of(&frame));
        }
        let known = seed.unwrap_or_default();
        let mut stretch = decode_window(window, start, wanted, input.floor(), (config, known));
        let progressed = stretch.ends.last().is_some_and(|end| end != start);
        // One record may be longer than a window; a window of the whole rest always makes progress.
        if progressed || at_eof && have <= wanted {
            // Where there is no frame, there is nothing that the next one has a say in.
            let mut backwards = stretch.batch.chunks.iter().rev();
            let last = backwards.find_map(|chunk| chunk.edges);
            let next = match (stretch.ends.last(), last) {
                (Some(end), Some((_, last))) => frame_after(input, end, &last, Patience::None)?,
                _ => Next::End,
            };
            match next {
                Next::Frame(next) => chunk::settle(&mut stretch.batch.chunks, Some(next)),
                Next::End => chunk::settle(&mut stretch.batch.chunks, None),
                Next::NotArrived => {
                    stretch.hold_last_frame_back(config);
                    stretch.held_at = Some(start.offset() + have);
                    if stretch.ends.last().is_none_or(|end| end == start) {
                        least = have + 1;
                        continue;
                    }
                }
            }
            return Ok(stretch);
        }
        if have < least && input.is_stopped() {
            return Ok(Stretch::default());
        }
        if have >= wanted {
            wanted = wanted.saturating_mul(2).max(Walker::ENOUGH);
        }
        least = have + 1;
    }
}

/// What follows a frame in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// This frame.
    Frame(Successor),
    /// Nothing that has a say in its time, or the run was stopped before anything came.
    End,
    /// What follows in a stream has not arrived.
    NotArrived,
}

impl Next {
    /// The frame, if there is one.
    pub(super) const fn frame(self) -> Option<Successor> {
        match self {
            Next::Frame(next) => Some(next),
            Next::End | Next::NotArrived => None,
        }
    }
}

/// Whether to wait for what has not arrived of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    /// Wait until it comes.
    Endless,
    /// Do not wait.
    None,
}

/// The first frame from `state` on, as far as it has a say in the time of `last`, the one before. However
/// long damage or blocks without packets may be, it looks no further than that, and what it has passed
/// over is not looked at again.
pub(super) fn frame_after(
    input: &Input,
    state: &WalkState,
    last: &Judged,
    patience: Patience,
) -> io::Result<Next> {
    /// Bytes that hold the next record in all but rare cases.
    const MOSTLY: u64 = 64 << 10;
    let mut state = state.clone();
    let (mut least, mut wanted) = (0, MOSTLY);
    while state.offset() <= last.horizon() {
        let window = input.window(state.offset(), least, wanted)?;
        let have = window.data().len() as u64;
        let mut walker = Walker::new(&window, state.clone(), u64::MAX);
        if let Some(frame) = walker.next() {
            return Ok(Next::Frame(Successor::of(&frame)));
        }
        if window.at_eof() || have < wanted && input.is_stopped() {
            return Ok(Next::End);
        }
        let (after, _) = walker.finish();
        if after != state {
            (state, least) = (after, 0);
        } else if have >= wanted {
            wanted = wanted.saturating_mul(8);
        } else if patience == Patience::None {
            return Ok(Next::NotArrived);
        } else {
            least = have + 1;
        }
    }
    Ok(Next::End)
}

/// Decodes what begins in the first `wanted` bytes of a window.
fn decode_window<'input>(
    window: Window<'input>,
    start: &WalkState,
    wanted: u64,
    floor: Timestamp,
    (config, seed): (&Config, ShardSeed),
) -> Stretch<'input> {
    let how = (&config.decode, seed);
    let from = start.offset();
    let end = from + window.data().len() as u64;
    let stop = from.saturating_add(wanted).min(end);
    let pieces: Vec<(u64, u64)> = pieces(from, stop, config.batch.chunk_bytes.max(1));
    let guessed: Vec<Option<(WalkState, (Chunk, WalkState))>> = pieces
        .par_iter()
        .map(|&(begin, end)| {
            let state = if begin == from {
                start.clone()
            } else {
                start.at(find_boundary(&window, start, begin, end)?)
            };
            Some((
                state.clone(),
                Chunk::walk(&window, 0, state, end, floor, how),
            ))
        })
        .collect();
    let mut chunks = Vec::with_capacity(guessed.len());
    let mut ends: Vec<WalkState> = Vec::with_capacity(guessed.len());
    for (guess, &(_, stop_at)) in guessed.into_iter().zip(&pieces) {
        let state = ends.last().unwrap_or(start);
        let (chunk, end) = match guess {
            Some((begin, decoded)) if begin == *state => decoded,
            _ => Chunk::walk(&window, 0, state.clone(), stop_at, floor, how),
        };
        chunks.push(chunk);
        ends.push(end);
    }
    let windows = vec![Arc::new(window)];
    let batch = DecodedBatch {
        windows,
        chunks,
        bytes_done: 0,
    };
    Stretch {
        batch,
        ends,
        held_at: None,
    }
}

/// Cuts `from..stop` at the multiples of `size`, so that where chunks lie does not depend on where
/// their batch began.
fn pieces(from: u64, stop: u64, size: u64) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    let mut at = from;
    while at < stop || all.is_empty() {
        let end = (at / size + 1).saturating_mul(size).min(stop).max(at);
        all.push((at, end));
        if end == at {
            break;
        }
        at = end;
    }
    all
}
