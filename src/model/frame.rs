//! One captured record, not yet decoded.

use super::{InputPos, Timestamp};

/// A link-layer header type, as the registry of link types at tcpdump.org numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkType(pub u16);

/// One captured record.
#[derive(Clone, Copy, Debug)]
pub struct RawFrame<'a> {
    /// When it was captured.
    pub ts: Timestamp,
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
