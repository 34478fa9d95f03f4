//! A segment on its way into a half-stream, and the notes on what became of it.

use super::assembler::Outcome;
use super::notes::{Fate, Notes};
use crate::model::{Payload, Segment, SegmentFacts, SegmentKind, TcpFlags};

/// What the half-stream keeps of a segment it cannot place yet.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Sequence number of the first payload byte.
    pub(super) seq: u32,
    /// Acknowledgement number, where there is one.
    pub(super) ack: Option<u32>,
    pub(super) payload: Payload,
    pub(super) truncated: u32,
    pub(super) syn: bool,
    pub(super) fin: bool,
    /// It may be an acknowledgement whose link padding was taken for payload.
    pub(super) small: bool,
    pub(super) facts: SegmentFacts,
}

/// An IPv4 packet that fills an Ethernet frame of 60 bytes, the least there is without its check sequence (IEEE
/// 802.3, 4.2.3.3), or one that is padded to it.
const LEAST_PACKET: u32 = 46;

/// Bytes that a packet without options can be padded by up to there.
const MOST_PADDING: u32 = LEAST_PACKET - 20 - 20;

impl Held {
    /// What is kept of a segment.
    pub(super) fn new(segment: &Segment, facts: SegmentFacts) -> Held {
        let flags = segment.flags;
        let len = segment.payload.len();
        Held {
            seq: segment.seq.wrapping_add(u32::from(flags.syn())),
            ack: flags.ack().then_some(segment.ack),
            payload: segment.payload.clone(),
            truncated: segment.truncated,
            syn: flags.syn(),
            fin: flags.fin(),
            small: len <= MOST_PADDING
                && len > 0
                && segment.truncated == 0
                && segment.ip_bytes <= LEAST_PACKET
                && flags.0 == TcpFlags::ACK,
            facts,
        }
    }

    pub(super) fn wire_len(&self) -> u32 {
        self.payload.len().saturating_add(self.truncated)
    }

    /// The part that begins `skip` bytes in, with what became of it.
    pub(super) fn fate(
        &self,
        offset: Option<i64>,
        skip: u32,
        take: u32,
        kind: SegmentKind,
        kept: bool,
    ) -> Fate {
        Fate {
            offset,
            seq: self.seq.wrapping_add(skip),
            payload: self.payload.slice(skip, take),
            kind,
            kept,
            facts: self.facts,
        }
    }

    /// Notes that the whole of it is no stream data.
    pub(super) fn reject(&self, notes: &mut Notes) {
        if notes.wants_fates && !self.payload.is_empty() {
            notes
                .fates
                .push(self.fate(None, 0, u32::MAX, SegmentKind::Rejected, false));
        }
    }
}

/// Notes what became of a segment that was placed at `offset`. The bytes from `inserted.0` to
/// `inserted.1` of it went into the stream and are in the notes as parts; those from there to `inserted.2` lie beyond
/// the depth, and what follows behind the end.
pub(super) fn note_fates(
    held: &Held,
    offset: i64,
    inserted: (u32, u32, u32),
    outcome: Outcome,
    notes: &mut Notes,
) {
    if !notes.wants_fates {
        return;
    }
    let (before, end, stop) = inserted;
    let mut note = |skip: u32, take: u32, kind, kept| {
        if take > 0 {
            let at = offset + i64::from(skip);
            notes
                .fates
                .push(held.fate(Some(at), skip, take, kind, kept));
        }
    };
    note(0, before, SegmentKind::Rejected, false);
    for part in notes.parts.drain(..) {
        let kind = match part.kind {
            // A copy of old bytes in front of new ones is another thing than the same again.
            SegmentKind::Retransmit if outcome.unique > 0 => SegmentKind::Overlap,
            kind => kind,
        };
        let skip = narrow(i64::try_from(part.start).unwrap_or(i64::MAX) - offset);
        note(
            skip,
            narrow(i64::try_from(part.end - part.start).unwrap_or(0)),
            kind,
            part.kept,
        );
    }
    note(end, stop - end, SegmentKind::Limit, false);
    note(
        stop,
        held.payload.len() - stop,
        SegmentKind::Rejected,
        false,
    );
}

/// A number of bytes, 0 where it is negative.
pub(super) fn narrow(bytes: i64) -> u32 {
    u32::try_from(bytes.clamp(0, i64::from(u32::MAX))).unwrap_or(u32::MAX)
}
