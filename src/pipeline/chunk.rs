//! One chunk of the capture: decoded as one task.

use std::sync::Arc;

use crate::capture::{WalkState, WalkStats, Walker, Window};
use crate::config::DecodeConfig;
use crate::decode::{DecodeStats, Decoder, EncapsulationTable};
use crate::model::{FrameRef, RawFrame, Timestamp};
use crate::shard::{Buckets, ShardSeed};

/// The windows of a batch. Shared, since a walk may go on in one after the batch that began there.
pub(super) type Windows<'input> = Vec<Arc<Window<'input>>>;

/// A decoded chunk. Frame numbers count from 1 in the chunk, and watermarks know nothing of what
/// came before it, until the join gives both their base.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Which frames it has.
    pub(super) frames: Frames,
    /// How many.
    pub(super) count: u64,
    /// What each file has in it, each file once.
    pub(super) parts: Vec<Part>,
    /// What became of its frames.
    pub(super) decode: DecodeStats,
    /// What its segments' encapsulations refer to.
    pub(super) encapsulations: EncapsulationTable,
    /// Its segments and fragments.
    pub(super) buckets: Buckets,
    /// The watermark behind it, once [`settle`] knows what follows it.
    pub(super) watermark: Timestamp,
    /// Times of its first and last frame, unless it holds none.
    pub(super) edges: Option<(Timestamp, Timestamp)>,
    /// Its frames, where the configuration asks for them.
    kept: Vec<FrameRef>,
}

/// Completes the watermarks of chunks that follow each other. `next` is the time of the frame behind
/// the last of them, if there is one: it has a say in whether the time before it counts.
pub(super) fn settle(chunks: &mut [Chunk], mut next: Option<Timestamp>) {
    for chunk in chunks.iter_mut().rev() {
        if let Some((first, last)) = chunk.edges {
            if next.is_none_or(|next| last.is_credible_before(next)) {
                chunk.watermark = chunk.watermark.max(last);
            }
            next = Some(first);
        }
    }
}

/// Which frames a chunk has. Windows are those of its batch, by index.
#[derive(Debug)]
pub(super) enum Frames {
    /// The records of one file that a walk from `start` meets before `stop_at`: walked and decoded in
    /// one pass.
    Walk {
        /// The file.
        file: u16,
        /// Where the bytes are.
        window: usize,
        /// Where the walk begins.
        start: WalkState,
        /// Records that begin here or later are not in it.
        stop_at: u64,
    },
    /// Frames of several files, in the order of the merged capture.
    Picked(Vec<Picked>),
}

/// A frame that a walk has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picked {
    /// The window that its bytes are in.
    pub(super) window: usize,
    /// The frame.
    pub(super) frame: FrameRef,
}

/// What one file has in a chunk.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The file.
    pub(super) file: u16,
    /// What its walk met.
    pub(super) walk: WalkStats,
    /// For each damaged region described there, the number of the file's next frame, where that is
    /// in the chunk.
    pub(super) next_frames: Vec<Option<u64>>,
    /// The number of its first frame.
    pub(super) first_frame: Option<u64>,
    /// Least time of a frame.
    pub(super) first_ts: Timestamp,
    /// Greatest time of a frame.
    pub(super) last_ts: Timestamp,
}

impl Part {
    /// Nothing of `file` yet.
    pub(super) fn new(file: u16) -> Part {
        Part {
            file,
            walk: WalkStats::default(),
            next_frames: Vec::new(),
            first_frame: None,
            first_ts: Timestamp::NONE,
            last_ts: Timestamp::NONE,
        }
    }
}

impl Chunk {
    /// Walks from `start` to the first record that begins at `stop_at` or later, in `window`, which is
    /// to be the window number `index` of its batch. Gives the state behind it, too.
    pub(super) fn walk(
        window: &Window<'_>,
        index: usize,
        start: WalkState,
        stop_at: u64,
        (config, seed): (&DecodeConfig, ShardSeed),
    ) -> (Chunk, WalkState) {
        let mut decoding = Decoding::new(config, seed);
        let mut part = Part::new(window.file());
        let mut walker = Walker::new(window, start.clone(), stop_at);
        let mut turn = walker.next();
        while let Some(frame) = turn {
            let next = walker.next();
            part.first_ts = part.first_ts.earliest(frame.ts);
            part.last_ts = part.last_ts.max(frame.ts);
            decoding.frame(&frame, next.as_ref().map(|next| next.ts));
            turn = next;
        }
        let (end, walk) = walker.finish();
        part.first_frame = (walk.frames > 0).then_some(1);
        part.next_frames = walk
            .damage
            .iter()
            .map(|damage| (damage.frame_before < walk.frames).then_some(damage.frame_before + 1))
            .collect();
        part.walk = walk;
        let frames = Frames::Walk {
            file: window.file(),
            window: index,
            start,
            stop_at,
        };
        (decoding.finish(frames, vec![part]), end)
    }

    /// The same without its last frame, and the state behind it; `None` if nothing is left, or it is no
    /// walk.
    pub(super) fn without_last(
        &self,
        windows: &Windows<'_>,
        config: &DecodeConfig,
    ) -> Option<(Chunk, WalkState)> {
        let Frames::Walk {
            window,
            start,
            stop_at,
            ..
        } = &self.frames
        else {
            return None;
        };
        let frames = usize::try_from(self.count.checked_sub(1)?).ok()?;
        let here = windows.get(*window)?;
        let mut walker = Walker::new(here, start.clone(), *stop_at);
        walker.by_ref().take(frames).last()?;
        let (end, _) = walker.finish();
        Some(Chunk::walk(
            here,
            *window,
            start.clone(),
            end.offset(),
            (config, *self.buckets.seed()),
        ))
    }

    /// Decodes frames that a merge has put in order. `parts` tells of their files.
    pub(super) fn picked(
        windows: &Windows<'_>,
        picked: Vec<Picked>,
        parts: Vec<Part>,
        (config, seed): (&DecodeConfig, ShardSeed),
    ) -> Chunk {
        let mut decoding = Decoding::new(config, seed);
        let mut frames = picked
            .iter()
            .filter_map(|one| one.frame(windows))
            .peekable();
        while let Some(frame) = frames.next() {
            decoding.frame(&frame, frames.peek().map(|next| next.ts));
        }
        decoding.finish(Frames::Picked(picked), parts)
    }

    /// The watermark at frame number `frame` of the chunk, which is gone through again for it.
    pub(super) fn watermark_at(&self, windows: &Windows<'_>, frame: u64) -> Timestamp {
        if frame == self.count {
            return self.watermark;
        }
        // That frame's successor has a say in it.
        let times = usize::try_from(frame)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        match &self.frames {
            Frames::Walk {
                window,
                start,
                stop_at,
                ..
            } => windows.get(*window).map_or(Timestamp::NONE, |window| {
                let walker = Walker::new(window, start.clone(), *stop_at);
                credible(walker.take(times).map(|frame| frame.ts))
            }),
            Frames::Picked(all) => credible(all.iter().take(times).map(|picked| picked.frame.ts)),
        }
    }

    /// The chunk's frame number `frame`, from 1, as a slice; empty where frames are not kept.
    pub(super) fn kept(&self, frame: u64) -> &[FrameRef] {
        usize::try_from(frame)
            .ok()
            .and_then(|frame| self.kept.get(frame.checked_sub(1)?..frame))
            .unwrap_or_default()
    }

    /// The file of the chunk's frame number `frame`, from 1.
    pub(super) fn file_of(&self, frame: u64) -> u16 {
        match &self.frames {
            Frames::Walk { file, .. } => *file,
            Frames::Picked(all) => usize::try_from(frame)
                .ok()
                .and_then(|frame| all.get(frame.checked_sub(1)?))
                .map_or(0, |picked| picked.frame.at.file()),
        }
    }
}

impl Picked {
    /// A frame without its bytes, which lie in the window number `window`.
    pub(super) fn new(frame: &RawFrame<'_>, window: usize) -> Picked {
        Picked {
            window,
            frame: frame.by_reference(),
        }
    }

    /// The frame with its bytes.
    pub(super) fn frame<'w>(&self, windows: &'w Windows<'_>) -> Option<RawFrame<'w>> {
        let frame = self.frame;
        Some(RawFrame {
            ts: frame.ts,
            unit: frame.unit,
            link: frame.link,
            data: windows.get(self.window)?.bytes_at(frame.at, frame.len)?,
            at: frame.at,
            original_len: frame.original_len,
            fcs_len: frame.fcs_len,
        })
    }
}

/// The greatest of those times that the one behind them does not belie; the last has none.
fn credible(times: impl Iterator<Item = Timestamp>) -> Timestamp {
    let mut times = times.peekable();
    let mut greatest = Timestamp::NONE;
    while let Some(time) = times.next() {
        if times
            .peek()
            .is_some_and(|&next| time.is_credible_before(next))
        {
            greatest = greatest.max(time);
        }
    }
    greatest
}

/// A chunk under way.
struct Decoding {
    decoder: Decoder,
    buckets: Buckets,
    count: u64,
    watermark: Timestamp,
    edges: Option<(Timestamp, Timestamp)>,
    kept: Option<Vec<FrameRef>>,
}

impl Decoding {
    fn new(config: &DecodeConfig, seed: ShardSeed) -> Decoding {
        Decoding {
            decoder: Decoder::new(config.clone()),
            buckets: Buckets::new(seed),
            count: 0,
            watermark: Timestamp::NONE,
            edges: None,
            kept: config.keep_frames.then(Vec::new),
        }
    }

    /// Decodes a frame; `next` is the time of the one behind it, if that is in the chunk.
    #[inline]
    fn frame(&mut self, frame: &RawFrame<'_>, next: Option<Timestamp>) {
        self.count += 1;
        if next.is_some_and(|next| frame.ts.is_credible_before(next)) {
            self.watermark = self.watermark.max(frame.ts);
        }
        let first = self.edges.map_or(frame.ts, |(first, _)| first);
        self.edges = Some((first, frame.ts));
        if let Some(kept) = &mut self.kept {
            kept.push(frame.by_reference());
        }
        self.decoder
            .frame(frame, self.count, self.watermark, &mut self.buckets);
    }

    fn finish(self, frames: Frames, parts: Vec<Part>) -> Chunk {
        let (encapsulations, decode) = self.decoder.finish();
        Chunk {
            frames,
            count: self.count,
            parts,
            decode,
            encapsulations,
            buckets: self.buckets,
            watermark: self.watermark,
            edges: self.edges,
            kept: self.kept.unwrap_or_default(),
        }
    }
}
