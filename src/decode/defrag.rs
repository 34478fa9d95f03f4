//! IP fragments to datagrams (RFC 791, 3.2; RFC 8200, 4.5).
//!
//! Chunks are decoded at the same time, and one datagram's fragments may lie in several. So chunks
//! only hand their fragments in, and the join puts datagrams together in frame order. What comes
//! out is a function of the fragments alone: not of who handed them in, nor of how often
//! [`FragmentTable::complete`] was called in between.

mod assembly;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use foldhash::quality::RandomState;

use super::{DecodeSink, Decoder};
use crate::config::{FragmentPolicy, PolicyMap};
use crate::model::segment::PIECED_ORDINAL;
use crate::model::{Encapsulation, FrameRef, Payload, PayloadSource, Segment, Timestamp, ip_addr};
use assembly::{Assembly, Piece};

/// The greatest payload of a datagram, bytes: the greatest value of the 16-bit length fields.
pub const MAX_DATAGRAM: u32 = 0xffff;

/// How many fragments may wait for the rest of their datagrams when the table is swept. A capture
/// of real traffic holds a few hundred; the bound is against floods of fragments that never become
/// a datagram.
pub const MAX_HELD_FRAGMENTS: usize = 65_536;

/// Bytes of held fragments that lie in no input file, since they came in datagrams that were put together
/// themselves. One that passes this is given up with its datagram; tunnels that carry fragments inside
/// fragments have a few at a time.
pub const MAX_HELD_BYTES: usize = 256 << 20;

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
    /// It is no fragment, but a whole packet whose payload is compressed.
    pub is_whole: bool,
    /// See [`Datagram::has_final_addresses`].
    pub has_final_addresses: bool,
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
    /// The frames that carried it: one, or for a fragment inside a datagram that was itself put
    /// together, that datagram's.
    pub frames: Arc<[FrameRef]>,
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
    /// The addresses of its last fragment are those that checksums cover: no stops of a source route are
    /// left, and no mobile node's home address stands elsewhere.
    pub has_final_addresses: bool,
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
    /// The frames that carried its fragments, in their order.
    pub frames: Arc<[FrameRef]>,
}

/// A segment of a datagram that was put together.
#[derive(Clone, Debug)]
pub struct Pieced {
    /// The segment.
    pub segment: Segment,
    /// The frames that carried the datagram.
    pub frames: Arc<[FrameRef]>,
}

/// A datagram that is complete and dropped whole, since its fragments overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    /// 4 or 6.
    pub(super) version: u8,
    /// The frame that completed it holds nothing else.
    pub(super) sole: bool,
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
    /// Fragments that say something else than the bytes which stand. (Told only of datagrams that
    /// were completed or dropped, as are the next three.)
    pub conflicting: u64,
    /// Bytes of those that differ.
    pub conflict_bytes: u64,
    /// Datagrams with at least one such byte.
    pub conflict_datagrams: u64,
    /// Datagrams that were dropped whole when they were complete, since fragments overlap.
    pub dropped: u64,
}

/// Fragments that wait for the rest of their datagrams.
#[derive(Debug)]
pub struct FragmentTable {
    slots: DashMap<FragmentKey, Slot, RandomState>,
    /// Compressed packets that were handed in and not yet looked at.
    whole: Mutex<Vec<Fragment>>,
    timeout: i64,
    policies: PolicyMap<FragmentPolicy>,
    /// Also held while datagrams are put together, so that only one thread at a time does it.
    ledger: Mutex<Ledger>,
}

/// What is counted.
#[derive(Debug, Default)]
struct Ledger {
    stats: FragmentStats,
    /// Bytes of held fragments that lie in no file.
    owned: usize,
    /// Datagrams begun so far.
    begun: u64,
}

impl Ledger {
    /// Lets an incomplete datagram go, if there is one.
    fn let_go(&mut self, held: &mut Option<Assembly>) {
        if let Some(assembly) = held.take() {
            self.owned -= assembly.owned();
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    /// Handed in and not yet looked at.
    fresh: Vec<Fragment>,
    held: Option<Assembly>,
}

impl FragmentTable {
    /// An empty table. A datagram is given up when a fragment comes more than `timeout`
    /// nanoseconds of the capture's clock after the first. Overlaps are resolved by the policy of
    /// the receiver.
    pub fn new(timeout: i64, policies: PolicyMap<FragmentPolicy>) -> FragmentTable {
        FragmentTable {
            slots: DashMap::with_hasher(RandomState::default()),
            whole: Mutex::default(),
            timeout,
            policies,
            ledger: Mutex::default(),
        }
    }

    /// Hands fragments in. Their frame numbers must be those of the whole input. May be called for
    /// several chunks at once and in any order.
    pub fn add(&self, fragments: impl IntoIterator<Item = Fragment>) {
        let mut whole = Vec::new();
        for fragment in fragments {
            if fragment.is_whole {
                whole.push(fragment);
                continue;
            }
            let mut slot = self.slots.entry(fragment.key.clone()).or_default();
            slot.fresh.push(fragment);
        }
        if !whole.is_empty() {
            self.whole().append(&mut whole);
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
    ) -> Vec<Pieced> {
        self.complete_within(usize::MAX, through, source, decoder).0
    }

    /// The same, but no more frames are looked at once the [owned bytes](Decoder::owned) of `decoder` have
    /// reached `limit`. Then the last frame that was looked at is told, and what is behind it waits for
    /// the next call.
    pub fn complete_within(
        &self,
        limit: usize,
        through: u64,
        source: &(impl PayloadSource + ?Sized),
        decoder: &mut Decoder,
    ) -> (Vec<Pieced>, Option<u64>) {
        let mut ledger = self.lock();
        let is_due = |fragment: &mut Fragment| fragment.frame <= through;
        let mut fresh: Vec<Fragment> = self.whole().extract_if(.., is_due).collect();
        for mut slot in self.slots.iter_mut() {
            fresh.extend(slot.fresh.extract_if(.., is_due));
        }
        // Latest first, so that the next is popped off the end.
        fresh.sort_by_key(|fragment| std::cmp::Reverse((fragment.frame, fragment.ordinal)));
        let mut pieced = Vec::new();
        let mut found = Found::default();
        let mut frame = None;
        while let Some(fragment) = fresh.pop() {
            if frame.is_some_and(|frame| frame < fragment.frame) && decoder.owned() >= limit {
                fresh.push(fragment);
                self.add(fresh);
                return (pieced, frame);
            }
            frame = Some(fragment.frame);
            let taken = if fragment.is_whole {
                Some(Ok(Datagram::of_whole(fragment, source)))
            } else {
                self.take_up(fragment, source, &mut ledger)
            };
            match taken {
                Some(Ok(datagram)) => {
                    found.ordinal = if datagram.sole { 0 } else { PIECED_ORDINAL };
                    decoder.datagram(&datagram, &mut found);
                    fresh.extend(found.fragments.drain(..).rev());
                    pieced.extend(found.segments.drain(..).map(|segment| Pieced {
                        segment,
                        frames: Arc::clone(&datagram.frames),
                    }));
                }
                Some(Err(refused)) => decoder.refused(refused),
                None => {}
            }
        }
        (pieced, None)
    }

    /// A list is whole after every change, so a panic elsewhere does not spoil it.
    fn whole(&self) -> MutexGuard<'_, Vec<Fragment>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_up(
        &self,
        fragment: Fragment,
        source: &(impl PayloadSource + ?Sized),
        ledger: &mut Ledger,
    ) -> Option<Result<Datagram, Refused>> {
        let stats = &mut ledger.stats;
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
            ledger.let_go(&mut slot.held);
        }
        let owned = fragment.payload.owned_len();
        if ledger.owned + owned > MAX_HELD_BYTES {
            ledger.stats.over_limit += 1;
            ledger.let_go(&mut slot.held);
            return None;
        }
        ledger.owned += owned;
        let assembly = slot.held.get_or_insert_with(|| {
            let key = &fragment.key;
            let receiver = ip_addr(key.destination, key.version);
            ledger.begun += 1;
            Assembly::new(&fragment, ledger.begun, self.policies.of(receiver))
        });
        assembly.insert(&fragment, piece, &mut ledger.stats);
        if !assembly.is_complete() {
            return None;
        }
        let done = slot.held.take();
        ledger.owned -= done.as_ref().map_or(0, Assembly::owned);
        let empty = slot.is_empty();
        drop(slot);
        if empty {
            self.slots
                .remove_if(&fragment.key, |_, slot| slot.is_empty());
        }
        done?.finish(fragment, source, &mut ledger.stats)
    }

    /// Gives up datagrams whose timeout has passed at `watermark`, and the oldest ones while more
    /// than [`MAX_HELD_FRAGMENTS`] fragments are held. To be called at fixed frames of the input,
    /// after [`FragmentTable::complete`] for the same frame.
    pub fn sweep(&self, watermark: Timestamp) {
        self.sweep_to(watermark, MAX_HELD_FRAGMENTS);
    }

    fn sweep_to(&self, watermark: Timestamp, limit: usize) {
        let (timeout, mut ledger) = (self.timeout, self.lock());
        let mut held = 0;
        let mut ages = Vec::new();
        self.slots.retain(|key, slot| {
            if let Some(assembly) = &slot.held {
                if assembly.is_stale(watermark, timeout) {
                    ledger.stats.timed_out += 1;
                    ledger.let_go(&mut slot.held);
                } else {
                    held += assembly.len();
                    ages.push((assembly.begun(), assembly.len(), key.clone()));
                }
            }
            !slot.is_empty()
        });
        if held <= limit {
            return;
        }
        // No two are equal: first fragments may share frame and place, where one frame completes several
        // datagrams that hold fragments.
        ages.sort_unstable_by_key(|(begun, ..)| *begun);
        for (_, pieces, key) in ages {
            if held <= limit {
                break;
            }
            held -= pieces;
            ledger.stats.over_limit += 1;
            self.slots.alter(&key, |_, mut slot| {
                ledger.let_go(&mut slot.held);
                slot
            });
            self.slots.remove_if(&key, |_, slot| slot.is_empty());
        }
    }

    /// The counts so far.
    pub fn stats(&self) -> FragmentStats {
        self.lock().stats
    }

    /// Counters cannot be left half-changed, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the input: what is still incomplete stays so.
    pub fn finish(self) -> FragmentStats {
        let incomplete = self.slots.iter().filter(|slot| !slot.is_empty()).count();
        let mut stats = self.stats();
        stats.incomplete_at_end += incomplete as u64;
        stats
    }
}

impl Datagram {
    /// A packet that came in one piece.
    fn of_whole(packet: Fragment, source: &(impl PayloadSource + ?Sized)) -> Datagram {
        Datagram {
            bytes: packet.payload.bytes(source).into(),
            key: packet.key,
            frame: packet.frame,
            ts: packet.ts,
            watermark: packet.watermark,
            sole: packet.sole,
            has_final_addresses: packet.has_final_addresses,
            depth: packet.depth,
            protocol: packet.protocol,
            header_len: packet.header_len,
            truncated: packet.missing,
            frames: packet.frames,
        }
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
    /// What its first segment gets.
    ordinal: u32,
}

impl DecodeSink for Found {
    fn segment(&mut self, segment: Segment) {
        let ordinal = self.ordinal;
        self.segments.push(Segment { ordinal, ..segment });
    }

    fn fragment(&mut self, fragment: Fragment) {
        self.fragments.push(fragment);
    }
}

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
