//! Classic pcap (draft-ietf-opsawg-pcap) and the variants of it that are in use.

use super::bytes::{index, u16_at, u32_at, u32_from};
use super::resync::{LONGEST, Link, Probe};
use crate::model::{LinkType, TimeUnit, Timestamp};

/// Length of the file header, bytes.
pub(super) const FILE_HEADER: usize = 24;

/// What libpcap takes for the longest packet there is (its `MAXIMUM_SNAPLEN`), bytes.
const MAX_CAPTURED: u32 = 262_144;
/// The same for link types whose "packets" are large transfers, bytes.
const MAX_CAPTURED_LARGE: u32 = 128 << 20;

/// How far apart in time neighbouring records may be for one to vouch for the other, seconds. It is
/// arbitrary: large enough for a quiet network, and 16 bits better than believing any time at all.
const NEIGHBOUR_SECONDS: u32 = 86_400;
/// By how much a captured length may exceed the original one in a plausible header, bytes, in
/// captures where that happens: some FDDI drivers of old counted padding in the one and not in the
/// other. Elsewhere it must not, or the bytes between may be taken for headers.
const CAPTURED_EXCESS: u32 = 64;

/// The order of the two lengths in a record header. Version 2.3 of the format put them in the order
/// that 2.4 has, but not all programs that wrote 2.3 did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lengths {
    /// Captured, original.
    Normal,
    /// Original, captured: before version 2.3, and in the 543.0 of DG/UX.
    Swapped,
    /// The lesser is the captured one: version 2.3.
    Either,
}

/// Everything that the file header decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pcap {
    big_endian: bool,
    nanoseconds: bool,
    /// The format of Alexey Kuznetzov's patches: eight more bytes in a record header.
    modified: bool,
    lengths: Lengths,
    pub(super) link: LinkType,
    pub(super) fcs_len: u8,
    pub(super) snaplen: u32,
    max_captured: u32,
    /// By how much a captured length may exceed the original one where a header must be recognised.
    excess: u32,
}

/// Why a file header is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeaderError {
    /// Another magic.
    NotPcap,
    /// It ends early.
    Cut,
    /// An unknown version.
    Version(u16, u16),
}

/// A record header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    seconds: u32,
    fraction: u32,
    /// Captured bytes.
    pub(super) captured: u32,
    /// Bytes on the wire.
    pub(super) original: u32,
}

impl RecordHeader {
    /// Nothing but zeros, as where nothing was written: no frame, since a frame has a time or a length.
    pub(super) const fn is_zero(&self) -> bool {
        self.seconds == 0 && self.fraction == 0 && self.captured == 0 && self.original == 0
    }
}

impl Pcap {
    /// Reads the file header.
    pub(super) fn open(head: &[u8]) -> Result<Pcap, HeaderError> {
        let magic = *head.first_chunk::<4>().ok_or(HeaderError::NotPcap)?;
        let big_endian = magic[0] == 0xa1;
        let (nanoseconds, modified) = match u32_from(magic, big_endian) {
            0xa1b2_c3d4 => (false, false),
            0xa1b2_3c4d => (true, false),
            0xa1b2_cd34 => (false, true),
            _ => return Err(HeaderError::NotPcap),
        };
        let header: &[u8; FILE_HEADER] = head.first_chunk().ok_or(HeaderError::Cut)?;
        let field = |at| u32_at(header, at, big_endian).unwrap_or(0);
        let version = |at| u16_at(header, at, big_endian).unwrap_or(0);
        // What libpcap reads: 2.0 to 2.4, and DG/UX tcpdump's 543.0.
        let lengths = match (version(4), version(6)) {
            (2, 0..=2) | (543, 0) => Lengths::Swapped,
            (2, 3) => Lengths::Either,
            (2, 4) => Lengths::Normal,
            (major, minor) => return Err(HeaderError::Version(major, minor)),
        };
        let snaplen = field(16);
        let network = field(20);
        let [_, _, low, high] = network.to_be_bytes();
        let link = LinkType(u16::from_be_bytes([low, high]));
        let aix = match (version(4), version(6), nanoseconds || modified) {
            (2, 2, false) => aix_link(network),
            _ => None,
        };
        let (link, nanoseconds) = aix.map_or((link, nanoseconds), |link| (link, true));
        Ok(Pcap {
            big_endian,
            nanoseconds,
            modified,
            lengths,
            link,
            fcs_len: fcs_len(network),
            snaplen,
            max_captured: max_captured(link, snaplen),
            excess: 0,
        })
    }

    /// From now on expects captured lengths that exceed the original ones.
    pub(super) const fn expect_excess(&mut self) {
        self.excess = CAPTURED_EXCESS;
    }

    /// The name of the variant.
    pub(super) const fn name(&self) -> &'static str {
        match (self.modified, self.nanoseconds, self.big_endian) {
            (true, _, false) => "pcap-le-modified",
            (true, _, true) => "pcap-be-modified",
            (false, false, false) => "pcap-le-us",
            (false, false, true) => "pcap-be-us",
            (false, true, false) => "pcap-le-ns",
            (false, true, true) => "pcap-be-ns",
        }
    }

    /// Length of a record header, bytes.
    #[inline]
    pub(super) const fn header_len(&self) -> usize {
        if self.modified { 24 } else { 16 }
    }

    /// Reads the record header at `pos`; `None` where it is not all there.
    #[inline]
    pub(super) fn header(&self, data: &[u8], pos: usize) -> Option<RecordHeader> {
        let bytes = data.get(pos..pos.checked_add(self.header_len())?)?;
        let ([seconds, fraction, first, second, ..], _) = bytes.as_chunks::<4>() else {
            return None;
        };
        let big = self.big_endian;
        let (first, second) = (u32_from(*first, big), u32_from(*second, big));
        let swap = match self.lengths {
            Lengths::Normal => false,
            Lengths::Swapped => true,
            Lengths::Either => first > second,
        };
        Some(RecordHeader {
            seconds: u32_from(*seconds, big),
            fraction: u32_from(*fraction, big),
            captured: if swap { second } else { first },
            original: if swap { first } else { second },
        })
    }

    /// Whether libpcap would read on: a longer record than it believes in is damage.
    #[inline]
    pub(super) const fn believes(&self, header: &RecordHeader) -> bool {
        header.captured <= self.max_captured
    }

    /// Whether the file header of another capture of this kind stands at `pos`, as where captures
    /// were joined byte by byte: true if all of it is at hand, and `None` if it is none. The first
    /// 16 bytes, read as a record's, would be an empty one of the year 2055.
    #[cold]
    pub(super) fn is_file_header(&self, data: &[u8], pos: usize) -> Option<bool> {
        let bytes = data.get(pos..)?;
        match Pcap::open(bytes) {
            Ok(other) => {
                let alike = Pcap {
                    snaplen: self.snaplen,
                    max_captured: self.max_captured,
                    excess: self.excess,
                    ..other
                };
                (alike == *self).then_some(true)
            }
            Err(HeaderError::Cut) => Some(false),
            Err(_) => None,
        }
    }

    /// Bytes of a record whose captured length is damaged, by its original length, which is the same
    /// where the snap length did not cut it.
    pub(super) fn likely_len(&self, header: &RecordHeader) -> Option<usize> {
        (1..=self.max_captured)
            .contains(&header.original)
            .then(|| self.header_len() + index(header.original))
    }

    /// The time of a record, and whether its fraction is below a second. One of a second or a
    /// little more is a rounding that went over, and is carried; from two seconds on it is garbage
    /// that must not move the capture's clock by up to 71 minutes, and the seconds stand alone.
    #[inline]
    pub(super) fn time(&self, header: &RecordHeader) -> (Timestamp, bool) {
        let (unit, units) = self.resolution();
        let fraction = if header.fraction < 2 * units {
            i64::from(header.fraction)
        } else {
            0
        };
        // At most 2³² · 10⁹ + 2 · 10⁹, which is less than 2⁶³.
        let ns = i64::from(header.seconds) * 1_000_000_000 + fraction * unit;
        (Timestamp::from_ns(ns), header.fraction < units)
    }

    /// The unit of its times.
    #[inline]
    pub(super) const fn unit(&self) -> TimeUnit {
        if self.nanoseconds {
            TimeUnit::Nano
        } else {
            TimeUnit::Micro
        }
    }

    /// Nanoseconds in a unit of the fraction, and units in a second.
    const fn resolution(&self) -> (i64, u32) {
        if self.nanoseconds {
            (1, 1_000_000_000)
        } else {
            (1000, 1_000_000)
        }
    }

    /// Whether a record may begin at `pos`, judged strictly, since nothing says that one does:
    /// unlike [`Pcap::believes`] it wants a packet that is not empty, a fraction below a second,
    /// lengths that agree, and a time near that of the record before.
    pub(super) fn probe(&self, data: &[u8], at_eof: bool, pos: usize, link: Link) -> Probe {
        let Some(header) = self.header(data, pos) else {
            return if at_eof { Probe::No } else { Probe::NeedMore };
        };
        let (_, units) = self.resolution();
        let lengths = (1..=self.max_captured.min(LONGEST)).contains(&header.captured)
            && (1..=self.max_captured).contains(&header.original)
            && header.captured <= header.original.saturating_add(self.excess);
        let time = header.fraction < units
            && link
                .seconds
                .is_none_or(|before| header.seconds.abs_diff(before) <= NEIGHBOUR_SECONDS);
        if !lengths || !time {
            return Probe::No;
        }
        let next = pos
            .saturating_add(self.header_len())
            .saturating_add(index(header.captured));
        let link = Link {
            seconds: Some(header.seconds),
            ..link
        };
        match (next <= data.len(), at_eof) {
            (true, _) => Probe::Record { next, link },
            (false, true) => Probe::Cut,
            (false, false) => Probe::NeedMore,
        }
    }
}

/// Bytes of frame check sequence that the link-type field declares (draft-ietf-opsawg-pcap, 4): bit
/// 26 says that the upper four bits mean something, and they count units of 16 bits.
const fn fcs_len(network: u32) -> u8 {
    if network & 0x0400_0000 == 0 {
        return 0;
    }
    let [top, ..] = network.to_be_bytes();
    (top >> 4) * 2
}

/// The link type of a capture that AIX wrote. Its tcpdump says 2.2, counts nanoseconds under the magic for
/// microseconds, and has interface types (RFC 1573, `ifType`) for link types; no other program that wrote
/// 2.2 is known to have had the link types with these numbers (so Wireshark tells them, too).
const fn aix_link(network: u32) -> Option<LinkType> {
    Some(LinkType(match network {
        // Ethernet, token ring, FDDI, loopback.
        6 => 1,
        9 => 6,
        15 => 10,
        24 => 0,
        _ => return None,
    }))
}

/// The longest packet to believe in. A file header may raise libpcap's bound with its snap length,
/// as captures of large receive offloads do, but not without end.
fn max_captured(link: LinkType, snaplen: u32) -> u32 {
    let least = if super::options::is_large(link) {
        MAX_CAPTURED_LARGE
    } else {
        MAX_CAPTURED
    };
    if snaplen <= MAX_CAPTURED_LARGE {
        snaplen.max(least)
    } else {
        least
    }
}
