//! Where every frame and every payload byte went, and the proof that none is missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Conflict, ConnState, EndReason, FlowRecord, Gap, GapCause, HalfRecord};

/// Counters by a name.
pub type Counts = BTreeMap<String, u64>;

/// Everything the run counted. [`Accounting::check`] says whether it adds up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Accounting {
    /// Where the frames went.
    pub frames: FrameAccounting,
    /// Where the captured TCP payload went.
    pub payload: PayloadAccounting,
    /// The flows.
    pub flows: FlowAccounting,
    /// What was never captured.
    pub gaps: GapAccounting,
    /// Where copies of a byte differ.
    pub conflicts: ConflictAccounting,
    /// Where overlapping IP fragments differ.
    pub fragment_conflicts: FragmentConflictAccounting,
}

/// Where the frames went. Each frame is counted once besides `total`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FrameAccounting {
    /// Frames in the input.
    pub total: u64,
    /// Frames that gave a TCP segment, alone or as the fragment that completed it.
    pub tcp: u64,
    /// Frames whose TCP segments the filter left out.
    pub filtered: u64,
    /// Frames that carry something else, by the protocol's name.
    pub other: Counts,
    /// Frames that could not be decoded, by layer, then by reason.
    pub undecoded: BTreeMap<String, Counts>,
    /// Frames that carry an IP fragment and did not complete a datagram.
    pub fragments: u64,
    /// Frames of a link type that is not decoded, by the type's number and name.
    pub unknown_link_types: Counts,
}

impl FrameAccounting {
    /// The frames that are accounted for.
    fn parts(&self) -> u64 {
        let undecoded: u64 = self.undecoded.values().map(sum).sum();
        self.tcp
            + self.filtered
            + sum(&self.other)
            + undecoded
            + self.fragments
            + sum(&self.unknown_link_types)
    }
}

/// Where the captured TCP payload went, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PayloadAccounting {
    /// TCP segments. A frame may hold several (an 802.11 aggregate), or a part of one (a fragment).
    pub segments: u64,
    /// Payload in captured segments, retransmissions included.
    pub captured: u64,
    /// Bytes of streams, each counted once.
    pub unique: u64,
    /// Further copies equal to the byte kept, or not compared with it (`unverified`).
    pub duplicate: u64,
    /// Further copies that differ from the byte kept.
    pub conflicting_not_kept: u64,
    /// No stream data: text on a RST, wild segments, data before offset 0.
    pub rejected: u64,
    /// Those of `rejected` that might have found their place, had a table had more room.
    pub crowded_out: u64,
    /// Beyond a limit the user set.
    pub over_limit: u64,
    /// In segments that were dropped for a wrong checksum.
    pub bad_checksum: u64,
    /// Those segments. (Packets with a wrong IPv4 checksum are not looked into: their frames are
    /// undecoded.)
    pub bad_checksum_segments: u64,
    /// Spans of the streams, added up: their bytes and their gaps.
    pub spanned: u64,
    /// Those of `duplicate` whose kept byte was no longer at hand to compare with.
    pub unverified: u64,
    /// Written to payload files or parts; absent where the run writes none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub written: Option<u64>,
    /// Not written, since their half-stream has fewer bytes than the user asked for; absent where
    /// the run writes none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub below_minimum: Option<u64>,
}

impl PayloadAccounting {
    fn add(&mut self, half: &HalfRecord) {
        let trouble = half.trouble();
        self.captured += half.payload_bytes;
        self.unique += half.stream_bytes;
        // A conflict is an overlap too. Where a half-stream breaks that, the sum must not wrap:
        // the check that follows tells.
        self.duplicate += trouble.overlap_bytes.saturating_sub(trouble.conflict_bytes);
        self.conflicting_not_kept += trouble.conflict_bytes;
        self.rejected += trouble.rejected_bytes;
        self.crowded_out += trouble.crowded_out_bytes;
        self.over_limit += trouble.limit_bytes;
        self.spanned += half.stream_span;
        self.unverified += trouble.unverified_bytes;
    }
}

/// The flows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FlowAccounting {
    /// Flows: rows of the flow table.
    pub count: u64,
    /// Flows captured whole.
    pub complete: u64,
    /// Flows of which neither SYN nor SYN-ACK was seen.
    pub midstream: u64,
    /// Segments in flows.
    pub packets: u64,
    /// By `conn_state`.
    pub by_conn_state: Counts,
    /// By `end_reason`.
    pub by_end_reason: Counts,
}

/// What was never captured.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GapAccounting {
    /// Gaps: rows of the gap table.
    pub count: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes in gaps that were closed up in the payload files.
    pub elided_bytes: u64,
    /// Bytes by cause.
    pub bytes_by_cause: Counts,
    /// Bytes in gaps as the flows' own rows count them.
    pub bytes_in_flows: u64,
}

/// Where copies of a byte differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ConflictAccounting {
    /// Flows with at least one such byte.
    pub flows: u64,
    /// Bytes that differ from the byte kept.
    pub bytes: u64,
    /// Rows of the conflict table.
    pub rows: u64,
    /// Bytes that differ, as those rows count them.
    pub bytes_in_rows: u64,
}

/// Where overlapping IP fragments differ: in datagrams that were complete, be they decoded or
/// dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FragmentConflictAccounting {
    /// Datagrams with at least one such byte.
    pub datagrams: u64,
    /// Bytes of fragments that differ from the byte that stands.
    pub bytes: u64,
}

impl Accounting {
    /// Counts with every known name at zero, so that a reader finds each of them.
    pub fn new() -> Accounting {
        let mut accounting = Accounting::default();
        let zeros = |names: &mut dyn Iterator<Item = &'static str>| -> Counts {
            names.map(|name| (name.to_owned(), 0)).collect()
        };
        accounting.flows.by_conn_state =
            zeros(&mut ConnState::ALL.map(ConnState::name).into_iter());
        accounting.flows.by_end_reason =
            zeros(&mut EndReason::ALL.map(EndReason::name).into_iter());
        accounting.gaps.bytes_by_cause = zeros(&mut GapCause::ALL.map(GapCause::name).into_iter());
        accounting
    }

    /// Counts flows whose rows are written.
    pub fn add_flows<'a>(&mut self, records: impl IntoIterator<Item = &'a FlowRecord>) {
        let mut states = [0; ConnState::ALL.len()];
        let mut reasons = [0; EndReason::ALL.len()];
        for record in records {
            self.flows.count += 1;
            self.flows.complete += u64::from(record.complete);
            self.flows.midstream += u64::from(record.midstream);
            states[record.conn_state as usize] += 1;
            reasons[record.end_reason as usize] += 1;
            let mut conflict_bytes = 0;
            for half in &record.halves {
                self.flows.packets += half.packets;
                self.payload.add(half);
                let trouble = half.trouble();
                self.gaps.bytes_in_flows += trouble.gap_bytes;
                conflict_bytes += trouble.conflict_bytes;
            }
            self.conflicts.flows += u64::from(conflict_bytes > 0);
            self.conflicts.bytes += conflict_bytes;
        }
        for (state, count) in ConnState::ALL.into_iter().zip(states) {
            add_to(&mut self.flows.by_conn_state, state.name(), count);
        }
        for (reason, count) in EndReason::ALL.into_iter().zip(reasons) {
            add_to(&mut self.flows.by_end_reason, reason.name(), count);
        }
    }

    /// Counts conflicts whose rows are written.
    pub fn add_conflicts(&mut self, conflicts: &[Conflict]) {
        self.conflicts.rows += conflicts.len() as u64;
        self.conflicts.bytes_in_rows += conflicts.iter().map(|c| c.differing).sum::<u64>();
    }

    /// Counts gaps whose rows are written.
    pub fn add_gaps(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            self.gaps.count += 1;
            self.gaps.bytes += gap.length;
            self.gaps.elided_bytes += if gap.elided { gap.length } else { 0 };
            add_to(&mut self.gaps.bytes_by_cause, gap.cause.name(), gap.length);
        }
    }

    /// Verifies that everything adds up; fails with the first identity that does not hold.
    pub fn check(&self) -> Result<(), AccountingError> {
        let Accounting {
            frames,
            payload,
            flows,
            gaps,
            conflicts,
            fragment_conflicts: _,
        } = self;
        equal(
            "frames = tcp + filtered + other + undecoded + fragments + unknown link types",
            frames.total,
            frames.parts(),
        )?;
        equal(
            "captured payload = unique + duplicate + conflicting, not kept + rejected + over limit + \
             dropped for a wrong checksum",
            payload.captured,
            payload.unique
                + payload.duplicate
                + payload.conflicting_not_kept
                + payload.rejected
                + payload.over_limit
                + payload.bad_checksum,
        )?;
        at_most(
            "unverified payload is part of the duplicate payload",
            payload.unverified,
            payload.duplicate,
        )?;
        at_most(
            "payload that a table had no room for is part of the rejected payload",
            payload.crowded_out,
            payload.rejected,
        )?;
        if let Some(written) = payload.written {
            equal(
                "payload written + payload below the minimum = unique payload",
                written + payload.below_minimum.unwrap_or(0),
                payload.unique,
            )?;
        }
        equal(
            "flows = flows by conn_state",
            flows.count,
            sum(&flows.by_conn_state),
        )?;
        equal(
            "flows = flows by end_reason",
            flows.count,
            sum(&flows.by_end_reason),
        )?;
        at_most("complete flows are flows", flows.complete, flows.count)?;
        equal(
            "packets in flows = TCP segments - those dropped for a wrong checksum",
            flows.packets + payload.bad_checksum_segments,
            payload.segments,
        )?;
        equal(
            "gap bytes = gap bytes by cause",
            gaps.bytes,
            sum(&gaps.bytes_by_cause),
        )?;
        equal(
            "gap bytes = gap bytes in the flows' rows",
            gaps.bytes,
            gaps.bytes_in_flows,
        )?;
        equal(
            "spans of streams = unique payload + gap bytes",
            payload.spanned,
            payload.unique + gaps.bytes,
        )?;
        equal(
            "conflicting bytes = payload conflicting, not kept",
            conflicts.bytes,
            payload.conflicting_not_kept,
        )?;
        equal(
            "conflicting bytes = differing bytes in the rows of conflicts",
            conflicts.bytes,
            conflicts.bytes_in_rows,
        )
    }
}

/// An identity that does not hold: a bug of this program, and its output must not be trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the accounting does not add up: {identity}, but these are {left} and {right}; this is a bug, \
     do not rely on this output, and please report it with this message"
)]
pub struct AccountingError {
    /// The identity in words.
    pub identity: &'static str,
    /// Its left side.
    pub left: u64,
    /// Its right side.
    pub right: u64,
}

fn equal(identity: &'static str, left: u64, right: u64) -> Result<(), AccountingError> {
    hold(left == right, identity, left, right)
}

fn at_most(identity: &'static str, left: u64, right: u64) -> Result<(), AccountingError> {
    hold(left <= right, identity, left, right)
}

fn hold(holds: bool, identity: &'static str, left: u64, right: u64) -> Result<(), AccountingError> {
    if holds {
        Ok(())
    } else {
        Err(AccountingError {
            identity,
            left,
            right,
        })
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

fn add_to(counts: &mut Counts, name: &str, value: u64) {
    // Known names are there from the start; only another one costs a string.
    if let Some(count) = counts.get_mut(name) {
        *count += value;
    } else {
        counts.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Accounting {
        let mut accounting = Accounting::new();
        accounting.frames = FrameAccounting {
            total: 28,
            tcp: 6,
            filtered: 7,
            other: Counts::from([("udp".to_owned(), 5)]),
            undecoded: BTreeMap::from([(
                "ipv4".to_owned(),
                Counts::from([("bad header length".to_owned(), 4)]),
            )]),
            fragments: 3,
            unknown_link_types: Counts::from([("147 USER0".to_owned(), 3)]),
        };
        accounting.payload = PayloadAccounting {
            segments: 8,
            captured: 41,
            unique: 16,
            duplicate: 8,
            conflicting_not_kept: 4,
            rejected: 2,
            crowded_out: 1,
            over_limit: 1,
            bad_checksum: 10,
            bad_checksum_segments: 2,
            spanned: 25,
            unverified: 8,
            written: Some(13),
            below_minimum: Some(3),
        };
        accounting.flows.count = 2;
        accounting.flows.packets = 6;
        accounting.flows.by_conn_state.insert("SF".to_owned(), 2);
        accounting.flows.by_end_reason.insert("fin".to_owned(), 2);
        accounting.gaps = GapAccounting {
            count: 1,
            bytes: 9,
            elided_bytes: 0,
            bytes_by_cause: Counts::from([("lost".to_owned(), 9)]),
            bytes_in_flows: 9,
        };
        accounting.conflicts = ConflictAccounting {
            flows: 1,
            bytes: 4,
            rows: 1,
            bytes_in_rows: 4,
        };
        accounting
    }

    #[test]
    fn what_adds_up_passes() {
        assert_eq!(sound().check(), Ok(()));
        assert_eq!(Accounting::new().check(), Ok(()));
    }

    type Break = fn(&mut Accounting);

    /// Each identity, broken alone, is the one that is named.
    #[test]
    fn what_does_not_is_named() {
        let breaks: [(Break, &str); 15] = [
            (|a| a.frames.total += 1, "frames = tcp"),
            (|a| a.payload.captured += 1, "captured payload ="),
            (|a| a.payload.unverified += 1, "unverified payload"),
            (
                |a| a.payload.crowded_out = a.payload.rejected + 1,
                "payload that a table had no room for",
            ),
            (|a| a.payload.written = Some(15), "payload written"),
            (|a| a.payload.below_minimum = None, "payload written"),
            (
                |a| add_to(&mut a.flows.by_conn_state, "S0", 1),
                "flows = flows by conn_state",
            ),
            (
                |a| add_to(&mut a.flows.by_end_reason, "new", 1),
                "flows = flows by end_reason",
            ),
            (|a| a.flows.complete = 3, "complete flows"),
            (|a| a.flows.packets = 5, "packets in flows"),
            (|a| a.gaps.bytes += 1, "gap bytes = gap bytes by cause"),
            (
                |a| a.gaps.bytes_in_flows += 1,
                "gap bytes = gap bytes in the flows' rows",
            ),
            (|a| a.payload.spanned += 1, "spans of streams"),
            (|a| a.conflicts.bytes += 1, "conflicting bytes = payload"),
            (
                |a| a.conflicts.bytes_in_rows += 1,
                "conflicting bytes = differing",
            ),
        ];
        for (break_it, expected) in breaks {
            let mut accounting = sound();
            break_it(&mut accounting);
            let error = accounting.check().unwrap_err();
            assert!(error.identity.starts_with(expected), "{error}");
        }
        let mut accounting = sound();
        accounting.frames.tcp -= 1;
        let text = accounting.check().unwrap_err().to_string();
        assert!(text.contains("these are 28 and 27"), "{text}");
    }

    #[test]
    fn all_names_are_there_from_the_start() {
        let accounting = Accounting::new();
        assert_eq!(accounting.flows.by_conn_state.len(), 13);
        assert_eq!(accounting.flows.by_end_reason.len(), 8);
        assert_eq!(accounting.gaps.bytes_by_cause.len(), 5);
    }
}
