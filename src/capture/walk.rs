//! The record walk.

use std::sync::Arc;

use super::bytes::index;
use super::pcap::{FILE_HEADER, Pcap};
use super::pcapng::{
    Added, ENHANCED_PACKET, INTERFACE, LIKELY_FIELDS, NoBlock, OLD_PACKET, Packet, SECTION_HEADER,
    SIMPLE_PACKET, Section,
};
use super::prefetch::prefetch;
use super::resync::{Found, Mode, Probe, Search};
use super::state::{Format, Lost, WalkState, Window};
use super::stats::{BlockKind, CutAtEnd, CutFrame, DamageReason, WalkStats};
use crate::model::{InputPos, RawFrame};

/// Walks the records of a window that begin before some offset.
///
/// It ends when the next record begins at or after that offset, when the file ends, or when the next
/// record is not wholly in the window. In the last case the state that [`Walker::finish`] returns
/// lies before both the offset and the end of the file; if it also lies where the walk began, a
/// larger window is needed. A window of [`Walker::ENOUGH`] bytes or more always makes progress,
/// other than for link types whose records may have 128 MiB.
#[derive(Debug)]
pub struct Walker<'a> {
    data: &'a [u8],
    base: u64,
    file: u16,
    at_eof: bool,
    pos: usize,
    stop: usize,
    format: Format,
    lost: Option<Lost>,
    stats: WalkStats,
    /// Length of the last record, for a guess.
    stride: usize,
}

/// Bytes of memory that come together. A frame's headers may lie across two of them.
const CACHE_LINE: usize = 64;

impl<'a> Walker<'a> {
    /// Bytes of window with which a walk makes progress: the longest record there is, and as many as
    /// finding a record behind damage may take.
    pub const ENOUGH: u64 = 128 << 20;

    /// A walk of `window` from `state`, of the records that begin before `stop_at`.
    pub fn new(window: &'a Window<'_>, state: WalkState, stop_at: u64) -> Walker<'a> {
        let data = window.data();
        let relative = |offset: u64| {
            usize::try_from(offset.saturating_sub(window.base())).unwrap_or(usize::MAX)
        };
        // A state that the window does not cover stays where it is: nothing can be walked.
        let covered = state.offset >= window.base() && relative(state.offset) <= data.len();
        let (base, data) = if covered {
            (window.base(), data)
        } else {
            (state.offset, &[][..])
        };
        Walker {
            data,
            base,
            file: window.file(),
            at_eof: window.at_eof(),
            pos: if covered { relative(state.offset) } else { 0 },
            stop: relative(stop_at).min(data.len()),
            format: state.format,
            lost: state.lost,
            stats: WalkStats::default(),
            stride: 0,
        }
    }

    /// The state in which another walk goes on, and what this one met.
    pub fn finish(self) -> (WalkState, WalkStats) {
        let state = WalkState {
            offset: self.base + self.pos as u64,
            format: self.format,
            lost: self.lost,
        };
        (state, self.stats)
    }

    /// What is known of the records that come next.
    pub(super) const fn format(&self) -> &Format {
        &self.format
    }

    fn next_record(&mut self) -> Option<RawFrame<'a>> {
        while self.pos < self.stop {
            let Format::Pcap(pcap) = &self.format else {
                return None;
            };
            let start = self.pos + pcap.header_len();
            let Some(header) = pcap.header(self.data, self.pos) else {
                self.run_out(None, None);
                return None;
            };
            if !pcap.believes(&header) {
                let likely = pcap.likely_len(&header);
                self.lose(DamageReason::CapturedLength, likely);
                if self.recover() {
                    continue;
                }
                return None;
            }
            if header.captured == 0 && header.is_zero() {
                self.lose(DamageReason::Zeros, Some(pcap.header_len()));
                if self.recover() {
                    continue;
                }
                return None;
            }
            if header.captured == 0
                && let Some(whole) = pcap.is_file_header(self.data, self.pos)
            {
                if whole {
                    self.stats.file_headers += 1;
                    self.pos += FILE_HEADER;
                    continue;
                }
                self.run_out(None, None);
                return None;
            }
            let end = start + index(header.captured);
            let (ts, ts_ok) = pcap.time(&header);
            let Some(data) = self.data.get(start..end) else {
                let frame = CutFrame {
                    ts,
                    captured_len: header.captured,
                    original_len: header.original,
                    present: (self.data.len() - start) as u64,
                };
                let likely = pcap.likely_len(&header);
                if self.run_out(Some(frame), likely) {
                    continue;
                }
                return None;
            };
            prefetch(self.data, end);
            prefetch(self.data, end + self.stride);
            prefetch(self.data, end + self.stride + CACHE_LINE);
            self.stride = end - self.pos;
            self.pos = end;
            self.stats.frames += 1;
            self.stats.frames_cut += u64::from(header.captured < header.original);
            self.stats.bad_timestamps += u64::from(!ts_ok);
            return Some(RawFrame {
                ts,
                unit: pcap.unit(),
                link: pcap.link,
                data,
                at: InputPos::new(self.file, self.base + start as u64),
                original_len: header.original,
                fcs_len: pcap.fcs_len,
            });
        }
        None
    }

    fn next_block(&mut self) -> Option<RawFrame<'a>> {
        while self.pos < self.stop {
            let Format::Pcapng(section) = &mut self.format else {
                return None;
            };
            let rest = self.data.get(self.pos..)?;
            let block = match section.block(rest) {
                Ok(block) => block,
                Err(NoBlock::Short) => {
                    let frame = section.cut_frame(rest);
                    if self.run_out(frame, None) {
                        continue;
                    }
                    return None;
                }
                // What the damaged fields may still say must not depend on where a window ends.
                Err(NoBlock::Damaged(_)) if !self.at_eof && rest.len() < LIKELY_FIELDS => {
                    self.stop = 0;
                    return None;
                }
                Err(NoBlock::Damaged(reason)) => {
                    let likely = section.likely_len(rest);
                    self.lose(reason, likely);
                    if self.recover() {
                        continue;
                    }
                    return None;
                }
            };
            let packet = match block.kind {
                ENHANCED_PACKET => section.enhanced(&block),
                SIMPLE_PACKET => section.simple(&block),
                OLD_PACKET => section.old(&block),
                SECTION_HEADER => {
                    *section = Arc::new(Section::new(block.big_endian));
                    self.stats.sections += 1;
                    if !matches!(block.version(), Some((1, _))) {
                        self.damaged_block(block.bytes.len(), DamageReason::SectionHeader);
                    }
                    self.pos += block.bytes.len();
                    continue;
                }
                INTERFACE => {
                    match Arc::make_mut(section).add_interface(&block) {
                        Added::Kept => self.stats.interfaces += 1,
                        Added::Damaged => {
                            self.damaged_block(block.bytes.len(), DamageReason::BlockContent);
                        }
                        Added::OverLimit => self.stats.interfaces_over_limit += 1,
                    }
                    self.pos += block.bytes.len();
                    continue;
                }
                other => {
                    self.stats.skipped.count(BlockKind::of(other));
                    self.pos += block.bytes.len();
                    continue;
                }
            };
            match packet {
                Ok(packet) => {
                    let at = self.pos + packet.start;
                    self.pos += block.bytes.len();
                    return Some(self.deliver(packet, at));
                }
                Err(reason) => {
                    self.damaged_block(block.bytes.len(), reason);
                    self.pos += block.bytes.len();
                }
            }
        }
        None
    }

    #[inline]
    fn deliver(&mut self, packet: Packet<'a>, at: usize) -> RawFrame<'a> {
        self.stats.frames += 1;
        let captured = packet.data.len() as u64;
        self.stats.frames_cut += u64::from(captured < u64::from(packet.original));
        self.stats.bad_timestamps += u64::from(!packet.ts_ok);
        RawFrame {
            ts: packet.ts,
            unit: packet.unit,
            link: packet.link,
            data: packet.data,
            at: InputPos::new(self.file, self.base + at as u64),
            original_len: packet.original,
            fcs_len: packet.fcs_len,
        }
    }

    /// Counts the block at hand as damaged. The ones behind it are not affected.
    #[cold]
    fn damaged_block(&mut self, bytes: usize, reason: DamageReason) {
        let offset = self.base + self.pos as u64;
        self.stats.add_damage(offset, bytes as u64, reason);
    }

    /// The record at hand is damaged, and so nobody knows where the next one begins.
    #[cold]
    fn lose(&mut self, reason: DamageReason, likely_len: Option<usize>) {
        let since = self.base + self.pos as u64;
        self.lost = Some(Lost {
            since,
            reason,
            likely_end: likely_len.map(|len| since + len as u64),
        });
        if let Format::Pcapng(section) = &mut self.format {
            let rest = self.data.get(self.pos..).unwrap_or_default();
            match super::bytes::u32_at(rest, 0, section.big_endian) {
                // Frames must not be read by the interfaces of another section.
                Some(SECTION_HEADER) => *section = Arc::new(Section::new(section.big_endian)),
                Some(INTERFACE) => Arc::make_mut(section).add_damaged_interface(),
                _ => {}
            }
        }
        self.pos += 1;
    }

    /// Looks for the next record behind damage; false where there is none in the window.
    #[cold]
    fn recover(&mut self) -> bool {
        let Some(lost) = self.lost else {
            return true;
        };
        let likely = lost.likely_end.map(|end| self.relative(end));
        let mut found = match (likely, &self.format, lost.reason) {
            (None, ..) => Found::Nothing,
            (Some(end), Format::Pcap(_), DamageReason::Zeros) => self.behind_zeros(lost, end),
            (Some(end), ..) => self.check(end),
        };
        if found == Found::Nothing {
            self.lost = Some(Lost {
                likely_end: None,
                ..lost
            });
            let mut search = Search::new(self.data, self.at_eof, &self.format, Mode::Recover);
            let since = (self.base + self.pos as u64).saturating_sub(lost.since);
            found = search.run(self.pos, self.data.len(), since);
        } else if matches!(found, Found::NeedMore(_)) {
            // To be looked at again, from here.
            found = Found::NeedMore(self.pos);
        }
        let pos = match found {
            Found::At(pos) => pos,
            Found::Nothing => self.data.len(),
            Found::NeedMore(pos) => {
                self.pos = pos;
                self.stop = 0;
                return false;
            }
        };
        self.pos = pos;
        self.lost = None;
        let bytes = (self.base + pos as u64).saturating_sub(lost.since);
        self.stats.add_damage(lost.since, bytes, lost.reason);
        pos < self.data.len()
    }

    /// The record behind a run of pcap record headers of zeros, which goes on to `end` at least. Its end is
    /// known, unlike that of other damage, so one header that may be a record's is enough.
    #[cold]
    fn behind_zeros(&mut self, lost: Lost, mut end: usize) -> Found {
        let Format::Pcap(pcap) = &self.format else {
            return Found::Nothing;
        };
        let len = pcap.header_len();
        let found = loop {
            match pcap.header(self.data, end) {
                Some(header) if header.is_zero() => end += len,
                Some(_) => break self.believable(pcap, end),
                None if !self.at_eof => break Found::NeedMore(end),
                None if end == self.data.len() => break Found::At(end),
                None => break Found::Nothing,
            }
        };
        // A header whose first bytes are zero may begin in the last one of zeros.
        self.pos = self.pos.max((end + 1).saturating_sub(len));
        self.lost = Some(Lost {
            likely_end: Some(self.base + end as u64),
            ..lost
        });
        found
    }

    /// Whether a record or another file header begins at `pos`, as far as its own fields tell.
    fn believable(&self, pcap: &Pcap, pos: usize) -> Found {
        let first = self.format.first_link();
        match pcap.probe(self.data, self.at_eof, pos, first) {
            Probe::Record { .. } | Probe::Cut => Found::At(pos),
            Probe::NeedMore => Found::NeedMore(pos),
            Probe::No | Probe::Torn(_) => match pcap.is_file_header(self.data, pos) {
                Some(true) => Found::At(pos),
                Some(false) if !self.at_eof => Found::NeedMore(pos),
                _ => Found::Nothing,
            },
        }
    }

    /// Whether the file ends at `end`, or a record begins there.
    fn check(&self, end: usize) -> Found {
        if end > self.data.len() {
            return if self.at_eof {
                Found::Nothing
            } else {
                Found::NeedMore(end)
            };
        }
        if end == self.data.len() && self.at_eof {
            return Found::At(end);
        }
        Search::new(self.data, self.at_eof, &self.format, Mode::Recover).check(end)
    }

    fn relative(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    /// The record at hand goes on beyond the window. At the end of the file that is a capture cut
    /// short, unless its length is the damaged one and other records follow; true = those do.
    #[cold]
    fn run_out(&mut self, frame: Option<CutFrame>, likely_len: Option<usize>) -> bool {
        if !self.at_eof {
            self.stop = 0;
            return false;
        }
        let offset = self.base + self.pos as u64;
        let rest = self.data.get(self.pos..).unwrap_or_default();
        // Fewer may be the beginning of a number.
        if rest.len() >= 4 && rest.iter().all(|&byte| byte == 0) {
            self.stats
                .add_damage(offset, rest.len() as u64, DamageReason::Zeros);
            self.pos = self.data.len();
            return false;
        }
        let likely = likely_len.map(|len| self.pos.saturating_add(len));
        let mut found = match likely.map(|end| self.check(end)) {
            Some(Found::At(pos)) => Some(pos),
            _ => None,
        };
        if found.is_none() {
            let mut search = Search::new(self.data, true, &self.format, Mode::Recover);
            found = search.exact_end(self.pos + 1);
        }
        if let Some(pos) = found {
            let bytes = (pos - self.pos) as u64;
            self.stats
                .add_damage(offset, bytes, DamageReason::BeyondEnd);
            self.pos = pos;
            return true;
        }
        let bytes = (self.data.len() - self.pos) as u64;
        self.stats.cut_at_end = Some(CutAtEnd {
            offset,
            bytes,
            frame,
        });
        self.pos = self.data.len();
        false
    }
}

impl<'a> Iterator for Walker<'a> {
    type Item = RawFrame<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawFrame<'a>> {
        if self.lost.is_some() && (self.pos >= self.stop || !self.recover()) {
            return None;
        }
        match self.format {
            Format::Pcap(_) => self.next_record(),
            Format::Pcapng(_) => self.next_block(),
        }
    }
}
