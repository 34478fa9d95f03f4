//! The flows of one shard: found by key, and by how long they have been silent.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use super::connection::{Connection, Phase};
use super::timers::{Entry, Timers};
use crate::model::{Blocks, FlowKey, Timestamp};

/// Which timeout a flow is under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimerClass {
    /// Nothing but SYNs and their answers so far.
    Opening,
    /// Established or half-closed.
    Open,
    /// Closed, waiting for strays.
    Closed,
}

impl TimerClass {
    /// All classes.
    pub(super) const ALL: [TimerClass; 3] =
        [TimerClass::Opening, TimerClass::Open, TimerClass::Closed];

    /// The class of a flow in this phase.
    pub(super) const fn of(phase: Phase) -> TimerClass {
        match phase {
            Phase::Opening => TimerClass::Opening,
            Phase::Open | Phase::Challenged => TimerClass::Open,
            Phase::Finished | Phase::Reset => TimerClass::Closed,
        }
    }
}

/// What is looked at for flows that no segment is for, so that these stay out of the cache.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Of the flow's key.
    hash: u64,
    /// Watermark at the last segment.
    seen: Timestamp,
    /// How many flows have been in the slot.
    generation: u32,
    /// `None` where the slot is free.
    class: Option<TimerClass>,
    /// Classes that hold an entry for it, a bit each: a flow may come back to a class that it has left.
    entered: u8,
}

/// A slot's number, valid until the flow is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotId(u32);

/// The flows of one shard.
#[derive(Debug)]
pub(super) struct FlowTable {
    /// Numbers of slots, by key.
    index: HashTable<u32>,
    /// Seeded at random: keys are chosen by attackers. Nothing iterates the table, so the seed
    /// never shows in the output.
    hasher: RandomState,
    heads: Vec<Head>,
    flows: Slots,
    free: Vec<u32>,
    timers: [Timers; 3],
    remembered: Remembered,
}

/// How many ended flows a shard remembers the keys of, to go on counting when one is used again:
/// a million over all shards, for 24 MB at most. Beyond it the oldest are forgotten.
const REMEMBERED: usize = 1 << 14;

/// How often keys were used by flows that have ended, by the hash of the key.
#[derive(Debug, Default)]
struct Remembered {
    counts: HashMap<u64, u32, RandomState>,
    /// In the order in which keys were first remembered.
    order: VecDeque<u64>,
}

impl Remembered {
    fn set(&mut self, hash: u64, count: u32) {
        if self.counts.insert(hash, count).is_some() {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
    }
}

/// Memory that one flow costs in the table, bytes: itself, two numbers of its slot, and an entry for
/// each of the two classes that most flows come through.
pub(super) const FLOW_BYTES: usize = size_of::<Option<Connection>>()
    + size_of::<Head>()
    + 2 * size_of::<u32>()
    + 2 * size_of::<Entry>();

/// Flows by slot. A flow has the size of many cache lines: it stays where it is. 32 of them are a block.
type Slots = Blocks<Option<Connection>, 32>;

impl Default for FlowTable {
    fn default() -> FlowTable {
        FlowTable {
            index: HashTable::new(),
            hasher: RandomState::default(),
            heads: Vec::new(),
            flows: Slots::default(),
            free: Vec::new(),
            timers: Default::default(),
            remembered: Remembered::default(),
        }
    }
}

impl FlowTable {
    /// Flows in the table.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The flow with this key.
    pub(super) fn find(&self, key: &FlowKey) -> Option<SlotId> {
        let hash = self.hasher.hash_one(key);
        let same = |&at: &u32| {
            let flow = self.flows.get(at as usize).and_then(Option::as_ref);
            flow.is_some_and(|flow| flow.key == *key)
        };
        self.index.find(hash, same).copied().map(SlotId)
    }

    /// All flows, by id and slot, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, SlotId)> + '_ {
        let flows = self.flows.iter();
        (0..)
            .zip(flows)
            .filter_map(|(at, flow)| Some((flow.as_ref()?.flow_id, SlotId(at))))
    }

    /// How many flows on this key have ended.
    pub(super) fn uses(&self, key: &FlowKey) -> u32 {
        let hash = self.hasher.hash_one(key);
        self.remembered.counts.get(&hash).copied().unwrap_or(0)
    }

    /// Remembers that so many flows on this key have ended.
    pub(super) fn remember(&mut self, key: &FlowKey, uses: u32) {
        self.remembered.set(self.hasher.hash_one(key), uses);
    }

    /// Adds a flow; the caller knows that its key is not there.
    pub(super) fn insert(&mut self, flow: Connection, seen: Timestamp) -> SlotId {
        let hash = self.hasher.hash_one(flow.key);
        let head = Head {
            hash,
            seen,
            generation: 0,
            class: None,
            entered: 0,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.heads.push(head);
            u32::try_from(self.heads.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(known) = self.heads.get_mut(at as usize) {
            let generation = known.generation.wrapping_add(1);
            *known = Head { generation, ..head };
        }
        match self.flows.get_mut(at as usize) {
            Some(free) => *free = Some(flow),
            None => self.flows.push(Some(flow)),
        }
        let heads = &self.heads;
        self.index
            .insert_unique(hash, at, |&at| heads.get(at as usize).map_or(0, |h| h.hash));
        let id = SlotId(at);
        self.touch(id, seen);
        id
    }

    /// The flow in a slot.
    pub(super) fn get(&mut self, id: SlotId) -> Option<&mut Connection> {
        self.flows.get_mut(id.0 as usize)?.as_mut()
    }

    /// Watermark at the flow's last segment.
    pub(super) fn seen(&self, id: SlotId) -> Timestamp {
        let head = self.heads.get(id.0 as usize);
        head.map_or(Timestamp::NONE, |head| head.seen)
    }

    /// Notes that a segment of the flow came.
    pub(super) fn touch(&mut self, id: SlotId, seen: Timestamp) {
        let flow = self.flows.get(id.0 as usize).and_then(Option::as_ref);
        let (Some(head), Some(flow)) = (self.heads.get_mut(id.0 as usize), flow) else {
            return;
        };
        head.seen = seen;
        let class = TimerClass::of(flow.phase);
        if head.class != Some(class) {
            head.class = Some(class);
            let bit = 1 << class as u8;
            if head.entered & bit == 0 {
                head.entered |= bit;
                self.timers[class as usize].add(Entry {
                    seen,
                    slot: id.0,
                    generation: head.generation,
                });
            }
        }
    }

    /// Forgets the flow in a slot.
    pub(super) fn remove(&mut self, id: SlotId) {
        let place = self.flows.get_mut(id.0 as usize);
        let place = place.filter(|place| place.is_some());
        let (Some(place), Some(head)) = (place, self.heads.get_mut(id.0 as usize)) else {
            return;
        };
        *place = None;
        head.class = None;
        if let Ok(entry) = self.index.find_entry(head.hash, |&at| at == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
    }

    /// The flow of this class that has been silent for longest, if it has been since `bound` or before,
    /// and since when.
    pub(super) fn silent_since(
        &mut self,
        class: TimerClass,
        bound: Timestamp,
    ) -> Option<(SlotId, Timestamp)> {
        let timers = &mut self.timers[class as usize];
        loop {
            let entry = timers.first().filter(|entry| entry.seen <= bound)?;
            let head = self.heads.get_mut(entry.slot as usize)?;
            let is_current = head.generation == entry.generation && head.class == Some(class);
            if is_current && head.seen == entry.seen {
                return Some((SlotId(entry.slot), entry.seen));
            }
            timers.pop();
            if is_current {
                let seen = head.seen;
                timers.add(Entry { seen, ..entry });
            } else if head.generation == entry.generation {
                head.entered &= !(1 << class as u8);
            }
        }
    }
}
