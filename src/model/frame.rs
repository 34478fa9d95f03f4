//! One captured record, not yet decoded.
//!
//! A [`RawFrame`] has its bytes at hand; a [`FrameRef`] says where they lie.

use super::{InputPos, Timestamp};

/// A link-layer header type, as the registry of link types at tcpdump.org numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkType(pub u16);

/// The unit in which a capture counts time: the coarser of the two that the pcap format has, as far as
/// nothing is lost by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum TimeUnit {
    /// Microseconds.
    #[default]
    Micro,
    /// Nanoseconds.
    Nano,
}

/// One captured record.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// When it was captured.
    pub ts: Timestamp,
    /// The unit of that time.
    pub unit: TimeUnit,
    /// How its first layer is to be read.
    pub link: LinkType,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Where they lie in the input.
    pub at: InputPos,
    /// Length of the frame on the wire, bytes; not below `data.len()` but in odd captures.
    pub original_len: u32,
    /// Bytes of frame check sequence at the end of the frame on the wire.
    pub fcs_len: u8,
}

impl RawFrame<'_> {
    /// The same without the bytes.
    pub fn by_reference(&self) -> FrameRef {
        FrameRef {
            ts: self.ts,
            at: self.at,
            len: u32::try_from(self.data.len()).unwrap_or(u32::MAX),
            original_len: self.original_len,
            link: self.link,
            unit: self.unit,
            fcs_len: self.fcs_len,
            place: 0,
        }
    }
}

/// One captured record, without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRef {
    /// When it was captured.
    pub ts: Timestamp,
    /// Where its bytes lie in the input.
    pub at: InputPos,
    /// How many were captured.
    pub len: u32,
    /// Length of the frame on the wire, bytes.
    pub original_len: u32,
    /// How its first layer is to be read.
    pub link: LinkType,
    /// The unit of its time.
    pub unit: TimeUnit,
    /// Bytes of frame check sequence at the end of the frame on the wire.
    pub fcs_len: u8,
    /// How many parts of the frame had been read before the one that this is told for; far more, where
    /// that part was itself put together of many. Only aggregates (802.11) have several.
    pub place: u16,
}

impl FrameRef {
    /// The same, told for part number `part`, from 0, of what this was told for.
    #[must_use]
    pub fn for_part(&self, part: u32) -> FrameRef {
        let times = u32::from(self.place).saturating_add(1);
        let place = times.saturating_mul(part.saturating_add(1)) - 1;
        FrameRef {
            place: u16::try_from(place).unwrap_or(u16::MAX),
            ..*self
        }
    }
}
