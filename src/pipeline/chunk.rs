//! One chunk of the capture: decoded as one task.

use std::sync::Arc;

use super::clock::{self, Judged, Jumps, Successor};
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
    /// Its first and last frame, unless it holds none or all times are settled.
    pub(super) edges: Option<(Successor, Judged)>,
    /// Its frames, where the configuration asks for them.
    kept: Vec<FrameRef>,
}

/// Completes the watermarks of chunks that follow each other in one file. `next` is the frame behind
/// the last of them, if there is one: it has a say in whether the time before it counts.
pub(super) fn settle(chunks: &mut [Chunk], mut next: Option<Successor>) {
    for chunk in chunks.iter_mut().rev() {
        if let Some((first, last)) = chunk.edges {
            if last.counts(next) {
                chunk.watermark = chunk.watermark.max(last.ts());
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
        /// When the file begins.
        floor: Timestamp,
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
    /// Its time moves the watermark.
    pub(super) counts: bool,
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
    /// Where the file's clock jumps.
    pub(super) jumps: Jumps,
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
            jumps: Jumps::NONE,
        }
    }

    /// Adds the next frame of the file, which is frame number `number` of the chunk.
    #[inline]
    pub(super) fn add(&mut self, number: u64, ts: Timestamp) {
        self.first_ts = self.first_ts.earliest(ts);
        self.last_ts = self.last_ts.max(ts);
        self.jumps.add(number, ts);
    }
}

impl Chunk {
    /// Walks from `start` to the first record that begins at `stop_at` or later, in `window`, which is
    /// to be the window number `index` of its batch. The file begins at `floor`. Gives the state behind it,
    /// too.
    pub(super) fn walk(
        window: &Window<'_>,
        index: usize,
        start: WalkState,
        stop_at: u64,
        floor: Timestamp,
        (config, seed): (&DecodeConfig, ShardSeed),
    ) -> (Chunk, WalkState) {
        let mut decoding = Decoding::new(config, seed);
        let mut part = Part::new(window.file());
        let mut walker = Walker::new(window, start.clone(), stop_at);
        let mut turn = walker.next();
        let mut edges: Option<(Successor, Judged)> = None;
        while let Some(frame) = turn {
            let next = walker.next();
            let judged = Judged::new(&frame, floor);
            if next.is_none() || edges.is_none() {
                let first = edges.map_or_else(|| Successor::of(&frame), |(first, _)| first);
                edges = Some((first, judged));
            }
            // What follows the last frame is not known here.
            let counts = next
                .as_ref()
                .is_some_and(|next| judged.counts(Some(Successor::of(next))));
            decoding.frame(&frame, counts);
            part.add(decoding.count, frame.ts);
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
            floor,
        };
        let chunk = Chunk {
            edges,
            ..decoding.finish(frames, vec![part])
        };
        (chunk, end)
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
            floor,
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
            *floor,
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
        for one in &picked {
            if let Some(frame) = one.frame(windows) {
                decoding.frame(&frame, one.counts);
            }
        }
        decoding.finish(Frames::Picked(picked), parts)
    }

    /// The watermark at frame number `frame` of the chunk, which is gone through again for it.
    pub(super) fn watermark_at(&self, windows: &Windows<'_>, frame: u64) -> Timestamp {
        if frame == self.count {
            return self.watermark;
        }
        let frames = usize::try_from(frame).unwrap_or(usize::MAX);
        match &self.frames {
            Frames::Walk {
                window,
                start,
                stop_at,
                floor,
                ..
            } => windows.get(*window).map_or(Timestamp::NONE, |window| {
                // That frame's successor has a say in it.
                let walker = Walker::new(window, start.clone(), *stop_at);
                let frames = walker.take(frames.saturating_add(1));
                clock::greatest_before_last(
                    frames.map(|frame| (Judged::new(&frame, *floor), Successor::of(&frame))),
                )
            }),
            Frames::Picked(all) => {
                let counting = all.iter().take(frames).filter(|picked| picked.counts);
                let times = counting.map(|picked| picked.frame.ts);
                times.max().unwrap_or(Timestamp::NONE)
            }
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
    /// A frame without its bytes, which lie in the window number `window`; its time counts or not.
    pub(super) fn new(frame: &RawFrame<'_>, window: usize, counts: bool) -> Picked {
        Picked {
            window,
            frame: frame.by_reference(),
            counts,
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

/// A chunk under way.
struct Decoding {
    decoder: Decoder,
    buckets: Buckets,
    count: u64,
    watermark: Timestamp,
    kept: Option<Vec<FrameRef>>,
}

impl Decoding {
    fn new(config: &DecodeConfig, seed: ShardSeed) -> Decoding {
        Decoding {
            decoder: Decoder::new(config.clone()),
            buckets: Buckets::new(seed),
            count: 0,
            watermark: Timestamp::NONE,
            kept: config.keep_frames.then(Vec::new),
        }
    }

    /// Decodes a frame, whose time counts or not.
    #[inline]
    fn frame(&mut self, frame: &RawFrame<'_>, counts: bool) {
        self.count += 1;
        if counts {
            self.watermark = self.watermark.max(frame.ts);
        }
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
            edges: None,
            kept: self.kept.unwrap_or_default(),
        }
    }
}
