//! Files that overlap in time: their frames are put in order one by one, and decoded in parallel
//! after that.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::slice;
use std::sync::Arc;

use rayon::prelude::*;

use super::batch::DecodedBatch;
use super::chunk::{Chunk, Part, Picked, Windows};
use super::clock::{Judged, Successor};
use super::run::RunError;
use super::stretch::{self, Patience};
use crate::capture::{Damage, Input, WalkState, WalkStats, Walker, Window};
use crate::config::{Config, DecodeConfig};
use crate::model::{RawFrame, Timestamp};
use crate::shard::ShardSeed;

/// How far one file is walked at a time, bytes. Each of the overlapping files holds as much.
const RUN: u64 = 64 << 10;
/// What is read beyond that, so that the record across its end is likely in it: bytes.
const MARGIN: u64 = 16 << 10;

/// A file under way.
pub(super) struct Reading<'input> {
    pub(super) input: &'input Input,
    /// Where its walk stands.
    pub(super) state: WalkState,
    /// The greatest time of it so far, and no less than the time at which it begins.
    pub(super) clock: Timestamp,
    /// Where what had arrived ended, if the last frame of it was held back.
    pub(super) held_at: Option<u64>,
    /// It has been walked to its end.
    ended: bool,
    /// Where the frames that wait lie.
    window: Arc<Window<'input>>,
    /// The number of that window in the batch under way.
    slot: Option<usize>,
    /// Frames that were walked and have not had their turn, each with the clock at it.
    waiting: VecDeque<(Timestamp, Picked)>,
    /// Frames that have had their turn in a merge.
    given: u64,
    /// Damaged regions in front of frames that wait, with frames counted as in `given`.
    damage: VecDeque<Damage>,
    /// What else the walk met and no chunk has been told of.
    met: Option<WalkStats>,
    /// The chunk of the batch in which it was last, and its place among the files there.
    part: Option<(usize, usize)>,
}

impl<'input> Reading<'input> {
    /// A file that is about to begin.
    pub(super) fn new(input: &'input Input) -> Reading<'input> {
        Reading {
            input,
            state: input.start(),
            clock: input.begins(),
            held_at: None,
            ended: false,
            window: Arc::new(Window::new((&[][..]).into(), 0, input.file(), false)),
            slot: None,
            waiting: VecDeque::new(),
            given: 0,
            damage: VecDeque::new(),
            met: None,
            part: None,
        }
    }

    /// No frame has been walked that has not had its turn.
    pub(super) fn is_drained(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.is_drained() && self.input.ends_by(self.state.offset())
    }

    /// Nothing has arrived of what comes next in it.
    pub(super) fn must_wait(&self) -> bool {
        let (offset, arrived) = (self.state.offset(), self.input.len());
        let used = self.held_at.map_or(offset, |end| end.max(offset));
        self.is_drained() && used >= arrived && !self.input.ends_by(arrived)
    }

    /// Bytes of the file up to where its walk stands.
    pub(super) fn bytes(&self) -> u64 {
        self.input.file_bytes_at(self.state.offset())
    }

    /// Walks on until a frame waits or the file ends; false if the run was stopped before.
    fn fill(&mut self) -> Result<bool, RunError> {
        let (mut least, mut wanted) = (1, RUN);
        while self.waiting.is_empty() && !self.ended {
            let from = self.state.offset();
            let window = self
                .input
                .window(from, least, wanted.saturating_add(MARGIN))
                .map_err(|error| RunError::read(self.input, from, &error))?;
            let have = window.data().len() as u64;
            let stop = from.saturating_add(wanted);
            let mut walker = Walker::new(&window, self.state.clone(), stop);
            let mut frames = walker.by_ref().peekable();
            let mut last = None;
            while let Some(frame) = frames.next() {
                match frames.peek().map(Successor::of) {
                    Some(next) => self.await_turn(&frame, Some(next)),
                    None => last = Some(frame),
                }
            }
            let (state, stats) = walker.finish();
            if let Some(frame) = last {
                let judged = Judged::new(&frame, self.input.floor());
                let next = stretch::frame_after(self.input, &state, &judged, Patience::Endless)
                    .map_err(|error| RunError::read(self.input, state.offset(), &error))?;
                self.await_turn(&frame, next.frame());
            }
            let progressed = state != self.state;
            self.state = state;
            self.note(stats);
            self.ended = !progressed && window.at_eof();
            self.slot = None;
            self.window = Arc::new(window);
            if progressed {
                (least, wanted) = (1, RUN);
                continue;
            }
            if have < least && self.input.is_stopped() {
                return Ok(false);
            }
            // One record may be longer than a window.
            if have >= wanted {
                wanted = wanted.saturating_mul(4);
            }
            least = have + 1;
        }
        Ok(true)
    }

    /// Puts a frame behind those that wait; `next` is the file's frame behind it. What comes of its time
    /// is settled by the frames of its own file alone, so that it does not depend on how many of the
    /// merged ones are looked at together.
    fn await_turn(&mut self, frame: &RawFrame<'_>, next: Option<Successor>) {
        let counts = Judged::new(frame, self.input.floor()).counts(next);
        if counts {
            self.clock = self.clock.max(frame.ts);
        }
        self.waiting
            .push_back((self.clock, Picked::new(frame, 0, counts)));
    }

    /// Keeps what a walk met. Its frames count when they have their turn.
    fn note(&mut self, stats: WalkStats) {
        let mut met = WalkStats { frames: 0, ..stats };
        for damage in met.damage.drain(..) {
            let frame_before = self.given + damage.frame_before;
            self.damage.push_back(Damage {
                frame_before,
                ..damage
            });
        }
        if met != WalkStats::default() {
            self.met.get_or_insert_default().merge(&met);
        }
    }
}

/// The chunks that a merge makes: frames in order, not decoded yet.
#[derive(Default)]
struct Merged<'input> {
    windows: Windows<'input>,
    chunks: Vec<Draft>,
    /// Bytes of all.
    bytes: u64,
}

/// A chunk before it is decoded.
#[derive(Default)]
struct Draft {
    picked: Vec<Picked>,
    parts: Vec<Part>,
    bytes: u64,
}

impl<'input> Merged<'input> {
    /// Takes the first frame that waits in `reading`, into another chunk if the last one is full.
    fn take(&mut self, reading: &mut Reading<'input>, chunk_bytes: u64) {
        let Some((_, picked)) = reading.waiting.pop_front() else {
            return;
        };
        if self
            .chunks
            .last()
            .is_none_or(|chunk| chunk.bytes >= chunk_bytes)
        {
            self.chunks.push(Draft::default());
        }
        let window = *reading.slot.get_or_insert_with(|| {
            self.windows.push(Arc::clone(&reading.window));
            self.windows.len() - 1
        });
        reading.given += 1;
        let bytes = u64::from(picked.frame.len) + 1;
        self.bytes += bytes;
        let chunk = self.chunks.len();
        if let Some(draft) = self.chunks.last_mut() {
            draft.bytes += bytes;
            draft.picked.push(Picked { window, ..picked });
            let number = draft.picked.len() as u64;
            let given = reading.given;
            let part = tell(reading, chunk, draft, |at| {
                (at < given).then_some(Some(number))
            });
            part.walk.frames += 1;
            part.first_frame.get_or_insert(number);
            part.add(number, picked.frame.ts);
        }
    }

    /// Tells the last chunk what a file's walk met behind the frames that it has taken.
    fn flush(&mut self, reading: &mut Reading<'input>) {
        if reading.met.is_none() && reading.damage.is_empty() {
            return;
        }
        if self.chunks.is_empty() {
            self.chunks.push(Draft::default());
        }
        let chunk = self.chunks.len();
        if let Some(draft) = self.chunks.last_mut() {
            let given = reading.given;
            tell(reading, chunk, draft, |at| (at <= given).then_some(None));
        }
    }

    /// Decodes the chunks.
    fn decode(self, config: &DecodeConfig, seed: &mut Option<ShardSeed>) -> DecodedBatch<'input> {
        let Merged {
            windows, chunks, ..
        } = self;
        if seed.is_none() {
            let first = chunks.iter().find_map(|draft| draft.picked.first());
            let first = first.and_then(|picked| picked.frame(&windows));
            *seed = first.map(|frame| ShardSeed::of(&frame));
        }
        let seed = seed.unwrap_or_default();
        let chunks = chunks
            .into_par_iter()
            .map(|draft| Chunk::picked(&windows, draft.picked, draft.parts, (config, seed)))
            .collect();
        DecodedBatch {
            windows,
            chunks,
            bytes_done: 0,
        }
    }
}

/// Moves what the walk of a file met into its part of a chunk: damage as far as `next_frame` gives
/// the number of the frame behind it, by the file's frames before it.
fn tell<'draft>(
    reading: &mut Reading<'_>,
    chunk: usize,
    draft: &'draft mut Draft,
    next_frame: impl Fn(u64) -> Option<Option<u64>>,
) -> &'draft mut Part {
    let place = match reading.part {
        Some((last, place)) if last == chunk => place,
        _ => {
            draft.parts.push(Part::new(reading.input.file()));
            draft.parts.len() - 1
        }
    };
    reading.part = Some((chunk, place));
    let part = &mut draft.parts[place];
    if let Some(met) = reading.met.take() {
        part.walk.merge(&met);
    }
    while let Some(damage) = reading.damage.front()
        && let Some(next) = next_frame(damage.frame_before)
    {
        part.walk.damage.extend(reading.damage.pop_front());
        part.next_frames.push(next);
    }
    part
}

/// A batch of the frames of `readings`, which are files under way in their order: again and again
/// comes the frame at which the clock of its own file is least, and of equal ones that of the first
/// file. Files of `rest` join when it is their turn.
///
/// It ends when it is full, or when one file alone is left; but while `expecting` says that the next
/// one joins shortly, the one alone is walked on until it does.
pub(super) fn batch<'input>(
    readings: &mut Vec<Reading<'input>>,
    rest: &mut slice::Iter<'input, Input>,
    expecting: &mut bool,
    config: &Config,
    seed: &mut Option<ShardSeed>,
) -> Result<DecodedBatch<'input>, RunError> {
    let mut merged = Merged::default();
    let mut heads = BinaryHeap::new();
    let mut all_known = true;
    for (place, reading) in readings.iter_mut().enumerate() {
        (reading.slot, reading.part) = (None, None);
        all_known &= enter(&mut heads, place, reading)?;
    }
    while all_known && merged.bytes < config.batch.batch_bytes.max(1) {
        let Some(&Reverse((clock, place))) = heads.peek() else {
            break;
        };
        if let Some(input) = rest.as_slice().first()
            && input.begins() < clock
        {
            rest.next();
            *expecting = false;
            let mut reading = Reading::new(input);
            all_known &= enter(&mut heads, readings.len(), &mut reading)?;
            readings.push(reading);
            continue;
        }
        heads.pop();
        let reading = &mut readings[place];
        merged.take(reading, config.batch.chunk_bytes);
        if reading.is_drained() && heads.is_empty() && !*expecting {
            break;
        }
        all_known &= enter(&mut heads, place, reading)?;
    }
    for reading in readings.iter_mut() {
        merged.flush(reading);
    }
    Ok(merged.decode(&config.decode, seed))
}

/// Puts a file among those that wait for their turn, unless it has ended. False if the run was
/// stopped and nobody knows what comes next in the file; then nothing comes next at all.
fn enter(
    heads: &mut BinaryHeap<Reverse<(Timestamp, usize)>>,
    place: usize,
    reading: &mut Reading<'_>,
) -> Result<bool, RunError> {
    let known = reading.fill()?;
    if let Some(&(clock, _)) = reading.waiting.front() {
        heads.push(Reverse((clock, place)));
    }
    Ok(known)
}
