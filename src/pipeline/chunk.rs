//! One chunk of the capture: walked and decoded in one pass.

use crate::capture::{WalkState, WalkStats, Walker, Window};
use crate::decode::{DecodeOptions, DecodeStats, Decoder, EncapsulationTable};
use crate::model::Timestamp;
use crate::shard::Buckets;

/// A decoded chunk. Frame numbers count from 1 in the chunk, and watermarks know nothing of what
/// came before it, until the join gives both their base.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where its walk began.
    pub(super) start: WalkState,
    /// Where the next one goes on.
    pub(super) end: WalkState,
    /// What the walk met.
    pub(super) walk: WalkStats,
    /// What became of its frames.
    pub(super) decode: DecodeStats,
    /// What its segments' encapsulations refer to.
    pub(super) encapsulations: EncapsulationTable,
    /// Its segments and fragments.
    pub(super) buckets: Buckets,
    /// Least time in it.
    pub(super) first_ts: Timestamp,
    /// Greatest time in it.
    pub(super) watermark: Timestamp,
}

impl Chunk {
    /// Walks from `start` to the first record that begins at `stop_at` or later.
    pub(super) fn decode(
        window: &Window<'_>,
        start: WalkState,
        stop_at: u64,
        options: &DecodeOptions,
    ) -> Chunk {
        let mut buckets = Buckets::default();
        let mut decoder = Decoder::new(options.clone());
        let (mut first_ts, mut watermark) = (Timestamp::NONE, Timestamp::NONE);
        let mut walker = Walker::new(window, start.clone(), stop_at);
        let mut number = 0;
        for frame in walker.by_ref() {
            number += 1;
            first_ts = first_ts.earliest(frame.ts);
            watermark = watermark.max(frame.ts);
            decoder.frame(&frame, number, watermark, &mut buckets);
        }
        let (end, walk) = walker.finish();
        let (encapsulations, decode) = decoder.finish();
        Chunk {
            start,
            end,
            walk,
            decode,
            encapsulations,
            buckets,
            first_ts,
            watermark,
        }
    }

    /// The watermark after `frames` frames of the chunk, which is walked again for it.
    pub(super) fn watermark_after(
        &self,
        window: &Window<'_>,
        stop_at: u64,
        frames: u64,
    ) -> Timestamp {
        let frames = usize::try_from(frames).unwrap_or(usize::MAX);
        Walker::new(window, self.start.clone(), stop_at)
            .take(frames)
            .fold(Timestamp::NONE, |watermark, frame| watermark.max(frame.ts))
    }
}
