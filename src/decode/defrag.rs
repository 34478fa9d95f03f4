//! IP fragments to datagrams (RFC 791, 3.2; RFC 8200, 4.5).
//!
//! Chunks are decoded at the same time, and one datagram's fragments may lie in several. So chunks
//! only hand their fragments in, and the join puts datagrams together in frame order. What comes
//! out is a function of the fragments alone: not of who handed them in, nor of how often
//! [`FragmentTable::complete`] was called in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use foldhash::quality::RandomState;

use super::{DecodeSink, Decoder};
use crate::model::{Encapsulation, Payload, PayloadSource, Segment, Timestamp};

/// The greatest payload of a datagram, bytes: the greatest value of the 16-bit length fields.
pub const MAX_DATAGRAM: u32 = 0xffff;

/// How many fragments may wait for the rest of their datagrams when the table is swept. A capture
/// of real traffic holds a few hundred; the bound is against floods of fragments that never become
/// a datagram.
pub const MAX_HELD_FRAGMENTS: usize = 65_536;

/// What all fragments of one datagram have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FragmentKey {
    /// VLAN tags and tunnels around the fragment. Networks behind different tags may use the same
    /// addresses, and their fragments must not be mixed.
    pub encapsulation: Encapsulation,
    /// Source address; an IPv4 address fills the first four bytes.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Protocol in IPv4; 0 in IPv6, where it is no part of the identity.
    pub protocol: u8,
    /// 4 or 6.
    pub version: u8,
}

/// One fragment, without its bytes.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Which datagram it belongs to.
    pub key: FragmentKey,
    /// Number of its frame, from 1 over the whole input (from 1 in the chunk, until the join adds
    /// the chunk's base).
    pub frame: u64,
    /// Its place among the fragments of its frame, from 0.
    pub ordinal: u32,
    /// Its frame holds nothing else, so its fate is the frame's.
    pub sole: bool,
    /// When its frame was captured.
    pub ts: Timestamp,
    /// The greatest time of any frame up to and including its own.
    pub watermark: Timestamp,
    /// Layers around it, so that nesting stays bounded across datagrams.
    pub depth: u8,
    /// The protocol that its header names; the first fragment's is the datagram's.
    pub protocol: u8,
    /// Bytes of IP header that the datagram keeps; the first fragment's are the datagram's.
    pub header_len: u32,
    /// Offset of its first byte in the datagram's payload, bytes.
    pub offset: u32,
    /// More fragments follow.
    pub more: bool,
    /// Bytes that its header declares and the capture does not hold.
    pub missing: u32,
    /// Its bytes.
    pub payload: Payload,
}

/// A datagram put together from fragments.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// What its fragments have in common.
    pub key: FragmentKey,
    /// Number of the frame that completed it.
    pub frame: u64,
    /// When that frame was captured.
    pub ts: Timestamp,
    /// The watermark at that frame.
    pub watermark: Timestamp,
    /// That frame holds nothing else.
    pub sole: bool,
    /// Layers around it.
    pub depth: u8,
    /// The protocol of its payload; in IPv6 maybe another extension header.
    pub protocol: u8,
    /// Bytes of its IP header, extension headers in front of the fragment header included.
    pub header_len: u32,
    /// Its payload.
    pub bytes: Arc<[u8]>,
    /// Bytes at its end that the capture's snap length cut off.
    pub truncated: u32,
}

/// What became of fragments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FragmentStats {
    /// Fragments handed in, those inside reassembled datagrams included.
    pub fragments: u64,
    /// Datagrams completed.
    pub datagrams: u64,
    /// Incomplete datagrams given up when their timeout had passed.
    pub timed_out: u64,
    /// Incomplete datagrams given up because too many fragments were held.
    pub over_limit: u64,
    /// Incomplete datagrams at the end of the input.
    pub incomplete_at_end: u64,
    /// Fragments that reach beyond the greatest datagram, or say nothing: they are ignored.
    pub bad_fragments: u64,
    /// Fragments that cover bytes which an earlier fragment of the datagram covers too.
    pub overlapping: u64,
    /// Those of them that say something else there. (Told only of datagrams that were completed.)
    pub conflicting: u64,
}

/// Fragments that wait for the rest of their datagrams.
#[derive(Debug)]
pub struct FragmentTable {
    slots: DashMap<FragmentKey, Slot, RandomState>,
    timeout: i64,
    /// Also held while datagrams are put together, so that only one thread at a time does it.
    stats: Mutex<FragmentStats>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Handed in and not yet looked at.
    fresh: Vec<Fragment>,
    held: Option<Assembly>,
}

impl FragmentTable {
    /// An empty table. A datagram is given up when a fragment comes more than `timeout`
    /// nanoseconds of the capture's clock after the first.
    pub fn new(timeout: i64) -> FragmentTable {
        FragmentTable {
            slots: DashMap::with_hasher(RandomState::default()),
            timeout,
            stats: Mutex::default(),
        }
    }

    /// Hands fragments in. Their frame numbers must be those of the whole input. May be called for
    /// several chunks at once and in any order.
    pub fn add(&self, fragments: impl IntoIterator<Item = Fragment>) {
        for fragment in fragments {
            let mut slot = self.slots.entry(fragment.key.clone()).or_default();
            slot.fresh.push(fragment);
        }
    }

    /// Puts together what can be, looking at fragments of frames up to and including `through`,
    /// all of which must have been handed in. `decoder` reads the datagrams; the segments come in
    /// frame order and their encapsulations are in its table. Fragments inside datagrams are taken
    /// up at once, before any later frame's.
    pub fn complete(
        &self,
        through: u64,
        source: &(impl PayloadSource + ?Sized),
        decoder: &mut Decoder,
    ) -> Vec<Segment> {
        let mut stats = self.lock();
        let mut fresh = Vec::new();
        for mut slot in self.slots.iter_mut() {
            fresh.extend(
                slot.fresh
                    .extract_if(.., |fragment| fragment.frame <= through),
            );
        }
        // Latest first, so that the next is popped off the end.
        fresh.sort_by_key(|fragment| std::cmp::Reverse((fragment.frame, fragment.ordinal)));
        let mut found = Found::default();
        while let Some(fragment) = fresh.pop() {
            if let Some(datagram) = self.take_up(fragment, source, &mut stats) {
                decoder.datagram(&datagram, &mut found);
                fresh.extend(found.fragments.drain(..).rev());
            }
        }
        found.segments
    }

    fn take_up(
        &self,
        fragment: Fragment,
        source: &(impl PayloadSource + ?Sized),
        stats: &mut FragmentStats,
    ) -> Option<Datagram> {
        stats.fragments += 1;
        let Some(piece) = Piece::of(&fragment) else {
            stats.bad_fragments += 1;
            self.slots
                .remove_if(&fragment.key, |_, slot| slot.is_empty());
            return None;
        };
        let mut slot = self.slots.entry(fragment.key.clone()).or_default();
        if let Some(old) = &slot.held
            && old.is_stale(fragment.watermark, self.timeout)
        {
            stats.timed_out += 1;
            slot.held = None;
        }
        let assembly = slot.held.get_or_insert_with(|| Assembly::new(&fragment));
        assembly.insert(&fragment, piece, stats);
        if !assembly.is_complete() {
            return None;
        }
        let done = slot.held.take();
        let empty = slot.is_empty();
        drop(slot);
        if empty {
            self.slots
                .remove_if(&fragment.key, |_, slot| slot.is_empty());
        }
        done?.finish(fragment, source, stats)
    }

    /// Gives up datagrams whose timeout has passed at `watermark`, and the oldest ones while more
    /// than [`MAX_HELD_FRAGMENTS`] fragments are held. To be called at fixed frames of the input,
    /// after [`FragmentTable::complete`] for the same frame.
    pub fn sweep(&self, watermark: Timestamp) {
        self.sweep_to(watermark, MAX_HELD_FRAGMENTS);
    }

    fn sweep_to(&self, watermark: Timestamp, limit: usize) {
        let (timeout, mut stats) = (self.timeout, self.lock());
        let mut held = 0;
        let mut ages = Vec::new();
        self.slots.retain(|key, slot| {
            if let Some(assembly) = &slot.held {
                if assembly.is_stale(watermark, timeout) {
                    stats.timed_out += 1;
                    slot.held = None;
                } else {
                    held += assembly.pieces.len();
                    ages.push((
                        assembly.first_frame,
                        assembly.first_ordinal,
                        assembly.pieces.len(),
                        key.clone(),
                    ));
                }
            }
            !slot.is_empty()
        });
        if held <= limit {
            return;
        }
        ages.sort_unstable_by_key(|(frame, ordinal, ..)| (*frame, *ordinal));
        for (_, _, pieces, key) in ages {
            if held <= limit {
                break;
            }
            held -= pieces;
            stats.over_limit += 1;
            self.slots.alter(&key, |_, mut slot| {
                slot.held = None;
                slot
            });
            self.slots.remove_if(&key, |_, slot| slot.is_empty());
        }
    }

    /// The counts so far.
    pub fn stats(&self) -> FragmentStats {
        *self.lock()
    }

    /// Counters cannot be left half-changed, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, FragmentStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the input: what is still incomplete stays so.
    pub fn finish(self) -> FragmentStats {
        let incomplete = self.slots.iter().filter(|slot| !slot.is_empty()).count();
        let mut stats = self.stats();
        stats.incomplete_at_end += incomplete as u64;
        stats
    }
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.held.is_none()
    }
}

/// What a datagram turned out to hold.
#[derive(Default)]
struct Found {
    segments: Vec<Segment>,
    fragments: Vec<Fragment>,
}

impl DecodeSink for Found {
    fn segment(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.fragments.push(fragment);
    }
}

/// A stretch of a datagram that one fragment gives.
#[derive(Clone, Debug)]
struct Piece {
    start: u32,
    /// Behind the last captured byte.
    end: u32,
    /// Behind the last byte that the header declares.
    declared_end: u32,
    payload: Payload,
}

impl Piece {
    /// `None` where the fragment reaches beyond the greatest datagram or is empty and not the last.
    fn of(fragment: &Fragment) -> Option<Piece> {
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
struct Assembly {
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
    fn new(first: &Fragment) -> Assembly {
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

    fn is_stale(&self, watermark: Timestamp, timeout: i64) -> bool {
        watermark
            .since(self.first_watermark)
            .is_some_and(|age| age > timeout)
    }

    fn insert(&mut self, fragment: &Fragment, piece: Piece, stats: &mut FragmentStats) {
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
    fn is_complete(&self) -> bool {
        self.head.is_some() && self.end.is_some_and(|(end, _)| self.covered == end)
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

    fn finish(
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

#[cfg(test)]
mod tests;
