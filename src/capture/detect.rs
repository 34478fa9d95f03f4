//! Which format a capture has.

use std::path::Path;
use std::sync::Arc;

use super::error::{CaptureError, FirstBytes};
use super::pcap::{FILE_HEADER, HeaderError, Pcap};
use super::pcapng::{self, NoBlock, SECTION_HEADER, SECTION_HEADER_LEN, Section};
use super::state::{Format, WalkState};
use super::{bytes, foreign};

/// So many first bytes tell every format that is known, bytes: a tar archive has its mark at the 257th.
pub(super) const ENOUGH: usize = 512;

/// The format that the first bytes of a file tell, and the state in which a walk of it begins. `head`
/// is the whole file where it has fewer than [`ENOUGH`] bytes.
pub(super) fn detect(path: &Path, head: &[u8]) -> Result<WalkState, CaptureError> {
    let cut = |format, need: usize| CaptureError::HeaderCut {
        path: path.into(),
        format,
        have: head.len() as u64,
        need: need as u64,
    };
    let foreign = || {
        let (what, advice) = foreign::identify(head);
        CaptureError::Foreign {
            path: path.into(),
            what,
            first: FirstBytes::of(head),
            advice,
        }
    };
    // A section header's type reads the same in both byte orders.
    if bytes::u32_at(head, 0, false) == Some(SECTION_HEADER) {
        if head.len() < SECTION_HEADER_LEN {
            return Err(cut("pcapng", SECTION_HEADER_LEN));
        }
        let big_endian = match pcapng::byte_order(head) {
            Ok(big_endian) => big_endian,
            Err(NoBlock::Short) => return Err(cut("pcapng", SECTION_HEADER_LEN)),
            Err(NoBlock::Damaged(_)) => return Err(foreign()),
        };
        let version = |at| bytes::u16_at(head, at, big_endian).unwrap_or(0);
        if version(12) != 1 {
            return Err(CaptureError::Version {
                path: path.into(),
                format: "pcapng",
                major: version(12),
                minor: version(14),
                supported: "1.x",
            });
        }
        let format = Format::Pcapng(Arc::new(Section::new(big_endian)));
        return Ok(WalkState::new(0, format));
    }
    match Pcap::open(head) {
        Ok(pcap) => Ok(WalkState::new(FILE_HEADER as u64, Format::Pcap(pcap))),
        Err(HeaderError::NotPcap) => Err(foreign()),
        Err(HeaderError::Cut) => Err(cut("pcap", FILE_HEADER)),
        Err(HeaderError::Version(major, minor)) => Err(CaptureError::Version {
            path: path.into(),
            format: "pcap",
            major,
            minor,
            supported: "2.0 to 2.4, and 543.0",
        }),
    }
}
