//! Where one flow ends and the next on the same addresses and ports begins.

use super::connection::{Connection, Phase};
use super::half::Half;
use crate::model::Segment;
use crate::model::seq::distance;

/// A SYN may be captured after data that follows it by at most one unscaled window, the most that
/// can be under way before the handshake is over (RFC 7323, 2.2: a SYN's window is never scaled).
const REORDERED_SYN: i32 = 0xffff;

/// What a segment is to the flow that holds its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    /// It belongs to it.
    Same,
    /// It begins a new flow.
    New,
    /// A SYN or SYN-ACK inside a live connection: a new flow if it is answered, else an anomaly of this one.
    Candidate,
    /// It answers the candidate: the new flow began with the candidate.
    Answer,
}

/// Tells what `segment` is to `flow`.
pub(super) fn relation(flow: &Connection, segment: &Segment) -> Relation {
    let flags = segment.flags;
    if flags.rst() {
        return if answers_candidate(flow, segment) {
            Relation::Answer
        } else {
            Relation::Same
        };
    }
    match (flags.syn(), flags.ack()) {
        (true, false) => of_syn(flow, segment),
        (true, true) => of_syn_ack(flow, segment),
        _ => of_other(flow, segment),
    }
}

/// Whether the segment is what the peer says to the candidate: a SYN-ACK or RST that acknowledges
/// exactly it, or the candidate's own side going on after it.
fn answers_candidate(flow: &Connection, segment: &Segment) -> bool {
    let Some(syn) = flow.candidate.as_ref().and_then(|c| c.segments.first()) else {
        return false;
    };
    let syn = &syn.segment;
    let next = syn.seq.wrapping_add(1);
    if segment.from == syn.from {
        let near_old = flow
            .half(segment.from)
            .stream
            .is_near(segment.seq, flow.window_of(segment.from.other()));
        !segment.flags.syn() && segment.seq == next && !near_old
    } else {
        segment.flags.ack() && segment.ack == next
    }
}

fn of_syn(flow: &Connection, segment: &Segment) -> Relation {
    let (own, peer) = (flow.half(segment.from), flow.half(segment.from.other()));
    match own.syn {
        Some(syn) if syn.isn == segment.seq => Relation::Same,
        _ if flow.phase.is_closed() && repeats_candidate(flow, segment) => Relation::Answer,
        _ if flow.phase.is_closed() => Relation::New,
        // A handshake that did not complete is begun anew.
        Some(_) if flow.phase == Phase::Opening => Relation::New,
        None if fits_without_syn(own, peer, segment) => Relation::Same,
        // This side has shown no number of its own for the SYN to contradict: the SYN is the
        // better evidence of what follows.
        None => Relation::New,
        Some(_) => Relation::Candidate,
    }
}

/// Whether the segment is the candidate's SYN once more.
fn repeats_candidate(flow: &Connection, segment: &Segment) -> bool {
    flow.candidate
        .as_ref()
        .is_some_and(|candidate| candidate.is_repeated_by(segment))
}

/// A SYN from a side whose SYN was not seen yet: its own handshake, captured late or a
/// simultaneous open?
fn fits_without_syn(own: &Half, peer: &Half, segment: &Segment) -> bool {
    let first = segment.seq.wrapping_add(1);
    if let Some(begin) = own.stream.head_seq().or(own.stream.origin()) {
        return (0..=REORDERED_SYN).contains(&distance(first, begin));
    }
    match peer.last_ack {
        Some(ack) => (0..=REORDERED_SYN).contains(&distance(first, ack)),
        None => true,
    }
}

fn of_syn_ack(flow: &Connection, segment: &Segment) -> Relation {
    if answers_candidate(flow, segment) {
        return Relation::Answer;
    }
    let answers_this = |half: &Half| {
        half.syn
            .is_some_and(|syn| syn.isn.wrapping_add(1) == segment.ack)
    };
    match flow.half(segment.from).syn {
        Some(syn) if syn.isn == segment.seq => Relation::Same,
        // However closed it seems: a forged RST may come before the true answer.
        _ if answers_this(flow.half(segment.from.other())) => Relation::Same,
        _ if flow.phase.is_closed() => Relation::New,
        // Another connection whose SYN was not captured, if what follows goes on from here.
        Some(_) => Relation::Candidate,
        None => Relation::Same,
    }
}

fn of_other(flow: &Connection, segment: &Segment) -> Relation {
    if answers_candidate(flow, segment) {
        return Relation::Answer;
    }
    let own = flow.half(segment.from);
    let window = flow.window_of(segment.from.other());
    // Data that cannot be a stray belongs to a connection whose handshake was not captured.
    if flow.phase.is_closed()
        && segment.wire_len() > 0
        && !own.stream.may_be_stray(segment.seq, window)
    {
        return Relation::New;
    }
    Relation::Same
}
