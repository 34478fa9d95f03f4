//! The flows of one shard: found by key, and in the order of their last segment.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use super::connection::{Connection, Phase};
use crate::model::{FlowKey, Timestamp};

/// Which timeout a flow is under. Each class is a list in the order of last segments, so the flow
/// to expire next is always at its front.
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
            Phase::Open => TimerClass::Open,
            Phase::Finished | Phase::Reset => TimerClass::Closed,
        }
    }
}

/// No slot.
const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    flow: Connection,
    hash: u64,
    /// Watermark at the last segment.
    seen: Timestamp,
    class: TimerClass,
    earlier: u32,
    later: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    front: u32,
    back: u32,
}

/// A slot's number, valid until the flow is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotId(u32);

/// The flows of one shard.
#[derive(Debug)]
pub(super) struct FlowTable {
    index: HashTable<u32>,
    /// Seeded at random: keys are chosen by attackers. Nothing iterates the table, so the seed
    /// never shows in the output.
    hasher: RandomState,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    lists: [List; 3],
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

/// Memory that one flow costs in the table, bytes.
pub(super) const FLOW_BYTES: usize = size_of::<Option<Slot>>() + 2 * size_of::<u32>();

impl Default for FlowTable {
    fn default() -> FlowTable {
        FlowTable {
            index: HashTable::new(),
            hasher: RandomState::default(),
            slots: Vec::new(),
            free: Vec::new(),
            lists: [List {
                front: NIL,
                back: NIL,
            }; 3],
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
        let same = |&at: &u32| self.slot(at).is_some_and(|slot| slot.flow.key == *key);
        self.index.find(hash, same).copied().map(SlotId)
    }

    /// All flows, by id and slot, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, SlotId)> + '_ {
        (0..).zip(&self.slots).filter_map(|(at, slot)| {
            let flow_id = slot.as_ref()?.flow.flow_id;
            Some((flow_id, SlotId(at)))
        })
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
        let class = TimerClass::of(flow.phase);
        let slot = Slot {
            flow,
            hash,
            seen,
            class,
            earlier: NIL,
            later: NIL,
        };
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(slot);
            at
        } else {
            let at = u32::try_from(self.slots.len()).unwrap_or(NIL);
            self.slots.push(Some(slot));
            at
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |&at| {
            slots[at as usize].as_ref().map_or(0, |slot| slot.hash)
        });
        self.link(at, class);
        SlotId(at)
    }

    /// The flow in a slot.
    pub(super) fn get(&mut self, id: SlotId) -> Option<&mut Connection> {
        self.slots
            .get_mut(id.0 as usize)?
            .as_mut()
            .map(|slot| &mut slot.flow)
    }

    /// Watermark at the flow's last segment.
    pub(super) fn seen(&self, id: SlotId) -> Timestamp {
        self.slot(id.0).map_or(Timestamp::NONE, |slot| slot.seen)
    }

    /// Moves a flow to the back of the list of its class.
    pub(super) fn touch(&mut self, id: SlotId, seen: Timestamp) {
        self.unlink(id.0);
        let Some(slot) = self.slot_mut(id.0) else {
            return;
        };
        slot.seen = seen;
        slot.class = TimerClass::of(slot.flow.phase);
        let class = slot.class;
        self.link(id.0, class);
    }

    /// Takes a flow out.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<Connection> {
        self.unlink(id.0);
        let slot = self.slots.get_mut(id.0 as usize)?.take()?;
        if let Ok(entry) = self.index.find_entry(slot.hash, |&at| at == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
        Some(slot.flow)
    }

    /// The flow of this class that has been silent for longest, and since when.
    pub(super) fn longest_idle(&self, class: TimerClass) -> Option<(SlotId, Timestamp)> {
        let front = self.lists[class as usize].front;
        self.slot(front).map(|slot| (SlotId(front), slot.seen))
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    fn link(&mut self, at: u32, class: TimerClass) {
        let back = std::mem::replace(&mut self.lists[class as usize].back, at);
        match self.slot_mut(back) {
            Some(slot) => slot.later = at,
            None => self.lists[class as usize].front = at,
        }
        if let Some(slot) = self.slot_mut(at) {
            (slot.earlier, slot.later) = (back, NIL);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slot(at) else { return };
        let (class, earlier, later) = (slot.class as usize, slot.earlier, slot.later);
        match self.slot_mut(earlier) {
            Some(slot) => slot.later = later,
            None => self.lists[class].front = later,
        }
        match self.slot_mut(later) {
            Some(slot) => slot.earlier = earlier,
            None => self.lists[class].back = earlier,
        }
    }
}
