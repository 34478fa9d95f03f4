//! Where a record begins when nothing says so: by chains of headers that agree with each other.
//!
//! A capture can hold another capture: somebody downloads one, and its records lie in the payload of
//! this one's frames, headers and all. A few consistent headers in a row are therefore no proof. But
//! a chain of inner records cannot survive the next outer header, while the outer chain can. So of
//! chains that overlap the one that reaches furthest wins, and one that goes on for longer than a
//! frame can be is taken at once. Inner records may also end a few bytes before the frame does; but
//! so may good records before stray bytes. There the second chain wins only if it has a frame as
//! long as the first one's would have to be. Before all that, the fields of the damaged header
//! that may still be good are asked where its record ends. What remains undecidable is a frame all
//! of whose lengths are damaged and that holds records which end exactly where it does: nothing
//! tells that they are inner ones, and they are delivered. So may be those of a frame longer than
//! any in the chain behind it.
//!
//! Headers read a few bytes off can agree with each other, too: four bytes on, the captured length
//! of a pcap header is the original one of the true header, which is the same. Such a chain goes
//! as far as the true one and those few bytes further, which is no further at all.
//!
//! The search is linear: every offset is tried once, and a chain that runs into an offset which an
//! earlier chain went through takes over what became of that one.

use std::collections::HashMap;

use super::state::{Format, WalkState, Window};

/// A chain of records this long is longer than any frame of a network that carries TCP: bytes.
const RECOVER_SPAN: usize = 128 << 10;
/// The same for a guess that is checked later, bytes.
const GUESS_SPAN: usize = 32 << 10;
/// Records that make a chain where it does not end exactly at the end of the file.
const MIN_CHAIN: usize = 3;
/// Remembered offsets that are worth clearing out.
const MANY_TAILS: usize = 1 << 16;

/// What the records of a chain so far say about the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    /// pcap: the time of the record before.
    pub(super) seconds: Option<u32>,
    /// pcapng: the byte order of the section.
    pub(super) big_endian: bool,
    /// There is a record before.
    pub(super) inside: bool,
}

/// Whether a record may begin at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    /// No.
    No,
    /// No, but a record that was cut in two by another's header would look so; it would end here.
    Torn(usize),
    /// Yes, and the next one begins at `next`.
    Record {
        /// Where the next one begins.
        next: usize,
        /// What this one says about it.
        link: Link,
    },
    /// Yes, and the file ends inside it.
    Cut,
    /// The bytes at hand do not tell.
    NeedMore,
}

/// What makes a chain good enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// The walk lost the records and will go on from what is found.
    Recover,
    /// The last record reaches beyond the end of the file: only a chain that ends exactly there
    /// makes its header a damaged one, and not the whole record one cut short.
    ExactEnd,
    /// The result is only a guess and will be checked.
    Guess,
}

/// What a search found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A record begins here.
    At(usize),
    /// None does.
    Nothing,
    /// More bytes are needed; no record begins before this offset.
    NeedMore(usize),
}

/// The rest of a chain that broke off.
#[derive(Clone, Copy)]
struct Tail {
    records: usize,
    reach: usize,
    /// Bytes of the longest record.
    longest: usize,
}

enum Chain {
    /// Good enough.
    Good {
        /// Bytes of the longest record.
        longest: usize,
    },
    /// It broke off.
    Broken(Tail),
    NeedMore {
        records: usize,
    },
}

/// Searches `data` for a record that begins in `from..to`.
pub(super) struct Search<'a> {
    data: &'a [u8],
    at_eof: bool,
    format: &'a Format,
    mode: Mode,
    tails: HashMap<usize, Tail>,
    path: Vec<usize>,
    clear_at: usize,
}

impl<'a> Search<'a> {
    /// A search in `data`, which ends where the file does or not.
    pub(super) fn new(data: &'a [u8], at_eof: bool, format: &'a Format, mode: Mode) -> Search<'a> {
        Search {
            data,
            at_eof,
            format,
            mode,
            tails: HashMap::new(),
            path: Vec::new(),
            clear_at: MANY_TAILS,
        }
    }

    /// Whether a record begins at `pos`, of which other evidence than chains says that one does.
    pub(super) fn check(&mut self, pos: usize) -> Found {
        match self.follow(pos) {
            Chain::Good { .. } => Found::At(pos),
            Chain::Broken(tail) if tail.records >= MIN_CHAIN => Found::At(pos),
            Chain::Broken(_) => Found::Nothing,
            Chain::NeedMore { .. } => Found::NeedMore(pos),
        }
    }

    /// The first record in `from..to`. `since` bytes before `from` the damage begins, as far as there
    /// is any.
    pub(super) fn run(&mut self, from: usize, to: usize, since: u64) -> Found {
        let mut best: Option<(usize, usize)> = None;
        let mut pos = from;
        let slack = self.format.slack();
        loop {
            let end = best.map_or(to, |(_, reach)| to.min(reach.saturating_add(slack)));
            if pos >= end {
                break;
            }
            // What must be the length of a frame if the best chain so far lies in it.
            let around = since.saturating_add((pos - from) as u64);
            let beats = |reach_of: usize, longest: usize| {
                best.is_none_or(|(_, reach)| {
                    reach_of > reach.saturating_add(slack)
                        && (pos < reach || longest as u64 >= around)
                })
            };
            match self.follow(pos) {
                Chain::Good { longest } => {
                    if beats(usize::MAX, longest) {
                        return Found::At(pos);
                    }
                }
                Chain::Broken(tail) => {
                    let enough = tail.records >= MIN_CHAIN && self.mode != Mode::ExactEnd;
                    if enough && beats(tail.reach, tail.longest) {
                        best = Some((pos, tail.reach));
                    }
                }
                Chain::NeedMore { records } if self.mode == Mode::Guess => {
                    if records >= MIN_CHAIN {
                        return Found::At(pos);
                    }
                }
                Chain::NeedMore { .. } => {
                    return Found::NeedMore(best.map_or(pos, |(start, _)| start));
                }
            }
            pos += 1;
            if self.tails.len() > self.clear_at {
                self.tails.retain(|&at, _| at >= pos);
                self.clear_at = self.tails.len() * 2 + MANY_TAILS;
            }
        }
        match best {
            Some((start, _)) => Found::At(start),
            None if self.at_eof || self.mode == Mode::Guess => Found::Nothing,
            None => Found::NeedMore(pos.max(from)),
        }
    }

    fn follow(&mut self, start: usize) -> Chain {
        self.path.clear();
        let mut link = self.format.first_link();
        let mut pos = start;
        let span = match self.mode {
            Mode::Recover => RECOVER_SPAN,
            Mode::Guess => GUESS_SPAN,
            Mode::ExactEnd => usize::MAX,
        };
        let mut longest = 0;
        let mut tail = loop {
            let records = self.path.len();
            if pos == self.data.len() && self.at_eof && records > 0 {
                return Chain::Good { longest };
            }
            if records >= MIN_CHAIN && pos - start >= span {
                return Chain::Good { longest };
            }
            let broken = |records, reach| Tail {
                records,
                reach,
                longest: 0,
            };
            match self.format.probe(self.data, self.at_eof, pos, link) {
                Probe::No => break broken(0, pos),
                Probe::Torn(reach) => break broken(0, reach),
                Probe::Cut => break broken(1, self.data.len()),
                Probe::NeedMore => return Chain::NeedMore { records },
                Probe::Record { next, link: onward } => {
                    if let Some(&tail) = self.tails.get(&pos) {
                        break tail;
                    }
                    self.path.push(pos);
                    longest = longest.max(next - pos);
                    (pos, link) = (next, onward);
                }
            }
        };
        for &at in self.path.iter().rev() {
            tail.records += 1;
            tail.longest = tail.longest.max(pos - at);
            pos = at;
            self.tails.insert(at, tail);
        }
        Chain::Broken(tail)
    }
}

/// The offset of a record that seems to begin in `from..to` (offsets in the file), for walks that
/// begin in the middle of a capture. `hint` is any earlier state of the same capture.
///
/// It is a guess: only a walk from the beginning knows. Whoever uses it checks that the walk of the
/// piece before ends in exactly the state that was assumed here, [`WalkState::at`] this offset.
pub fn find_boundary(window: &Window<'_>, hint: &WalkState, from: u64, to: u64) -> Option<u64> {
    let data = window.data();
    let from = usize::try_from(from.saturating_sub(window.base())).ok()?;
    let to = usize::try_from(to.saturating_sub(window.base()))
        .unwrap_or(usize::MAX)
        .min(data.len());
    let mut search = Search::new(data, window.at_eof(), hint.format(), Mode::Guess);
    match search.run(from, to, 0) {
        Found::At(pos) => Some(window.base() + pos as u64),
        Found::Nothing | Found::NeedMore(_) => None,
    }
}
