//! One datagram in the making: which fragment gives which bytes.

use std::collections::BTreeMap;

use super::{Datagram, Fragment, FragmentStats, MAX_DATAGRAM, Refused};
use crate::config::FragmentPolicy;
use crate::model::{FrameRef, Payload, PayloadSource, Timestamp};

/// A stretch of a datagram that one fragment gives.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    start: u32,
    /// Behind the last captured byte.
    end: u32,
    /// Behind the last byte that the header declares.
    declared_end: u32,
    payload: Payload,
}

impl Piece {
    /// `None` where the fragment reaches beyond the greatest datagram or is empty and not the last.
    pub(super) fn of(fragment: &Fragment) -> Option<Piece> {
        let start = fragment.offset;
        let mut payload = fragment.payload.clone();
        let mut declared = payload.len().saturating_add(fragment.missing);
        if fragment.more {
            // All but the last are multiples of 8 bytes (RFC 791, 3.2); no offset could continue
            // the rest.
            declared &= !7;
            payload = payload.slice(0, declared);
            if declared == 0 {
                return None;
            }
        }
        let declared_end = start.checked_add(declared)?;
        if declared_end > MAX_DATAGRAM {
            return None;
        }
        Some(Piece {
            start,
            end: start + payload.len(),
            declared_end,
            payload,
        })
    }
}

/// Whether a piece stands over one that came before it, where both have bytes.
const fn stands_over(policy: FragmentPolicy, later: &Piece, earlier: &Piece) -> bool {
    match policy {
        FragmentPolicy::First | FragmentPolicy::Drop => false,
        FragmentPolicy::Last => true,
        FragmentPolicy::Bsd => later.start < earlier.start,
        FragmentPolicy::BsdRight => later.start >= earlier.start,
        FragmentPolicy::Linux => later.start <= earlier.start,
        FragmentPolicy::Solaris => {
            later.start < earlier.start && later.declared_end >= earlier.declared_end
        }
        FragmentPolicy::Windows => {
            later.start < earlier.start && later.declared_end > earlier.declared_end
        }
    }
}

/// A datagram in the making.
#[derive(Debug)]
pub(super) struct Assembly {
    policy: FragmentPolicy,
    /// Its number among all that were begun.
    begun: u64,
    first_watermark: Timestamp,
    /// Protocol and header length of the fragment at offset 0.
    head: Option<(u8, u32)>,
    /// Captured end and declared end of the last fragment.
    end: Option<(u32, u32)>,
    /// All pieces in the order they came.
    pieces: Vec<Piece>,
    /// Which piece gives which bytes: start → (end, index into `pieces`); no two overlap.
    cover: BTreeMap<u32, (u32, usize)>,
    covered: u32,
    has_overlap: bool,
    /// An overlap is more than one fragment sent twice.
    has_partial_overlap: bool,
    /// The frames that the pieces came in.
    frames: Vec<FrameRef>,
    /// Bytes of fragments that lie in no file.
    owned: usize,
}

impl Assembly {
    pub(super) fn new(first: &Fragment, begun: u64, policy: FragmentPolicy) -> Assembly {
        Assembly {
            policy,
            begun,
            first_watermark: first.watermark,
            head: None,
            end: None,
            pieces: Vec::new(),
            cover: BTreeMap::new(),
            covered: 0,
            has_overlap: false,
            has_partial_overlap: false,
            frames: Vec::new(),
            owned: 0,
        }
    }

    /// Its number among all that were begun, from 1: the order of first fragments.
    pub(super) const fn begun(&self) -> u64 {
        self.begun
    }

    /// Fragments held.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes of them that lie in no file.
    pub(super) const fn owned(&self) -> usize {
        self.owned
    }

    pub(super) fn is_stale(&self, watermark: Timestamp, timeout: i64) -> bool {
        watermark
            .since(self.first_watermark)
            .is_some_and(|age| age > timeout)
    }

    pub(super) fn insert(&mut self, fragment: &Fragment, piece: Piece, stats: &mut FragmentStats) {
        self.owned += fragment.payload.owned_len();
        // An aggregate may hold several of them in one frame.
        let last = |frames: &[FrameRef]| frames.last().map(|frame| frame.at);
        if last(&self.frames) != last(&fragment.frames) {
            self.frames.extend_from_slice(&fragment.frames);
        }
        if fragment.offset == 0 {
            self.head
                .get_or_insert((fragment.protocol, fragment.header_len));
        }
        if !fragment.more && self.end.is_none() {
            self.end = Some((piece.end, piece.declared_end));
            stats.bad_fragments += u64::from(self.drop_beyond(piece.end));
        }
        let limit = self.end.map_or(u32::MAX, |(end, _)| end);
        if piece.end > limit {
            stats.bad_fragments += 1;
        }
        let (start, end) = (piece.start.min(limit), piece.end.min(limit));
        let is_repeated = self.is_repeated(&piece);
        let fresh = self.lay(piece, start, end);
        self.covered += fresh;
        if fresh < end - start {
            stats.overlapping += 1;
            self.has_overlap = true;
            self.has_partial_overlap |= !is_repeated;
        }
    }

    /// Whether a fragment of the same bytes of the datagram stands already. (As long as no other
    /// kind of overlap came, each fragment's bytes begin in the cover where the fragment does.)
    fn is_repeated(&self, piece: &Piece) -> bool {
        self.cover
            .get(&piece.start)
            .and_then(|&(_, index)| self.pieces.get(index))
            .is_some_and(|held| {
                held.start == piece.start && held.declared_end == piece.declared_end
            })
    }

    /// Adds a piece: the bytes from `start` to `end` are its own where no other has them, or where
    /// it stands over the one that has. Tells how many no other had.
    fn lay(&mut self, piece: Piece, start: u32, end: u32) -> u32 {
        let index = self.pieces.len();
        let mut fresh = 0;
        let mut at = start;
        while at < end {
            let stretch = self.cover.range(..=at).next_back();
            match stretch.map(|(&from, &(reach, held))| (from, reach, held)) {
                Some((from, reach, held)) if reach > at => {
                    let to = reach.min(end);
                    let stands = |held| stands_over(self.policy, &piece, held);
                    if self.pieces.get(held).is_some_and(stands) {
                        if from < at {
                            self.cover.insert(from, (at, held));
                        }
                        self.cover.insert(at, (to, index));
                        if to < reach {
                            self.cover.insert(to, (reach, held));
                        }
                    }
                    at = to;
                }
                _ => {
                    let next = self.cover.range(at..end).next();
                    let to = next.map_or(end, |(&from, _)| from);
                    self.cover.insert(at, (to, index));
                    fresh += to - at;
                    at = to;
                }
            }
        }
        self.pieces.push(piece);
        fresh
    }

    /// Forgets what lies beyond the end that the last fragment names, and says whether anything
    /// did: a fragment that contradicts the last one.
    fn drop_beyond(&mut self, end: u32) -> bool {
        let beyond = self.cover.split_off(&end);
        let mut bytes: u32 = beyond.iter().map(|(start, (reach, _))| reach - start).sum();
        if let Some((_, (reach, _))) = self.cover.iter_mut().next_back()
            && *reach > end
        {
            bytes += *reach - end;
            *reach = end;
        }
        self.covered -= bytes;
        bytes > 0
    }

    /// Every byte up to the captured end of the last fragment is there, the first included.
    pub(super) fn is_complete(&self) -> bool {
        self.head.is_some() && self.end.is_some_and(|(end, _)| self.covered == end)
    }

    pub(super) fn finish(
        self,
        last: Fragment,
        source: &(impl PayloadSource + ?Sized),
        stats: &mut FragmentStats,
    ) -> Option<Result<Datagram, Refused>> {
        let ((protocol, header_len), (end, declared_end)) = (self.head?, self.end?);
        let mut bytes = vec![0; end as usize];
        for (&start, &(reach, index)) in &self.cover {
            let piece = self.pieces.get(index)?;
            let part = piece.payload.slice(start - piece.start, reach - start);
            copy(&part.bytes(source), start, &mut bytes);
        }
        if self.has_overlap {
            let differing = self.count_conflicts(&bytes, source, stats);
            // Fragments sent twice are no overlap if they say the same (RFC 8200, 4.5).
            if self.policy == FragmentPolicy::Drop && (self.has_partial_overlap || differing) {
                stats.dropped += 1;
                return Some(Err(Refused {
                    version: last.key.version,
                    sole: last.sole,
                }));
            }
        }
        stats.datagrams += 1;
        Some(Ok(Datagram {
            key: last.key,
            frame: last.frame,
            ts: last.ts,
            watermark: last.watermark,
            sole: last.sole,
            has_final_addresses: last.has_final_addresses,
            depth: last.depth,
            protocol,
            header_len,
            bytes: bytes.into(),
            truncated: declared_end - end,
            frames: self.frames.into(),
        }))
    }

    /// Counts what differs from the bytes that stand, and tells whether anything does.
    fn count_conflicts(
        &self,
        whole: &[u8],
        source: &(impl PayloadSource + ?Sized),
        stats: &mut FragmentStats,
    ) -> bool {
        let mut any = false;
        for piece in &self.pieces {
            let bytes = differences(&piece.payload.bytes(source), piece.start, whole);
            stats.conflicting += u64::from(bytes > 0);
            stats.conflict_bytes += bytes;
            any |= bytes > 0;
        }
        stats.conflict_datagrams += u64::from(any);
        any
    }
}

/// Copies what fits of `part` to offset `start`.
fn copy(part: &[u8], start: u32, whole: &mut [u8]) {
    let to = whole.get_mut(start as usize..).unwrap_or_default();
    for (to, from) in to.iter_mut().zip(part) {
        *to = *from;
    }
}

/// How many bytes of `part`, at offset `start`, differ from what `whole` has there.
fn differences(part: &[u8], start: u32, whole: &[u8]) -> u64 {
    let there = whole.get(start as usize..).unwrap_or_default();
    part.iter().zip(there).filter(|(a, b)| a != b).count() as u64
}
