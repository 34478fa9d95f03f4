//! One chunk of the capture: walked and decoded in one pass.

use crate::capture::{WalkState, WalkStats, Walker, Window};
use crate::config::DecodeConfig;
use crate::decode::{DecodeStats, Decoder, EncapsulationTable};
use crate::model::{RawFrame, Timestamp};
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
    /// Watermark of all its frames but the last.
    pub(super) watermark: Timestamp,
    /// Times of its first and last frame, unless it holds none.
    pub(super) edges: Option<(Timestamp, Timestamp)>,
}

/// Frames with the watermark at each. Whether the last one's own time counts is for the frame
/// behind it to say, which is not among them.
fn with_watermark<'a>(
    frames: impl Iterator<Item = RawFrame<'a>>,
) -> impl Iterator<Item = (RawFrame<'a>, Timestamp)> {
    let mut frames = frames.peekable();
    let mut watermark = Timestamp::NONE;
    std::iter::from_fn(move || {
        let frame = frames.next()?;
        if let Some(next) = frames.peek()
            && frame.ts.is_credible_before(next.ts)
        {
            watermark = watermark.max(frame.ts);
        }
        Some((frame, watermark))
    })
}

impl Chunk {
    /// Walks from `start` to the first record that begins at `stop_at` or later.
    pub(super) fn decode(
        window: &Window<'_>,
        start: WalkState,
        stop_at: u64,
        config: &DecodeConfig,
    ) -> Chunk {
        let mut buckets = Buckets::default();
        let mut decoder = Decoder::new(config.clone());
        let (mut first_ts, mut watermark) = (Timestamp::NONE, Timestamp::NONE);
        let mut edges = None;
        let mut walker = Walker::new(window, start.clone(), stop_at);
        let mut number = 0;
        for (frame, reached) in with_watermark(walker.by_ref()) {
            number += 1;
            first_ts = first_ts.earliest(frame.ts);
            watermark = reached;
            edges = Some((edges.map_or(frame.ts, |(first, _)| first), frame.ts));
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
            edges,
        }
    }

    /// The watermark at frame `frames` of the chunk, not its last, which is walked again for it.
    pub(super) fn watermark_after(
        &self,
        window: &Window<'_>,
        stop_at: u64,
        frames: u64,
    ) -> Timestamp {
        let frames = usize::try_from(frames).unwrap_or(usize::MAX);
        with_watermark(Walker::new(window, self.start.clone(), stop_at))
            .take(frames)
            .last()
            .map_or(Timestamp::NONE, |(_, watermark)| watermark)
    }
}
