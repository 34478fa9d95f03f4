//! The pure core: segments in, stream events out. No IO, no clock, no threads.
//!
//! A [`Reassembler`] owns the flows of one shard. It is given segments in capture order and tells
//! an [`EventSink`] where bytes go, which are missing, and what is known of each flow at its end.
//! Time comes with the segments: every decision depends on them alone.

mod analysis;
mod assembler;
mod candidate;
mod conn_state;
mod connection;
pub mod event;
mod flow_table;
mod half;
mod half_stream;
mod held;
mod history;
mod identity;
mod layout;
mod mirror;
mod notes;
mod overlap;
mod ranges;
mod record;
mod seldom;
mod service_ports;
mod syns;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timers;
mod unseen;

pub use overlap::OverlapPolicy;

use crate::config::{ReassemblyConfig, Timeouts};
use crate::model::{Encapsulation, EndReason, FrameRef, PayloadSource, Segment, Side, Timestamp};
use candidate::{Candidate, HeldSyn, MOST_CANDIDATES};
use connection::{Connection, Phase, Surroundings};
use event::EventSink;
use flow_table::{FLOW_BYTES, FlowTable, SlotId, TimerClass};
use identity::{Relation, relation};
use notes::Notes;

/// Repetitions of a SYN that wait with it to be answered; a SYN is retried five or six times.
const CANDIDATE_SEGMENTS: usize = 8;

/// No time is later.
const FOREVER: Timestamp = Timestamp::from_ns(i64::MAX);

/// What a reassembler did beyond its flows' own rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReassemblyStats {
    /// Flows ended by the memory budget.
    pub evicted: u64,
    /// Most flows held at once.
    pub peak_flows: u64,
    /// Most bytes of state held at once.
    pub peak_memory: u64,
    /// RSTs and FINs that closed nothing because they lie where the peer would not believe them.
    pub implausible_ends: u64,
    /// SYNs inside live connections that nobody answered and that the connection outlived.
    pub stray_syns: u64,
    /// Segments that a mirror port or a second tap delivered once more; they count as what they look
    /// like, retransmissions, everywhere else.
    pub mirror_copies: u64,
    /// Segments taken.
    pub segments: u64,
    /// Payload bytes captured in them.
    pub payload_bytes: u64,
}

/// A segment, and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// What its encapsulation number refers to.
    pub encapsulation: &'a Encapsulation,
    /// The frames that carried it, to be told to the sink; empty if that does not want them.
    pub frames: &'a [FrameRef],
}

/// The flows of one shard.
#[derive(Debug)]
pub struct Reassembler {
    config: ReassemblyConfig,
    table: FlowTable,
    /// Bytes of state beyond the table's own slots.
    memory: usize,
    stats: ReassemblyStats,
    /// The flows that are still open at the end, by falling id.
    ending: Option<Vec<(u64, SlotId)>>,
}

impl Reassembler {
    /// A reassembler without flows.
    pub fn new(config: ReassemblyConfig) -> Reassembler {
        Reassembler {
            config,
            table: FlowTable::default(),
            memory: 0,
            stats: ReassemblyStats::default(),
            ending: None,
        }
    }

    /// What it did so far.
    pub const fn stats(&self) -> ReassemblyStats {
        self.stats
    }

    /// Takes the next segment in capture order.
    pub fn segment(
        &mut self,
        arrival: Arrival<'_>,
        source: &dyn PayloadSource,
        sink: &mut dyn EventSink,
    ) {
        let (segment, around) = (
            arrival.segment,
            &mut surroundings(&self.config, source, sink),
        );
        self.stats.segments += 1;
        self.stats.payload_bytes += u64::from(segment.payload.len());
        match self.table.find(&segment.key) {
            None => self.begin(arrival, around),
            Some(slot) => self.continue_key(slot, arrival, around),
        }
        self.keep_within_budget(around);
    }

    /// Ends the flows whose timeout has passed at `watermark`.
    pub fn sweep(
        &mut self,
        watermark: Timestamp,
        source: &dyn PayloadSource,
        sink: &mut dyn EventSink,
    ) {
        let around = &mut surroundings(&self.config, source, sink);
        let Some(now) = watermark.ns() else { return };
        for class in TimerClass::ALL {
            let limit = timeout(&self.config.timeouts, class);
            // Silent for longer than the limit.
            let bound = Timestamp::from_ns(now.saturating_sub(limit).saturating_sub(1));
            while let Some((slot, seen)) = self.table.silent_since(class, bound) {
                if seen == Timestamp::NONE {
                    // Last heard of before any frame had a time: it is silent from now on.
                    self.table.touch(slot, watermark);
                } else {
                    self.end(slot, timeout_reason(class), around);
                }
            }
        }
    }

    /// Ids of the flows that are open, in no order.
    pub fn open_flows(&self) -> impl Iterator<Item = u64> + '_ {
        self.table.iter().map(|(flow_id, _)| flow_id)
    }

    /// Ends the flows with ids below `bound` (and what a SYN inside one of them began). Those whose
    /// timeout has passed at `watermark` end by it, the others for `reason`. To be called when there
    /// are no more segments, with rising bounds, the last of them [`u64::MAX`].
    pub fn finish_before(
        &mut self,
        bound: u64,
        watermark: Timestamp,
        reason: EndReason,
        source: &dyn PayloadSource,
        sink: &mut dyn EventSink,
    ) {
        let around = &mut surroundings(&self.config, source, sink);
        let mut open = self.ending.take().unwrap_or_else(|| {
            let mut open: Vec<_> = self.table.iter().collect();
            open.sort_unstable_by_key(|&(flow_id, _)| std::cmp::Reverse(flow_id));
            open
        });
        while let Some((_, slot)) = open.pop_if(|(flow_id, _)| *flow_id < bound) {
            let seen = self.table.seen(slot);
            let Some(flow) = self.table.get(slot) else {
                continue;
            };
            let class = TimerClass::of(flow.phase);
            let reason = if self.is_expired(class, seen, watermark) {
                timeout_reason(class)
            } else {
                reason
            };
            self.end(slot, reason, around);
        }
        self.ending = Some(open);
    }

    fn continue_key(&mut self, slot: SlotId, arrival: Arrival<'_>, around: &mut Surroundings<'_>) {
        let segment = arrival.segment;
        let seen = self.table.seen(slot);
        let Some(flow) = self.table.get(slot) else {
            return;
        };
        let (class, relation) = (TimerClass::of(flow.phase), relation(flow, segment));
        if self.is_expired(class, seen, segment.watermark) {
            self.end(slot, timeout_reason(class), around);
            self.begin(arrival, around);
            return;
        }
        match relation {
            Relation::Same => self.feed(slot, arrival, around),
            Relation::New => {
                self.end(slot, EndReason::Reuse, around);
                self.begin(arrival, around);
            }
            Relation::Candidate => self.hold(slot, arrival, around),
            Relation::Answer(which) => {
                self.split(slot, which, Some(arrival), around);
            }
        }
    }

    /// Begins a flow with a segment.
    fn begin(&mut self, arrival: Arrival<'_>, around: &mut Surroundings<'_>) {
        let segment = arrival.segment;
        let tuple_seq = self.table.uses(&segment.key).saturating_add(1);
        let flow = self.connection(arrival, tuple_seq);
        let slot = self.table.insert(flow, segment.watermark);
        self.feed(slot, arrival, around);
    }

    /// A flow that begins with a segment, which it does not take yet.
    fn connection(&self, arrival: Arrival<'_>, tuple_seq: u32) -> Connection {
        // Who chooses between copies is the receiver.
        let policies = [Side::Lower, Side::Upper].map(|sender| {
            self.config
                .overlap
                .of(arrival.segment.key.ip(sender.other()))
        });
        Connection::new(arrival.segment, arrival.encapsulation, tuple_seq, policies)
    }

    /// Gives a flow its segment.
    fn feed(&mut self, slot: SlotId, arrival: Arrival<'_>, around: &mut Surroundings<'_>) {
        let Some(flow) = self.table.get(slot) else {
            return;
        };
        flow.segment(arrival.segment, arrival.frames, around);
        self.memory = self.memory.saturating_add_signed(flow.grown());
        self.table.touch(slot, arrival.segment.watermark);
    }

    /// Keeps a SYN that may begin another flow, until something tells.
    #[cold]
    #[inline(never)]
    fn hold(&mut self, slot: SlotId, arrival: Arrival<'_>, around: &mut Surroundings<'_>) {
        let segment = arrival.segment;
        let Some(flow) = self.table.get(slot) else {
            return;
        };
        let candidates = flow.candidates.get_mut();
        let repeated = candidates
            .iter_mut()
            .find(|candidate| candidate.is_repeated_by(segment));
        if let Some(candidate) = repeated {
            if candidate.segments.len() < CANDIDATE_SEGMENTS {
                candidate.segments.push(HeldSyn::new(arrival));
            } else {
                self.stats.stray_syns += 1;
                take_strays(flow, &[HeldSyn::new(arrival)], around);
            }
        } else if candidates.len() < MOST_CANDIDATES {
            candidates.push(Candidate {
                segments: vec![HeldSyn::new(arrival)],
                contradicted: false,
            });
        } else if flow.phase == Phase::Opening {
            // So many attempts: the first of them was not answered.
            self.memory = self.memory.saturating_add_signed(flow.grown());
            if let Some(slot) = self.split(slot, 0, None, around) {
                self.hold(slot, arrival, around);
            }
            return;
        } else {
            // The oldest was never answered.
            let displaced = candidates.remove(0);
            candidates.push(Candidate {
                segments: vec![HeldSyn::new(arrival)],
                contradicted: false,
            });
            self.stats.stray_syns += displaced.segments.len() as u64;
            take_strays(flow, &displaced.segments, around);
        }
        self.memory = self.memory.saturating_add_signed(flow.grown());
        self.table.touch(slot, segment.watermark);
    }

    /// A candidate was answered: the old flow and the attempts between ended before it, and a new flow began with it.
    /// Those that came after it wait on.
    #[cold]
    #[inline(never)]
    fn split(
        &mut self,
        slot: SlotId,
        which: usize,
        answer: Option<Arrival<'_>>,
        around: &mut Surroundings<'_>,
    ) -> Option<SlotId> {
        let flow = self.table.get(slot)?;
        let candidates = flow.candidates.get_mut();
        let mut later = candidates.split_off(which.min(candidates.len()));
        self.memory = self.memory.saturating_add_signed(flow.grown());
        let seen = self.table.seen(slot);
        self.end(slot, EndReason::Reuse, around);
        if later.is_empty() {
            return None;
        }
        let candidate = later.remove(0);
        let syn = candidate.segments.first()?;
        let tuple_seq = self.table.uses(&syn.segment.key).saturating_add(1);
        let mut flow = self.connection(syn.arrival(), tuple_seq);
        if !later.is_empty() {
            *flow.candidates.get_mut() = later;
        }
        let seen = answer.map_or(seen, |answer| answer.segment.watermark);
        let slot = self.table.insert(flow, seen);
        let flow = self.table.get(slot)?;
        take_strays(flow, &candidate.segments, around);
        self.memory = self.memory.saturating_add_signed(flow.grown());
        self.table.touch(slot, seen);
        if let Some(answer) = answer {
            self.feed(slot, answer, around);
        }
        Some(slot)
    }

    /// Ends a flow. A candidate that nothing contradicted was an attempt of its own; any other
    /// was a stray of this flow, and so was one that repeated its own SYN.
    #[inline(never)]
    fn end(&mut self, slot: SlotId, reason: EndReason, around: &mut Surroundings<'_>) {
        let Some(flow) = self.table.get(slot) else {
            return;
        };
        self.memory = self.memory.saturating_sub(flow.counted_memory());
        let candidates = flow.candidates.changed_mut().map(std::mem::take);
        let (strays, attempts): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .flatten()
            .partition(|candidate| candidate.contradicted || flow.has_sent_syn(candidate.syn()));
        for stray in strays {
            self.stats.stray_syns += stray.segments.len() as u64;
            take_strays(flow, &stray.segments, around);
        }
        self.stats.implausible_ends += flow.implausible_ends;
        self.stats.mirror_copies += flow.mirror_copies;
        let (key, mut tuple_seq) = (flow.key, flow.tuple_seq);
        let own_reason = if attempts.is_empty() {
            reason
        } else {
            EndReason::Reuse
        };
        record::finish(flow, own_reason, around);
        self.table.remove(slot);
        let last = attempts.len();
        for (number, attempted) in (1..).zip(attempts) {
            let Some(syn) = attempted.segments.first() else {
                continue;
            };
            tuple_seq = tuple_seq.saturating_add(1);
            let mut attempt = self.connection(syn.arrival(), tuple_seq);
            take_strays(&mut attempt, &attempted.segments, around);
            self.stats.mirror_copies += attempt.mirror_copies;
            let unanswered = match reason {
                _ if number < last => EndReason::Reuse,
                EndReason::Idle => EndReason::HandshakeTimeout,
                other => other,
            };
            record::finish(&mut attempt, unanswered, around);
        }
        self.table.remember(&key, tuple_seq);
    }

    /// Evicts the flows that have been silent for longest while the budget is exceeded.
    fn keep_within_budget(&mut self, around: &mut Surroundings<'_>) {
        loop {
            let bytes = (self.memory + self.table.len() * FLOW_BYTES) as u64;
            self.stats.peak_memory = self.stats.peak_memory.max(bytes);
            self.stats.peak_flows = self.stats.peak_flows.max(self.table.len() as u64);
            if bytes <= self.config.shard_memory {
                return;
            }
            let oldest = TimerClass::ALL
                .into_iter()
                .filter_map(|class| self.table.silent_since(class, FOREVER))
                .min_by_key(|&(_, seen)| seen);
            let Some((slot, _)) = oldest else { return };
            self.stats.evicted += 1;
            self.end(slot, EndReason::Evicted, around);
        }
    }

    fn is_expired(&self, class: TimerClass, seen: Timestamp, watermark: Timestamp) -> bool {
        let limit = timeout(&self.config.timeouts, class);
        watermark.since(seen).is_some_and(|silent| silent > limit)
    }
}

/// Gives a flow SYNs that waited.
fn take_strays(flow: &mut Connection, strays: &[HeldSyn], around: &mut Surroundings<'_>) {
    // They say nothing about SYNs that still wait.
    let waiting = flow.candidates.changed_mut().map(std::mem::take);
    for syn in strays {
        flow.segment(&syn.segment, &syn.frames, around);
    }
    if let Some(waiting) = waiting {
        *flow.candidates.get_mut() = waiting;
    }
}

fn surroundings<'a>(
    config: &ReassemblyConfig,
    source: &'a dyn PayloadSource,
    sink: &'a mut dyn EventSink,
) -> Surroundings<'a> {
    Surroundings {
        source,
        sink,
        max_gap: config.max_gap,
        depth: config.max_stream_bytes,
        notes: Notes {
            wants_fates: config.segments,
            ..Notes::default()
        },
    }
}

const fn timeout(timeouts: &Timeouts, class: TimerClass) -> i64 {
    match class {
        TimerClass::Opening => timeouts.handshake,
        TimerClass::Open => timeouts.idle,
        TimerClass::Closed => timeouts.close_linger,
    }
}

/// Why a flow of this class ends when its time is up; a closed one keeps its own reason.
const fn timeout_reason(class: TimerClass) -> EndReason {
    match class {
        TimerClass::Opening => EndReason::HandshakeTimeout,
        TimerClass::Open | TimerClass::Closed => EndReason::Idle,
    }
}
