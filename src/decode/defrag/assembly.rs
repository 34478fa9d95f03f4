//! One datagram in the making: which fragment gives which bytes.

use std::collections::BTreeMap;

use super::{Datagram, Fragment, FragmentStats, MAX_DATAGRAM};
use crate::model::{Payload, PayloadSource, Timestamp};

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

/// A datagram in the making.
#[derive(Debug)]
pub(super) struct Assembly {
    first_frame: u64,
    first_ordinal: u32,
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
}

impl Assembly {
    pub(super) fn new(first: &Fragment) -> Assembly {
        Assembly {
            first_frame: first.frame,
            first_ordinal: first.ordinal,
            first_watermark: first.watermark,
            head: None,
            end: None,
            pieces: Vec::new(),
            cover: BTreeMap::new(),
            covered: 0,
            has_overlap: false,
        }
    }

    /// Frame of the first fragment, and its place there.
    pub(super) fn first(&self) -> (u64, u32) {
        (self.first_frame, self.first_ordinal)
    }

    /// Fragments held.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_stale(&self, watermark: Timestamp, timeout: i64) -> bool {
        watermark
            .since(self.first_watermark)
            .is_some_and(|age| age > timeout)
    }

    pub(super) fn insert(&mut self, fragment: &Fragment, piece: Piece, stats: &mut FragmentStats) {
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
        let fresh = fill_holes(&mut self.cover, start, end, self.pieces.len());
        self.covered += fresh;
        if fresh < end - start {
            stats.overlapping += 1;
            self.has_overlap = true;
        }
        self.pieces.push(piece);
    }

    /// Which piece gives which byte, now that all have come. Of two pieces that overlap, the one
    /// that begins at the lower offset stands, and of two that begin together the one that came
    /// first: what BSD stacks do (Novak, "Target-Based Fragmentation Reassembly", 2005), and
    /// Wireshark. Another policy would be another order here.
    fn settled_cover(&self, end: u32) -> BTreeMap<u32, (u32, usize)> {
        if !self.has_overlap {
            return self.cover.clone();
        }
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        order.sort_by_key(|&index| self.pieces.get(index).map(|piece| piece.start));
        let mut cover = BTreeMap::new();
        for index in order {
            if let Some(piece) = self.pieces.get(index) {
                fill_holes(&mut cover, piece.start.min(end), piece.end.min(end), index);
            }
        }
        cover
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
    ) -> Option<Datagram> {
        let ((protocol, header_len), (end, declared_end)) = (self.head?, self.end?);
        let cover = self.settled_cover(end);
        let mut bytes = vec![0; end as usize];
        for (&start, &(reach, index)) in &cover {
            let piece = self.pieces.get(index)?;
            let part = piece.payload.slice(start - piece.start, reach - start);
            copy(&part.bytes(source), start, &mut bytes);
        }
        if self.has_overlap {
            stats.conflicting += self
                .pieces
                .iter()
                .filter(|piece| !agrees(&piece.payload.bytes(source), piece.start, &bytes))
                .count() as u64;
        }
        stats.datagrams += 1;
        Some(Datagram {
            key: last.key,
            frame: last.frame,
            ts: last.ts,
            watermark: last.watermark,
            sole: last.sole,
            depth: last.depth,
            protocol,
            header_len,
            bytes: bytes.into(),
            truncated: declared_end - end,
        })
    }
}

/// Gives the bytes from `start` to `end` to piece `index` where no other has them, and tells how
/// many those are.
fn fill_holes(cover: &mut BTreeMap<u32, (u32, usize)>, start: u32, end: u32, index: usize) -> u32 {
    let mut fresh = 0;
    let mut at = start;
    // The one stretch that may begin before and reach in.
    if let Some((_, &(reach, _))) = cover.range(..=start).next_back() {
        at = at.max(reach);
    }
    while at < end {
        let next = cover.range(at..end).next();
        let (hole_end, skip_to) = next.map_or((end, end), |(&start, &(reach, _))| (start, reach));
        if at < hole_end {
            cover.insert(at, (hole_end, index));
            fresh += hole_end - at;
        }
        at = skip_to;
    }
    fresh
}

/// Copies what fits of `part` to offset `start`.
fn copy(part: &[u8], start: u32, whole: &mut [u8]) {
    let to = whole.get_mut(start as usize..).unwrap_or_default();
    for (to, from) in to.iter_mut().zip(part) {
        *to = *from;
    }
}

/// Whether `part` says at offset `start` what `whole` says there.
fn agrees(part: &[u8], start: u32, whole: &[u8]) -> bool {
    let there = whole.get(start as usize..).unwrap_or_default();
    part.iter().zip(there).all(|(a, b)| a == b)
}
