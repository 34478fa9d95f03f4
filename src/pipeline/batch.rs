//! A batch: chunks decoded in parallel, and joined in capture order.

use std::borrow::Cow;

use rayon::prelude::*;

use super::chunk::{Chunk, Windows};
use super::tally::FileTally;
use crate::capture::Inputs;
use crate::config::{Config, DecodeConfig, EPOCH_FRAMES, SHARDS};
use crate::decode::{DecodeStats, Decoder, EncapsulationTable, FragmentTable, Pieced};
use crate::model::{InputPos, PayloadSource, Timestamp};

/// A part of the capture, decoded but not yet joined to what came before.
#[derive(Default)]
pub(super) struct DecodedBatch<'input> {
    /// Where its frames lie.
    pub(super) windows: Windows<'input>,
    pub(super) chunks: Vec<Chunk>,
    /// Bytes of all files up to its end.
    pub(super) bytes_done: u64,
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
    /// Segments of datagrams that were completed in it, by shard and in frame order. Their frames
    /// and watermarks are those of the whole input.
    pub(super) defragmented: Vec<Vec<Pieced>>,
    /// What the encapsulations of those refer to.
    pub(super) encapsulations: EncapsulationTable,
    /// Epochs that end in it.
    pub(super) epochs: Vec<EpochEnd>,
}

impl JoinedChunk {
    /// The watermark at a frame, numbered within the chunk, for which the chunk alone says `local`.
    pub(super) fn watermark_at(&self, frame: u64, local: Timestamp) -> Timestamp {
        let local = if frame == self.chunk.count {
            self.chunk.watermark
        } else {
            local
        };
        self.watermark.max(local)
    }
}

/// A batch in its place: ready for the shards.
pub(super) struct JoinedBatch<'input> {
    inputs: &'input Inputs,
    windows: Windows<'input>,
    pub(super) chunks: Vec<JoinedChunk>,
    /// Bytes of all files up to its end.
    pub(super) bytes_done: u64,
}

/// Nearly all payload lies in the batch itself, where it need not be read again; what came before is
/// asked of the input.
impl PayloadSource for JoinedBatch<'_> {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        let here = match self.windows.as_slice() {
            [only] => only.bytes_at(at, len),
            _ => None,
        };
        here.map_or_else(|| self.inputs.read(at, len), Cow::Borrowed)
    }
}

/// What runs along the capture from batch to batch.
#[derive(Debug)]
pub(super) struct Join {
    /// Frames so far.
    pub(super) frames: u64,
    /// Greatest time so far.
    pub(super) watermark: Timestamp,
    /// What each file has come to.
    pub(super) files: Vec<FileTally>,
    /// What became of frames.
    pub(super) decode: DecodeStats,
    /// Fragments that wait.
    pub(super) fragments: FragmentTable,
    /// How the datagrams that they become are decoded.
    config: DecodeConfig,
}

impl Join {
    pub(super) fn new(inputs: &Inputs, config: &Config) -> Join {
        let timeout = config.reassembly.timeouts.fragment;
        Join {
            frames: 0,
            watermark: Timestamp::NONE,
            files: vec![FileTally::default(); inputs.list().len()],
            decode: DecodeStats::default(),
            fragments: FragmentTable::new(timeout, config.fragment_policy.clone()),
            config: config.decode.clone(),
        }
    }

    /// Gives the chunks of a batch their places, and completes datagrams.
    pub(super) fn join<'input>(
        &mut self,
        inputs: &'input Inputs,
        batch: DecodedBatch<'input>,
    ) -> JoinedBatch<'input> {
        let DecodedBatch {
            windows,
            chunks,
            bytes_done,
        } = batch;
        let mut joined: Vec<JoinedChunk> = chunks
            .into_iter()
            .map(|chunk| self.place(&windows, chunk))
            .collect();
        let table = &self.fragments;
        let handed_in: Vec<bool> = joined
            .par_iter_mut()
            .map(|chunk| hand_in_fragments(table, chunk))
            .collect();
        // Where no fragment was handed in there is nothing to complete.
        let has_fragments = handed_in.contains(&true);
        for chunk in &mut joined {
            self.complete_datagrams(inputs, chunk, has_fragments);
        }
        JoinedBatch {
            inputs,
            windows,
            chunks: joined,
            bytes_done,
        }
    }

    /// The place of a chunk behind those before it.
    fn place(&mut self, windows: &Windows<'_>, chunk: Chunk) -> JoinedChunk {
        let (first_frame, watermark) = (self.frames, self.watermark);
        self.frames += chunk.count;
        self.watermark = self.watermark.max(chunk.watermark);
        self.decode.merge(&chunk.decode);
        for part in &chunk.parts {
            if let Some(file) = self.files.get_mut(usize::from(part.file)) {
                file.add(part, first_frame);
            }
        }

        let mut epochs = Vec::new();
        let mut boundary = (first_frame / EPOCH_FRAMES + 1) * EPOCH_FRAMES;
        while boundary <= self.frames {
            let within = chunk.watermark_at(windows, boundary - first_frame);
            epochs.push(EpochEnd {
                frame: boundary,
                watermark: watermark.max(within),
            });
            boundary += EPOCH_FRAMES;
        }
        JoinedChunk {
            chunk,
            first_frame,
            watermark,
            defragmented: Vec::new(),
            encapsulations: EncapsulationTable::default(),
            epochs,
        }
    }

    /// Puts together the datagrams that a chunk's frames complete. Fragments of all chunks of the
    /// batch have been handed in.
    fn complete_datagrams(
        &mut self,
        inputs: &Inputs,
        joined: &mut JoinedChunk,
        has_fragments: bool,
    ) {
        let mut decoder = Decoder::new(self.config.clone());
        let mut completed = Vec::new();
        let last_frame = joined.first_frame + joined.chunk.count;
        for epoch in &joined.epochs {
            if has_fragments {
                completed.extend(self.fragments.complete(epoch.frame, inputs, &mut decoder));
            }
            self.fragments.sweep(epoch.watermark);
        }
        if has_fragments {
            completed.extend(self.fragments.complete(last_frame, inputs, &mut decoder));
        }
        let (encapsulations, decode) = decoder.finish();
        self.decode.merge(&decode);
        joined.encapsulations = encapsulations;
        if !completed.is_empty() {
            joined.defragmented = vec![Vec::new(); SHARDS];
        }
        let seed = *joined.chunk.buckets.seed();
        let mut last = (0, 0);
        for mut pieced in completed {
            let segment = &mut pieced.segment;
            segment.file_id = joined.chunk.file_of(segment.frame - joined.first_frame);
            let (frame, ordinal): (u64, u32) = last;
            if segment.frame == frame {
                segment.ordinal = ordinal.saturating_add(1);
            }
            last = (segment.frame, segment.ordinal);
            if let Some(bucket) = joined.defragmented.get_mut(seed.shard_of(&segment.key)) {
                bucket.push(pieced);
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
