//! A batch: chunks decoded in parallel, and joined in capture order.

use std::borrow::Cow;
use std::collections::VecDeque;

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

/// Bytes that datagrams of one part of a batch may have, those included to which compressed packets grow:
/// as many as a batch has of the capture. The rest of the batch waits until the shards have taken these, so
/// that memory does not grow with what packets grow to. A frame is never divided. Where a part ends does not
/// change the output.
const OWNED_BYTES: usize = 64 << 20;

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
    /// How many of those the fragments have been swept for.
    swept: usize,
    /// The shards have had its frames up to here.
    pub(super) after: u64,
    /// They may have its frames up to here now.
    pub(super) through: u64,
}

impl JoinedChunk {
    /// The number of its last frame.
    fn last_frame(&self) -> u64 {
        self.first_frame + self.chunk.count
    }

    /// A part of it waits for the next turn.
    pub(super) fn goes_on(&self) -> bool {
        self.through < self.last_frame()
    }

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

/// A batch in its place: ready for the shards, part by part.
pub(super) struct JoinedBatch<'input> {
    inputs: &'input Inputs,
    windows: Windows<'input>,
    /// Those that the shards may have now.
    pub(super) chunks: Vec<JoinedChunk>,
    /// Those whose datagrams have not been put together.
    waiting: VecDeque<JoinedChunk>,
    /// Some datagram may be completed in it.
    has_fragments: bool,
    /// Bytes of all files up to its end.
    pub(super) bytes_done: u64,
}

impl JoinedBatch<'_> {
    /// Whether something is left for [`Join::go_on`].
    pub(super) fn goes_on(&self) -> bool {
        !self.waiting.is_empty() || self.chunks.last().is_some_and(JoinedChunk::goes_on)
    }
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
        let mut batch = JoinedBatch {
            inputs,
            windows,
            chunks: Vec::new(),
            waiting: joined.into(),
            // Where no fragment was handed in there is nothing to complete.
            has_fragments: handed_in.contains(&true),
            bytes_done,
        };
        self.go_on(&mut batch);
        batch
    }

    /// Makes the next part of a batch ready; the shards are done with what was ready before.
    pub(super) fn go_on(&mut self, batch: &mut JoinedBatch<'_>) {
        let halfway = batch.chunks.pop().filter(JoinedChunk::goes_on);
        batch.chunks.clear();
        if let Some(mut chunk) = halfway {
            chunk.after = chunk.through;
            batch.waiting.push_front(chunk);
        }
        let mut room = OWNED_BYTES;
        while room > 0
            && let Some(mut chunk) = batch.waiting.pop_front()
        {
            self.complete_datagrams(batch.inputs, &mut chunk, batch.has_fragments, &mut room);
            batch.chunks.push(chunk);
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
            swept: 0,
            after: first_frame,
            through: first_frame,
        }
    }

    /// Puts together the datagrams that a chunk's frames complete, or as many as there is `room` for.
    /// Fragments of all chunks of the batch have been handed in.
    fn complete_datagrams(
        &mut self,
        inputs: &Inputs,
        joined: &mut JoinedChunk,
        has_fragments: bool,
        room: &mut usize,
    ) {
        let mut decoder = Decoder::new(self.config.clone());
        let mut completed = Vec::new();
        loop {
            let epoch = joined.epochs.get(joined.swept);
            joined.through = epoch.map_or(joined.last_frame(), |epoch| epoch.frame);
            if has_fragments {
                let (datagrams, stopped) =
                    self.fragments
                        .complete_within(*room, joined.through, inputs, &mut decoder);
                completed.extend(datagrams);
                if let Some(frame) = stopped {
                    joined.through = frame;
                    break;
                }
            }
            let Some(epoch) = epoch else { break };
            self.fragments.sweep(epoch.watermark);
            joined.swept += 1;
        }
        *room = room.saturating_sub(decoder.owned());
        let (encapsulations, decode) = decoder.finish();
        self.decode.merge(&decode);
        joined.encapsulations = encapsulations;
        joined.defragmented = if completed.is_empty() {
            Vec::new()
        } else {
            vec![Vec::new(); SHARDS]
        };
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
