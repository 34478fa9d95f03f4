//! A SYN that may begin another connection than the one whose addresses and ports it has.

use super::Arrival;
use crate::model::{Encapsulation, FrameRef, Segment, Tunnel};

/// A SYN that waits, with what belongs to it.
#[derive(Debug)]
pub(super) struct HeldSyn {
    pub segment: Segment,
    pub encapsulation: Encapsulation,
    pub frames: Box<[FrameRef]>,
}

impl HeldSyn {
    /// Keeps what has arrived.
    pub(super) fn new(arrival: Arrival<'_>) -> HeldSyn {
        HeldSyn {
            segment: arrival.segment.clone(),
            encapsulation: arrival.encapsulation.clone(),
            frames: arrival.frames.into(),
        }
    }

    /// The same as when it arrived.
    pub(super) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            segment: &self.segment,
            encapsulation: &self.encapsulation,
            frames: &self.frames,
        }
    }
}

/// Different SYNs that wait at a time on one key. A choice: honest hosts leave one, and a scan with a fixed port is told
/// attempt by attempt.
pub(super) const MOST_CANDIDATES: usize = 8;

/// A SYN that may begin another connection, waiting to be answered or disproved.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The SYN and its repetitions.
    pub segments: Vec<HeldSyn>,
    /// Segments of the old connection that came after it.
    pub contradicted: bool,
}

impl Candidate {
    /// Memory that it takes, bytes.
    pub(super) fn memory(&self) -> usize {
        let held = self.segments.iter().map(|held| {
            held.segment.payload.owned_len()
                + held.frames.len() * size_of::<FrameRef>()
                + held.encapsulation.tunnels.capacity() * size_of::<Tunnel>()
        });
        self.segments.capacity() * size_of::<HeldSyn>() + held.sum::<usize>()
    }

    /// Whether the segment is its SYN once more.
    pub(super) fn is_repeated_by(&self, segment: &Segment) -> bool {
        self.segments
            .first()
            .is_some_and(|HeldSyn { segment: syn, .. }| {
                syn.seq == segment.seq && syn.from == segment.from
            })
    }

    /// Its SYN.
    pub(super) fn syn(&self) -> Option<&Segment> {
        self.segments.first().map(|held| &held.segment)
    }
}
