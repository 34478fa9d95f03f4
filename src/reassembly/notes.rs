//! What a half-stream has to tell about segments, besides the bytes it places.

use crate::model::{GapCause, Payload, SegmentFacts, SegmentKind};

/// Bytes of each copy that a conflict row shows. A choice: enough to recognise text or a header; the
/// frames lead to the rest.
pub(super) const SHOWN_BYTES: usize = 128;

/// Ranges that one segment's differing bytes are told in, and parts that copies in it are told in, before
/// neighbours are taken together. A crafted segment may differ in every other byte, and be sent again a
/// million times.
const APART: usize = 8;

/// A hole that is final.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hole {
    /// First missing offset.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Why.
    pub cause: GapCause,
    /// Closed up in the file.
    pub elided: bool,
}

/// Two copies of the same range that differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Clash {
    /// Offset of the first byte that differs.
    pub offset: u64,
    /// Bytes from there to the last that differs.
    pub length: u64,
    /// How many of them differ.
    pub differing: u64,
    /// The first of the bytes that stand, and the frame that carried them.
    pub kept: (Box<[u8]>, u64),
    /// The first of those that do not, and their frame.
    pub refused: (Box<[u8]>, u64),
    /// The later copy is the one that stands.
    pub replaced: bool,
}

impl Clash {
    /// Whether the later copy stands, and its frame.
    const fn outcome(&self) -> (bool, u64) {
        let (_, frame) = if self.replaced {
            &self.kept
        } else {
            &self.refused
        };
        (self.replaced, *frame)
    }
}

/// What became of a part of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// First offset.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// What it is to what was captured before.
    pub kind: SegmentKind,
    /// Its bytes stand, as far as it is known now.
    pub kept: bool,
}

/// What became of a part of a segment, with all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    /// Stream offset; `None` where it has none.
    pub offset: Option<i64>,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Its bytes.
    pub payload: Payload,
    /// What it is to what was captured before.
    pub kind: SegmentKind,
    /// Its bytes stand, as far as it is known now.
    pub kept: bool,
    /// The whole segment.
    pub facts: SegmentFacts,
}

/// Notes of one call; whoever made the call takes them.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Holes that became final, ascending.
    pub holes: Vec<Hole>,
    /// Copies that differ.
    pub clashes: Vec<Clash>,
    /// What became of segments; only if someone asks.
    pub fates: Vec<Fate>,
    /// Parts of the segment at hand.
    pub parts: Vec<Part>,
    /// Whether to note fates.
    pub wants_fates: bool,
}

impl Notes {
    /// Nothing is to be told.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.holes.is_empty() && self.clashes.is_empty() && self.fates.is_empty()
    }

    /// Notes that copies differ. From the ninth range of a segment on, the last one with the same outcome is
    /// made to reach so far; its frames and the bytes that it shows stay those of its beginning.
    pub(super) fn clash(&mut self, clash: Clash) {
        if self.clashes.len() >= APART
            && let Some(last) = self
                .clashes
                .iter_mut()
                .rfind(|last| last.outcome() == clash.outcome() && last.offset <= clash.offset)
        {
            last.length = clash.offset + clash.length - last.offset;
            last.differing += clash.differing;
            return;
        }
        self.clashes.push(clash);
    }

    /// Notes a part of the segment at hand; parts come in order of their offsets. From the ninth on, neighbours
    /// that do not stand are one.
    pub(super) fn part(&mut self, part: Part) {
        if !self.wants_fates || part.start >= part.end {
            return;
        }
        let many = self.parts.len() >= APART;
        if let Some(last) = self.parts.last_mut()
            && last.end == part.start
        {
            if (last.kind, last.kept) == (part.kind, part.kept) {
                last.end = part.end;
                return;
            }
            if many && !last.kept && !part.kept {
                last.end = part.end;
                last.kind = graver(last.kind, part.kind);
                return;
            }
        }
        self.parts.push(part);
    }

    /// Notes a part of the segment at hand that is the same as what stands. From the ninth part on it is taken
    /// together with differing bytes before it that stand: either copy gives the right ones.
    pub(super) fn equal_part(&mut self, start: u64, end: u64) {
        let many = self.parts.len() >= APART;
        if let Some(last) = self.parts.last_mut()
            && many
            && last.end == start
            && (last.kind, last.kept) == (SegmentKind::Conflict, true)
        {
            last.end = end;
            return;
        }
        self.part(Part {
            start,
            end,
            kind: SegmentKind::Retransmit,
            kept: false,
        });
    }
}
/// What bytes of both kinds are called together where none of them stand.
fn graver(one: SegmentKind, other: SegmentKind) -> SegmentKind {
    [SegmentKind::Conflict, SegmentKind::Rejected]
        .into_iter()
        .find(|kind| [one, other].contains(kind))
        .unwrap_or(one)
}
