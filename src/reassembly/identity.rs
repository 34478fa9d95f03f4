//! Where one flow ends and the next on the same addresses and ports begins.

use super::candidate::Candidate;
use super::connection::{Connection, Phase};
use super::half::Half;
use super::syns::first_of;
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
    /// A SYN or SYN-ACK that may begin another connection: a new flow if it is answered.
    Candidate,
    /// It answers the candidate of this number: the new flow began with that.
    Answer(usize),
}

/// Tells what `segment` is to `flow`.
pub(super) fn relation(flow: &Connection, segment: &Segment) -> Relation {
    if let Some(candidates) = flow.candidates.changed()
        && let Some(answered) = candidates
            .iter()
            .position(|candidate| is_answer(flow, candidate, segment))
    {
        return Relation::Answer(answered);
    }
    let flags = segment.flags;
    if flags.rst() {
        return Relation::Same;
    }
    match (flags.syn(), flags.ack()) {
        (true, false) => of_syn(flow, segment),
        (true, true) => of_syn_ack(flow, segment),
        _ => of_other(flow, segment),
    }
}

/// Whether the segment is what the peer says to the candidate, a SYN-ACK that acknowledges it or another segment
/// that acknowledges nothing else, or the candidate's own side going on after it where the old connection would not.
fn is_answer(flow: &Connection, candidate: &Candidate, segment: &Segment) -> bool {
    let Some(syn) = candidate.syn() else {
        return false;
    };
    let (own, peer) = (flow.half(syn.from), flow.half(syn.from.other()));
    let next = syn.seq.wrapping_add(1);
    let flags = segment.flags;
    let again = own.syns.chosen().is_some_and(|old| old.isn == syn.seq);
    if segment.from == syn.from {
        if flags.syn() || flags.rst() || segment.seq != next {
            return false;
        }
        if again {
            return flags.ack() && !peer.stream.knows_ack(segment.ack);
        }
        let near = own
            .stream
            .is_near(segment.seq, flow.window_of(segment.from.other()));
        let open = flow.phase != Phase::Opening && !own.stream.is_finished();
        // Where the peer is captured, it answers in a way that is plainer.
        let doubtful = near && open && (candidate.contradicted || peer.packets > 0);
        !doubtful
            && !own
                .stream
                .expects(segment.seq, own.syns.chosen().map(first_of))
    } else if flags.syn() {
        if !flags.ack() || !acknowledges(syn, segment.ack) {
            return false;
        }
        // The client begins with the same number, or its first SYN brought data up to there.
        let another = !peer.syns.has(segment.seq);
        if again || peer.syns.is_proven() {
            another
        } else {
            own.syns.chosen().is_none() || !flow.answers_syn(segment)
        }
    } else {
        flags.ack() && segment.ack == next && !again && !own.stream.knows_ack(segment.ack)
    }
}

/// Whether an acknowledgement is of a SYN, or of what was sent with it (RFC 7413, 4.2.2).
fn acknowledges(syn: &Segment, ack: u32) -> bool {
    let behind = distance(syn.seq.wrapping_add(1), ack);
    u32::try_from(behind).is_ok_and(|bytes| bytes <= syn.wire_len())
}

fn of_syn(flow: &Connection, segment: &Segment) -> Relation {
    let (own, peer) = (flow.half(segment.from), flow.half(segment.from.other()));
    match own.syns.chosen() {
        // A client that always begins with the same number begins anew if the server answers with another.
        Some(syn)
            if syn.isn == segment.seq && flow.phase.is_closed() && peer.syns.chosen().is_some() =>
        {
            Relation::Candidate
        }
        Some(_) if own.syns.has(segment.seq) => Relation::Same,
        None if comes_late(flow, own, peer, segment) => Relation::Same,
        _ if flow.phase.is_closed() => {
            repeated_candidate(flow, segment).map_or(Relation::New, Relation::Answer)
        }
        None if fits_without_syn(own, peer, segment) => Relation::Same,
        _ => Relation::Candidate,
    }
}

/// The candidate whose SYN the segment is once more.
fn repeated_candidate(flow: &Connection, segment: &Segment) -> Option<usize> {
    let mut candidates = flow.candidates.changed()?.iter();
    candidates.position(|candidate| candidate.is_repeated_by(segment))
}

/// Whether a SYN of a side that showed none belongs to a connection that is over already: it was processed late, by
/// another queue of the capture, and is exactly what the connection lacks, or was captured before its last segment.
fn comes_late(flow: &Connection, own: &Half, peer: &Half, segment: &Segment) -> bool {
    if !flow.phase.is_closed() {
        return false;
    }
    let first = segment.seq.wrapping_add(1);
    let exact = own.stream.begin() == Some(first) || peer.answered == Some(first);
    exact || (segment.ts < flow.last_ts && fits_without_syn(own, peer, segment))
}

/// A SYN from a side whose SYN was not seen yet: its own handshake, captured late or a
/// simultaneous open?
fn fits_without_syn(own: &Half, peer: &Half, segment: &Segment) -> bool {
    let first = segment.seq.wrapping_add(1);
    let fits = |number| (0..=REORDERED_SYN).contains(&distance(first, number));
    match (own.stream.begin(), own.analysis.expected()) {
        (Some(begin), _) => fits(begin),
        // An acknowledgement alone may have come before the SYN, with its number (a split handshake).
        (None, Some(expected)) => fits(expected) || expected == segment.seq,
        (None, None) => peer.answered.or(peer.last_ack).is_none_or(fits),
    }
}

fn of_syn_ack(flow: &Connection, segment: &Segment) -> Relation {
    let (own, peer) = (flow.half(segment.from), flow.half(segment.from.other()));
    match own.syns.chosen() {
        Some(_) if own.syns.has(segment.seq) => Relation::Same,
        // However closed it seems: a forged RST may come before the true answer.
        _ if peer.syns.chosen().is_some() && flow.answers_syn(segment) => Relation::Same,
        None if comes_late(flow, own, peer, segment) => Relation::Same,
        _ if flow.phase.is_closed() => Relation::New,
        // Another connection whose SYN was not captured, if what follows goes on from here.
        Some(_) => Relation::Candidate,
        None if own.stream.begin().is_some()
            && peer.syns.chosen().is_none()
            && !fits_without_syn(own, peer, segment) =>
        {
            Relation::Candidate
        }
        None => Relation::Same,
    }
}

fn of_other(flow: &Connection, segment: &Segment) -> Relation {
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
