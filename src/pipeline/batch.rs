//! A batch: chunks decoded in parallel from guessed boundaries, and joined in capture order.

use rayon::prelude::*;

use super::chunk::Chunk;
use crate::capture::{Input, WalkState, WalkStats, Walker, Window, find_boundary};
use crate::config::{Config, DecodeConfig, EPOCH_FRAMES, SHARDS};
use crate::decode::{DecodeStats, Decoder, EncapsulationTable, FragmentTable};
use crate::model::{Segment, Timestamp};
use crate::shard::shard_of;

/// A stretch of the capture, decoded but not yet joined to what came before.
pub(super) struct DecodedBatch<'input> {
    window: Window<'input>,
    chunks: Vec<(Chunk, u64)>,
    /// Time of the frame behind it, if there is one.
    next: Option<Timestamp>,
}

impl DecodedBatch<'_> {
    /// Where the next batch begins.
    pub(super) fn end(&self) -> Option<&WalkState> {
        self.chunks.last().map(|(chunk, _)| &chunk.end)
    }
}

/// Decodes the batch that begins at `start`.
///
/// Each task guesses where a record begins in its own stretch. The guesses are then verified from
/// left to right: a chunk stands only if the one before it ended in exactly the state that the
/// guess assumed, and is decoded again from there otherwise. So a wrong guess costs time, and
/// never an answer.
pub(super) fn decode<'input>(
    input: &'input Input,
    start: &WalkState,
    config: &Config,
) -> std::io::Result<DecodedBatch<'input>> {
    let mut wanted = config.batch.batch_bytes.max(1);
    loop {
        let batch = decode_stretch(input, start, wanted, config)?;
        let progressed = batch.end().is_some_and(|end| end != start);
        // One record may be longer than a window; a window of the whole rest always makes progress.
        if progressed || start.offset() + wanted >= input.len() {
            let next = match batch.end() {
                Some(end) => frame_after(input, end)?,
                None => None,
            };
            return Ok(DecodedBatch { next, ..batch });
        }
        wanted = wanted.saturating_mul(2).max(Walker::ENOUGH);
    }
}

/// Time of the first frame from `state` on.
fn frame_after(input: &Input, state: &WalkState) -> std::io::Result<Option<Timestamp>> {
    /// Bytes that hold the next record in all but rare cases.
    const MOSTLY: u64 = 64 << 10;
    let mut wanted = MOSTLY;
    loop {
        let window = input.window(state.offset(), wanted)?;
        let found = Walker::new(&window, state.clone(), u64::MAX).next();
        if found.is_some() || window.at_eof() {
            return Ok(found.map(|frame| frame.ts));
        }
        if wanted >= Walker::ENOUGH {
            return Ok(None);
        }
        wanted *= 8;
    }
}

fn decode_stretch<'input>(
    input: &'input Input,
    start: &WalkState,
    wanted: u64,
    config: &Config,
) -> std::io::Result<DecodedBatch<'input>> {
    let from = start.offset();
    let stop = from.saturating_add(wanted).min(input.len());
    let window = input.window(from, wanted)?;
    let stretches: Vec<(u64, u64)> = stretches(from, stop, config.batch.chunk_bytes.max(1));
    let guessed: Vec<Option<Chunk>> = stretches
        .par_iter()
        .map(|&(begin, end)| {
            let state = if begin == from {
                start.clone()
            } else {
                start.at(find_boundary(&window, start, begin, end)?)
            };
            Some(Chunk::decode(&window, state, end, &config.decode))
        })
        .collect();
    let mut chunks: Vec<(Chunk, u64)> = Vec::with_capacity(guessed.len());
    let mut state = start.clone();
    for (guess, &(_, stop_at)) in guessed.into_iter().zip(&stretches) {
        let chunk = match guess {
            Some(chunk) if chunk.start == state => chunk,
            _ => Chunk::decode(&window, state, stop_at, &config.decode),
        };
        state = chunk.end.clone();
        chunks.push((chunk, stop_at));
    }
    Ok(DecodedBatch {
        window,
        chunks,
        next: None,
    })
}

/// Cuts `from..stop` at the multiples of `size`, so that where chunks lie does not depend on where
/// their batch began.
fn stretches(from: u64, stop: u64, size: u64) -> Vec<(u64, u64)> {
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

/// The end of an epoch: after this frame, timeouts are looked for and rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EpochEnd {
    /// The last frame of the epoch.
    pub(super) frame: u64,
    /// The watermark after it.
    pub(super) watermark: Timestamp,
}

/// A chunk with its place in the capture.
#[derive(Debug)]
pub(super) struct JoinedChunk {
    /// Its segments.
    pub(super) chunk: Chunk,
    /// Frames before it.
    pub(super) first_frame: u64,
    /// The watermark before it.
    pub(super) watermark: Timestamp,
    /// The watermark at its last frame.
    pub(super) end_watermark: Timestamp,
    /// Index of its input file.
    pub(super) file_id: u16,
    /// Segments of datagrams that were completed in it, by shard and in frame order. Their frames
    /// and watermarks are those of the whole input.
    pub(super) defragmented: Vec<Vec<Segment>>,
    /// What the encapsulations of those refer to.
    pub(super) encapsulations: EncapsulationTable,
    /// Epochs that end in it.
    pub(super) epochs: Vec<EpochEnd>,
}

impl JoinedChunk {
    /// The watermark at a frame, numbered within the chunk, whose watermark in the chunk is `local`.
    pub(super) fn watermark_at(&self, frame: u64, local: Timestamp) -> Timestamp {
        if frame == self.chunk.walk.frames {
            self.end_watermark
        } else {
            self.watermark.max(local)
        }
    }
}

/// A batch in its place: ready for the shards.
pub(super) struct JoinedBatch<'input> {
    /// Holds what the input has to give while payload is written.
    pub(super) _window: Window<'input>,
    pub(super) chunks: Vec<JoinedChunk>,
    /// Capture bytes up to its end.
    pub(super) end: u64,
}

/// What runs along the capture from batch to batch.
#[derive(Debug)]
pub(super) struct Join {
    /// Frames so far.
    pub(super) frames: u64,
    /// Least time so far.
    pub(super) first_ts: Timestamp,
    /// Greatest time so far.
    pub(super) watermark: Timestamp,
    /// What the walks met.
    pub(super) walk: WalkStats,
    /// What became of frames.
    pub(super) decode: DecodeStats,
    /// Fragments that wait.
    pub(super) fragments: FragmentTable,
    /// How the datagrams that they become are decoded.
    config: DecodeConfig,
}

impl Join {
    pub(super) fn new(config: &Config) -> Join {
        let timeout = config.reassembly.timeouts.fragment;
        Join {
            frames: 0,
            first_ts: Timestamp::NONE,
            watermark: Timestamp::NONE,
            walk: WalkStats::default(),
            decode: DecodeStats::default(),
            fragments: FragmentTable::new(timeout, config.fragment_policy.clone()),
            config: config.decode.clone(),
        }
    }

    /// Gives the chunks of a batch their places, and completes datagrams.
    pub(super) fn join<'input>(
        &mut self,
        input: &Input,
        batch: DecodedBatch<'input>,
    ) -> JoinedBatch<'input> {
        let DecodedBatch {
            window,
            chunks,
            mut next,
        } = batch;
        let end = chunks.last().map_or(0, |(chunk, _)| chunk.end.offset());
        // For each chunk, the time of the frame behind it.
        let mut behind = Vec::with_capacity(chunks.len());
        for (chunk, _) in chunks.iter().rev() {
            behind.push(next);
            next = chunk.edges.map(|(first, _)| first).or(next);
        }
        let mut joined: Vec<JoinedChunk> = chunks
            .into_iter()
            .zip(behind.into_iter().rev())
            .map(|((chunk, stop_at), next)| self.place(&window, chunk, stop_at, next))
            .collect();
        let table = &self.fragments;
        let handed_in: Vec<bool> = joined
            .par_iter_mut()
            .map(|chunk| hand_in_fragments(table, chunk))
            .collect();
        // Where no fragment was handed in there is nothing to complete.
        let has_fragments = handed_in.contains(&true);
        for chunk in &mut joined {
            self.complete_datagrams(input, chunk, has_fragments);
        }
        JoinedBatch {
            _window: window,
            chunks: joined,
            end,
        }
    }

    /// The place of a chunk behind those before it.
    fn place(
        &mut self,
        window: &Window<'_>,
        chunk: Chunk,
        stop_at: u64,
        next: Option<Timestamp>,
    ) -> JoinedChunk {
        let (first_frame, watermark) = (self.frames, self.watermark);
        self.frames += chunk.walk.frames;
        self.first_ts = self.first_ts.earliest(chunk.first_ts);
        self.watermark = self.watermark.max(chunk.watermark);
        if let Some((_, last)) = chunk.edges
            && next.is_none_or(|next| last.is_credible_before(next))
        {
            self.watermark = self.watermark.max(last);
        }
        self.walk.merge(&chunk.walk);
        self.decode.merge(&chunk.decode);

        let mut epochs = Vec::new();
        let mut boundary = (first_frame / EPOCH_FRAMES + 1) * EPOCH_FRAMES;
        while boundary <= self.frames {
            let reached = if boundary == self.frames {
                self.watermark
            } else {
                watermark.max(chunk.watermark_after(window, stop_at, boundary - first_frame))
            };
            epochs.push(EpochEnd {
                frame: boundary,
                watermark: reached,
            });
            boundary += EPOCH_FRAMES;
        }
        JoinedChunk {
            chunk,
            first_frame,
            watermark,
            end_watermark: self.watermark,
            file_id: window.file(),
            defragmented: Vec::new(),
            encapsulations: EncapsulationTable::default(),
            epochs,
        }
    }

    /// Puts together the datagrams that a chunk's frames complete. Fragments of all chunks of the
    /// batch have been handed in.
    fn complete_datagrams(&mut self, input: &Input, joined: &mut JoinedChunk, has_fragments: bool) {
        let mut decoder = Decoder::new(self.config.clone());
        let mut completed = Vec::new();
        let last_frame = joined.first_frame + joined.chunk.walk.frames;
        for epoch in &joined.epochs {
            if has_fragments {
                completed.extend(self.fragments.complete(epoch.frame, input, &mut decoder));
            }
            self.fragments.sweep(epoch.watermark);
        }
        if has_fragments {
            completed.extend(self.fragments.complete(last_frame, input, &mut decoder));
        }
        let (encapsulations, decode) = decoder.finish();
        self.decode.merge(&decode);
        joined.encapsulations = encapsulations;
        if !completed.is_empty() {
            joined.defragmented = vec![Vec::new(); SHARDS];
        }
        let mut last = (0, 0);
        for mut segment in completed {
            segment.file_id = joined.file_id;
            let (frame, ordinal): (u64, u8) = last;
            if segment.frame == frame {
                segment.ordinal = ordinal.saturating_add(1);
            }
            last = (segment.frame, segment.ordinal);
            if let Some(bucket) = joined.defragmented.get_mut(shard_of(&segment.key)) {
                bucket.push(segment);
            }
        }
    }
}

/// Hands a chunk's fragments in, with the frame numbers and watermarks of the whole input. Tells
/// whether there were any.
fn hand_in_fragments(table: &FragmentTable, joined: &mut JoinedChunk) -> bool {
    let fragments = joined.chunk.buckets.take_fragments();
    let any = !fragments.is_empty();
    table.add(fragments.into_iter().map(|mut fragment| {
        fragment.watermark = joined.watermark_at(fragment.frame, fragment.watermark);
        fragment.frame += joined.first_frame;
        fragment
    }));
    any
}
