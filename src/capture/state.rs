//! What a walk goes through, and where it stands.

use std::borrow::Cow;
use std::sync::Arc;

use super::pcap::Pcap;
use super::pcapng::Section;
use super::resync::{Link, Probe};
use super::stats::DamageReason;
use crate::model::{InputPos, LinkType, RawFrame};

/// Bytes of a capture, from some offset on.
#[derive(Debug)]
pub struct Window<'a> {
    data: Cow<'a, [u8]>,
    base: u64,
    file: u16,
    at_eof: bool,
}

impl<'a> Window<'a> {
    /// `data` is what file number `file` holds from offset `base` on; `at_eof` says that the file
    /// ends with it.
    pub fn new(data: Cow<'a, [u8]>, base: u64, file: u16, at_eof: bool) -> Window<'a> {
        Window {
            data,
            base,
            file,
            at_eof,
        }
    }

    /// The bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The `len` bytes at `at`, where it holds all of them.
    pub fn bytes_at(&self, at: InputPos, len: u32) -> Option<&[u8]> {
        let start = usize::try_from(at.offset().checked_sub(self.base)?).ok()?;
        let holds = self.data.get(start..)?.get(..usize::try_from(len).ok()?);
        holds.filter(|_| at.file() == self.file)
    }

    /// The offset of the first byte in the file.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The number of the file.
    pub const fn file(&self) -> u16 {
        self.file
    }

    /// Whether the file ends where the window does.
    pub const fn at_eof(&self) -> bool {
        self.at_eof
    }
}

/// What the file header or the blocks so far decide about the records that follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// Classic pcap.
    Pcap(Pcap),
    /// pcapng. Shared: all walks of a capture with one section have the same table.
    Pcapng(Arc<Section>),
}

impl Format {
    /// The link types and snap lengths (bytes; 0 = no limit) of the interfaces known: one for pcap,
    /// those of the current section for pcapng.
    pub(super) fn interfaces(&self) -> Vec<(LinkType, u32)> {
        match self {
            Format::Pcap(pcap) => vec![(pcap.link, pcap.snaplen)],
            Format::Pcapng(section) => section
                .interfaces()
                .map(|interface| (interface.link, interface.snaplen))
                .collect(),
        }
    }

    /// What is known of the first record of a chain.
    pub(super) fn first_link(&self) -> Link {
        Link {
            seconds: None,
            big_endian: match self {
                Format::Pcap(_) => false,
                Format::Pcapng(section) => section.big_endian,
            },
            inside: false,
        }
    }

    /// The byte orders that a record may have.
    pub(super) const fn byte_orders(&self) -> &'static [bool] {
        match self {
            Format::Pcap(_) => &[false],
            Format::Pcapng(_) => &[false, true],
        }
    }

    /// How far behind the end of a chain another may begin and still overlap it in truth, bytes. A
    /// frame that holds records may end with the beginning of one that is too short to tell, and
    /// with a check sequence or a block's trailer; a damaged record takes more than that.
    pub(super) const fn slack(&self) -> usize {
        match self {
            Format::Pcap(pcap) => pcap.header_len() + 8,
            Format::Pcapng(_) => 32,
        }
    }

    /// Whether a record may begin at `pos`.
    pub(super) fn probe(&self, data: &[u8], at_eof: bool, pos: usize, link: Link) -> Probe {
        match self {
            Format::Pcap(pcap) => pcap.probe(data, at_eof, pos, link),
            Format::Pcapng(section) => section.probe(data, at_eof, pos, link),
        }
    }
}

/// A damaged region whose end is not known yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lost {
    pub(super) since: u64,
    pub(super) reason: DamageReason,
    /// Where the damaged record likely ends, until that has been looked at.
    pub(super) likely_end: Option<u64>,
}

/// Where a walk stands: all that another walk needs to go on from there. Two walks from equal states
/// see the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalkState {
    pub(super) offset: u64,
    pub(super) format: Format,
    pub(super) lost: Option<Lost>,
}

impl WalkState {
    pub(super) const fn new(offset: u64, format: Format) -> WalkState {
        WalkState {
            offset,
            format,
            lost: None,
        }
    }

    /// The offset in the file of the next record, or, inside a damaged region, of the next byte to
    /// look for one at. A window for the next walk must begin here or before.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The state of a walk that comes to a record at `offset` and has met nothing new since this
    /// one.
    #[must_use]
    pub fn at(&self, offset: u64) -> WalkState {
        WalkState::new(offset, self.format.clone())
    }

    /// Learns from the first frame what those that follow may be like.
    pub(super) fn learn(&mut self, first: &RawFrame<'_>) {
        if let Format::Pcap(pcap) = &mut self.format
            && first.data.len() as u64 > u64::from(first.original_len)
        {
            pcap.expect_excess();
        }
    }

    pub(super) const fn format(&self) -> &Format {
        &self.format
    }
}
