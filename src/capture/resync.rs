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
//! No record longer than [`LONGEST`] is believed here, whatever the capture allows elsewhere: what a header
//! in noise claims must not decide how far the search looks ahead, and so how much of a stream must have
//! arrived for it.
//!
//! The search is linear: every offset is tried once, and a chain that runs into an offset which an
//! earlier chain went through takes over what became of that one. Only the beginnings of long chains are
//! remembered, since short ones are soon gone through again; those lie within [`RECOVER_SPAN`].

use std::collections::HashMap;

use super::state::{Format, WalkState, Window};

/// A chain of records this long is longer than any frame of a network that carries TCP: bytes.
const RECOVER_SPAN: usize = 128 << 10;
/// The same for a guess that is checked later, bytes.
const GUESS_SPAN: usize = 32 << 10;
/// Records that make a chain where it does not end exactly at the end of the file.
const MIN_CHAIN: usize = 3;
/// Records of a chain that are worth remembering. It is a choice between steps and memory.
const LONG_CHAIN: usize = 16;
/// Remembered offsets that are worth clearing out.
const MANY_TAILS: usize = 1 << 16;
/// The longest record that is believed where nothing but chains tells records, bytes. It is a choice:
/// twice what the largest packets of TCP take, which Linux builds for its own use (`GRO_MAX_SIZE`, 8
/// times 65,535).
pub(super) const LONGEST: u32 = 1 << 20;

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
    effort: Effort,
}

/// What a search took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Effort {
    /// Offsets looked at, however often.
    pub(super) probes: u64,
    /// The most offsets remembered at a time.
    pub(super) remembered: usize,
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
            effort: Effort::default(),
        }
    }

    /// What it has taken so far.
    #[cfg(test)]
    pub(super) const fn effort(&self) -> Effort {
        self.effort
    }

    fn probe(&mut self, pos: usize, link: Link) -> Probe {
        self.effort.probes += 1;
        self.format.probe(self.data, self.at_eof, pos, link)
    }

    /// The first offset from `from` on at which a chain of records begins that ends exactly where the
    /// data does, which is the end of the file. Where the last record reaches beyond that, only such
    /// a chain makes its header a damaged one, and not the whole record one cut short.
    ///
    /// It goes from the end to the beginning, so that each offset needs to know of those behind it one bit.
    pub(super) fn exact_end(&mut self, from: usize) -> Option<usize> {
        let len = self.data.len();
        let mut ends = [
            Bits::new(len.saturating_sub(from)),
            Bits::new(len.saturating_sub(from)),
        ];
        let first = self.format.first_link();
        let mut found = None;
        for pos in (from..len).rev() {
            for big_endian in self.format.byte_orders() {
                let inside = Link {
                    big_endian: *big_endian,
                    inside: true,
                    seconds: None,
                };
                if self.leads_to_end(pos, inside, &ends, from) {
                    let [little, big] = &mut ends;
                    let bits = if *big_endian { big } else { little };
                    bits.set(pos - from);
                }
            }
            if self.leads_to_end(pos, first, &ends, from) {
                found = Some(pos);
            }
        }
        found
    }

    fn leads_to_end(&mut self, pos: usize, link: Link, ends: &[Bits; 2], from: usize) -> bool {
        let Probe::Record { next, link } = self.probe(pos, link) else {
            return false;
        };
        let [little, big] = ends;
        let bits = if link.big_endian { big } else { little };
        next == self.data.len()
            || bits.is_set(next.saturating_sub(from))
                && matches!(self.probe(next, link), Probe::Record { .. })
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
            if let Some(behind) = self.behind_zeros(pos) {
                pos = behind.min(end);
                continue;
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
                    if tail.records >= MIN_CHAIN && beats(tail.reach, tail.longest) {
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

    /// No record begins with so many zeros in any format: where they stand, the next place at which one may
    /// begin.
    fn behind_zeros(&self, pos: usize) -> Option<usize> {
        const NO_RECORD: usize = 16;
        let rest = self.data.get(pos..)?;
        let first: &[u8; NO_RECORD] = rest.first_chunk()?;
        if u128::from_ne_bytes(*first) != 0 {
            return None;
        }
        let (words, tail) = rest.as_chunks::<NO_RECORD>();
        let whole = words
            .iter()
            .position(|word| u128::from_ne_bytes(*word) != 0)
            .unwrap_or(words.len());
        let after = words.get(whole).map_or(tail, |word| &word[..]);
        let zeros = after.iter().take_while(|&&byte| byte == 0).count();
        Some(pos + whole * NO_RECORD + zeros + 1 - NO_RECORD)
    }

    fn follow(&mut self, start: usize) -> Chain {
        self.path.clear();
        let mut link = self.format.first_link();
        let mut pos = start;
        let span = match self.mode {
            Mode::Recover => RECOVER_SPAN,
            Mode::Guess => GUESS_SPAN,
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
            match self.probe(pos, link) {
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
            if tail.records >= LONG_CHAIN {
                self.tails.insert(at, tail);
            }
        }
        self.effort.remembered = self.effort.remembered.max(self.tails.len());
        Chain::Broken(tail)
    }
}

/// One bit for each of so many places.
struct Bits(Vec<u64>);

impl Bits {
    fn new(places: usize) -> Bits {
        Bits(vec![0; places.div_ceil(64)])
    }

    fn set(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn is_set(&self, place: usize) -> bool {
        self.0
            .get(place / 64)
            .is_some_and(|word| word >> (place % 64) & 1 == 1)
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
