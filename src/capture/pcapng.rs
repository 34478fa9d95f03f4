//! pcapng blocks (draft-ietf-opsawg-pcapng).
//!
//! The fields are read here and not by a library, because a packet block must cost no allocation,
//! and because a section header or interface description of 16 MiB full of empty options must not
//! cost a hundred.

use pcap_parser::{BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, SHB_MAGIC, SPB_MAGIC};

use super::bytes::{index, u16_at, u32_at};
use super::options::{Options, Resolution, fcs_octets, fcs_of_flags, is_large};
use super::resync::{LONGEST, Link, Probe};
use super::stats::{CutFrame, DamageReason};
use crate::model::{LinkType, TimeUnit, Timestamp};

pub(super) const SECTION_HEADER: u32 = SHB_MAGIC;
pub(super) const INTERFACE: u32 = IDB_MAGIC;
/// Bytes of a block that hold all the fields by which a damaged one may be measured.
pub(super) const LIKELY_FIELDS: usize = 24;
/// The Packet Block, obsolete since Enhanced Packet Blocks (draft-ietf-opsawg-pcapng, appendix A).
pub(super) const OLD_PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = SPB_MAGIC;
pub(super) const ENHANCED_PACKET: u32 = EPB_MAGIC;

/// Length of a section header without options, bytes.
pub(super) const SECTION_HEADER_LEN: usize = 28;
/// The longest block that libpcap believes in, bytes.
const MAX_BLOCK: u32 = 16 << 20;
/// The same in a section with an interface whose packets are large transfers, bytes.
const MAX_BLOCK_LARGE: u32 = (128 << 20) + (64 << 10);
/// Interfaces of a section that are kept. A capture has a handful; without a bound a hostile one
/// would have a table entry for every 20 bytes.
const MAX_INTERFACES: usize = 65_536;

/// One interface of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    pub(super) link: LinkType,
    /// 0 = no limit.
    pub(super) snaplen: u32,
    resolution: Resolution,
    /// Seconds to add to every time.
    offset: i64,
    fcs_len: u8,
}

/// What the blocks of a section so far say about those that follow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Section {
    pub(super) big_endian: bool,
    /// `None` holds the place of a description that was damaged, so that later ones keep their
    /// numbers.
    interfaces: Vec<Option<Interface>>,
    large: bool,
}

/// A whole block whose two lengths agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) kind: u32,
    pub(super) big_endian: bool,
    /// The block from its type to its second length.
    pub(super) bytes: &'a [u8],
}

/// Why there is no block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoBlock {
    /// It reaches beyond the bytes that are there.
    Short,
    /// It is damaged.
    Damaged(DamageReason),
}

/// A packet in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) ts: Timestamp,
    pub(super) ts_ok: bool,
    pub(super) unit: TimeUnit,
    pub(super) link: LinkType,
    pub(super) data: &'a [u8],
    /// Where the data begins in the block.
    pub(super) start: usize,
    pub(super) original: u32,
    pub(super) fcs_len: u8,
}

/// What interface descriptions came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// Kept.
    Kept,
    /// Its place is kept, but it cannot be read.
    Damaged,
    /// There is no more room.
    OverLimit,
}

impl Section {
    /// A section of which nothing is known but its byte order.
    pub(super) const fn new(big_endian: bool) -> Section {
        Section {
            big_endian,
            interfaces: Vec::new(),
            large: false,
        }
    }

    /// The interfaces whose descriptions can be read.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().flatten()
    }

    const fn max_block(&self) -> u32 {
        if self.large {
            MAX_BLOCK_LARGE
        } else {
            MAX_BLOCK
        }
    }

    /// The block at the beginning of `rest`.
    #[inline]
    pub(super) fn block<'a>(&self, rest: &'a [u8]) -> Result<Block<'a>, NoBlock> {
        let kind = u32_at(rest, 0, self.big_endian).ok_or(NoBlock::Short)?;
        let big_endian = if kind == SECTION_HEADER {
            byte_order(rest)?
        } else {
            self.big_endian
        };
        let len = u32_at(rest, 4, big_endian).ok_or(NoBlock::Short)?;
        if len < 12 || !len.is_multiple_of(4) || len > self.max_block() {
            return Err(NoBlock::Damaged(match (kind, len) {
                (0, 0) => DamageReason::Zeros,
                _ => DamageReason::BlockLength,
            }));
        }
        let bytes = rest.get(..index(len)).ok_or(NoBlock::Short)?;
        if u32_at(bytes, bytes.len() - 4, big_endian) != Some(len) {
            return Err(NoBlock::Damaged(DamageReason::BlockTrailer));
        }
        Ok(Block {
            kind,
            big_endian,
            bytes,
        })
    }

    /// Adds the interface that a block describes.
    pub(super) fn add_interface(&mut self, block: &Block<'_>) -> Added {
        let interface = Interface::read(block);
        if self.interfaces.len() >= MAX_INTERFACES {
            return Added::OverLimit;
        }
        self.large |= interface.is_some_and(|interface| is_large(interface.link));
        self.interfaces.push(interface);
        match interface {
            Some(_) => Added::Kept,
            None => Added::Damaged,
        }
    }

    /// Holds the place of an interface whose description is damaged.
    pub(super) fn add_damaged_interface(&mut self) {
        if self.interfaces.len() < MAX_INTERFACES {
            self.interfaces.push(None);
        }
    }

    fn interface(&self, number: usize) -> Result<&Interface, DamageReason> {
        match self.interfaces.get(number) {
            Some(Some(interface)) => Ok(interface),
            _ => Err(DamageReason::UnknownInterface),
        }
    }

    /// The packet of an Enhanced Packet Block (4.3).
    #[inline]
    pub(super) fn enhanced<'a>(&self, block: &Block<'a>) -> Result<Packet<'a>, DamageReason> {
        let number = block.u32_at(8)?;
        self.timed(block, index(number))
    }

    /// The packet of an obsolete Packet Block: the same, but for a shorter interface number and a
    /// count of drops behind it.
    pub(super) fn old<'a>(&self, block: &Block<'a>) -> Result<Packet<'a>, DamageReason> {
        let number = u16_at(block.bytes, 8, block.big_endian).ok_or(DamageReason::BlockContent)?;
        self.timed(block, usize::from(number))
    }

    #[inline]
    fn timed<'a>(&self, block: &Block<'a>, number: usize) -> Result<Packet<'a>, DamageReason> {
        const START: usize = 28;
        let interface = self.interface(number)?;
        let units = u64::from(block.u32_at(12)?) << 32 | u64::from(block.u32_at(16)?);
        let captured = index(block.u32_at(20)?);
        let original = block.u32_at(24)?;
        let body = block.body(START).ok_or(DamageReason::BlockContent)?;
        let data = body.get(..captured).ok_or(DamageReason::BlockContent)?;
        let options = body.get(captured.next_multiple_of(4)..).unwrap_or_default();
        let fcs_len = packet_fcs(options, block.big_endian).unwrap_or(interface.fcs_len);
        let (ts, ts_ok) = interface.resolution.time(units, interface.offset);
        Ok(Packet {
            ts,
            ts_ok,
            unit: interface.resolution.unit(),
            link: interface.link,
            data,
            start: START,
            original,
            fcs_len,
        })
    }

    /// The packet of a Simple Packet Block (4.4): it has no time and no captured length, and belongs
    /// to the first interface.
    pub(super) fn simple<'a>(&self, block: &Block<'a>) -> Result<Packet<'a>, DamageReason> {
        const START: usize = 12;
        let interface = self.interface(0)?;
        let original = block.u32_at(8)?;
        let body = block.body(START).ok_or(DamageReason::BlockContent)?;
        let snaplen = match interface.snaplen {
            0 => u32::MAX,
            limit => limit,
        };
        let captured = index(original.min(snaplen)).min(body.len());
        Ok(Packet {
            ts: Timestamp::NONE,
            ts_ok: true,
            unit: interface.resolution.unit(),
            link: interface.link,
            data: body.get(..captured).unwrap_or_default(),
            start: START,
            original,
            fcs_len: interface.fcs_len,
        })
    }

    /// The packet at the beginning of `rest`, whose block is cut off but whose header is not.
    pub(super) fn cut_frame(&self, rest: &[u8]) -> Option<CutFrame> {
        let big = self.big_endian;
        let number = match u32_at(rest, 0, big)? {
            ENHANCED_PACKET => index(u32_at(rest, 8, big)?),
            OLD_PACKET => usize::from(u16_at(rest, 8, big)?),
            _ => return None,
        };
        let interface = self.interface(number).ok()?;
        let units = u64::from(u32_at(rest, 12, big)?) << 32 | u64::from(u32_at(rest, 16, big)?);
        let captured_len = u32_at(rest, 20, big)?;
        let original_len = u32_at(rest, 24, big)?;
        let present = index(captured_len).min(rest.len().saturating_sub(28));
        Some(CutFrame {
            ts: interface.resolution.time(units, interface.offset).0,
            captured_len,
            original_len,
            present: present as u64,
        })
    }

    /// Bytes of the damaged block at the beginning of `rest`, by those of its fields that may still
    /// be good: its first length if that is plausible, or else that of its packet.
    pub(super) fn likely_len(&self, rest: &[u8]) -> Option<usize> {
        let len = u32_at(rest, 4, self.big_endian)?;
        if (12..=self.max_block()).contains(&len) && len.is_multiple_of(4) {
            return Some(index(len));
        }
        match u32_at(rest, 0, self.big_endian)? {
            ENHANCED_PACKET | OLD_PACKET => {
                let captured = u32_at(rest, 20, self.big_endian)?;
                let plausible = captured <= self.max_block();
                plausible.then(|| 32 + index(captured).next_multiple_of(4))
            }
            _ => None,
        }
    }

    /// Whether a block may begin at `pos`, where nothing says that one does: its lengths must agree,
    /// and a packet must fit into its block. The first of a chain must be of a kind in common use.
    pub(super) fn probe(&self, data: &[u8], at_eof: bool, pos: usize, link: Link) -> Probe {
        let section = SectionView {
            max_block: self.max_block().min(LONGEST),
            big_endian: link.big_endian,
        };
        section.probe(data, at_eof, pos, link)
    }
}

/// What a probe needs of a section; its byte order may change along a chain.
struct SectionView {
    max_block: u32,
    big_endian: bool,
}

impl SectionView {
    fn probe(&self, data: &[u8], at_eof: bool, pos: usize, link: Link) -> Probe {
        let short = |cut| match (at_eof, cut) {
            (true, true) => Probe::Cut,
            (true, false) => Probe::No,
            (false, _) => Probe::NeedMore,
        };
        let rest = data.get(pos..).unwrap_or_default();
        let Some(kind) = u32_at(rest, 0, self.big_endian) else {
            return short(false);
        };
        if !link.inside && !matches!(kind, 1..=6 | 9 | 10 | 0x0bad | SECTION_HEADER) {
            return Probe::No;
        }
        let big_endian = if kind == SECTION_HEADER {
            match byte_order(rest) {
                Ok(big_endian) => big_endian,
                Err(NoBlock::Short) => return short(false),
                Err(NoBlock::Damaged(_)) => return Probe::No,
            }
        } else {
            self.big_endian
        };
        let Some(len) = u32_at(rest, 4, big_endian) else {
            return short(false);
        };
        if len < 12 || !len.is_multiple_of(4) || len > self.max_block {
            return Probe::No;
        }
        let Some(bytes) = rest.get(..index(len)) else {
            return short(true);
        };
        if u32_at(bytes, bytes.len() - 4, big_endian) != Some(len) {
            return Probe::Torn(pos + bytes.len());
        }
        let block = Block {
            kind,
            big_endian,
            bytes,
        };
        let fits = match kind {
            SECTION_HEADER => bytes.len() >= SECTION_HEADER_LEN,
            INTERFACE => bytes.len() >= 20,
            ENHANCED_PACKET | OLD_PACKET => block.body(28).is_some_and(|body| {
                block
                    .u32_at(20)
                    .is_ok_and(|captured| index(captured) <= body.len())
            }),
            SIMPLE_PACKET => bytes.len() >= 16,
            _ => true,
        };
        if !fits {
            return Probe::No;
        }
        Probe::Record {
            next: pos + bytes.len(),
            link: Link {
                big_endian,
                inside: true,
                ..link
            },
        }
    }
}

impl Block<'_> {
    fn u32_at(&self, at: usize) -> Result<u32, DamageReason> {
        u32_at(self.bytes, at, self.big_endian).ok_or(DamageReason::BlockContent)
    }
}

impl<'a> Block<'a> {
    /// What lies between byte `start` of the block and its second length.
    #[inline]
    fn body(&self, start: usize) -> Option<&'a [u8]> {
        self.bytes.get(start..self.bytes.len().checked_sub(4)?)
    }

    /// The major and minor version of a section header.
    pub(super) fn version(&self) -> Option<(u16, u16)> {
        if self.bytes.len() < SECTION_HEADER_LEN {
            return None;
        }
        Some((
            u16_at(self.bytes, 12, self.big_endian)?,
            u16_at(self.bytes, 14, self.big_endian)?,
        ))
    }
}

impl Interface {
    /// What an Interface Description Block says (4.2); `None` where it is too short.
    fn read(block: &Block<'_>) -> Option<Interface> {
        const TSRESOL: u16 = 9;
        const FCSLEN: u16 = 13;
        const TSOFFSET: u16 = 14;
        let mut interface = Interface {
            link: LinkType(u16_at(block.body(8)?, 0, block.big_endian)?),
            snaplen: u32_at(block.body(12)?, 0, block.big_endian)?,
            resolution: Resolution::DEFAULT,
            offset: 0,
            fcs_len: 0,
        };
        for (code, value) in Options::new(block.body(16)?, block.big_endian) {
            match (code, value) {
                (TSRESOL, [value, ..]) => interface.resolution = Resolution::from_option(*value),
                (FCSLEN, [value, ..]) => interface.fcs_len = fcs_octets(*value),
                (TSOFFSET, value) => {
                    if let Some(bytes) = value.first_chunk::<8>() {
                        interface.offset = if block.big_endian {
                            i64::from_be_bytes(*bytes)
                        } else {
                            i64::from_le_bytes(*bytes)
                        };
                    }
                }
                _ => {}
            }
        }
        Some(interface)
    }
}

/// The byte order of the section header at the beginning of `rest`: big-endian or not.
pub(super) fn byte_order(rest: &[u8]) -> Result<bool, NoBlock> {
    match u32_at(rest, 8, false).ok_or(NoBlock::Short)? {
        BOM_MAGIC => Ok(false),
        magic if magic.swap_bytes() == BOM_MAGIC => Ok(true),
        _ => Err(NoBlock::Damaged(DamageReason::SectionHeader)),
    }
}

/// The length of the frame check sequence that the options of a packet declare (`epb_flags`, and
/// `pack_flags` of the obsolete block, both code 2).
#[inline]
fn packet_fcs(options: &[u8], big_endian: bool) -> Option<u8> {
    const FLAGS: u16 = 2;
    if options.is_empty() {
        return None;
    }
    let (_, value) = Options::new(options, big_endian).find(|(code, _)| *code == FLAGS)?;
    match fcs_of_flags(u32_at(value, 0, big_endian)?) {
        0 => None,
        octets => Some(octets),
    }
}
