//! Integers of either byte order out of slices.

/// The four bytes at `at`; `None` beyond the end.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|four| u32_from(*four, big_endian))
}

/// The two bytes at `at`; `None` beyond the end.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize, big_endian: bool) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|two| u16_from(*two, big_endian))
}

/// Two bytes as an integer.
#[inline]
const fn u16_from(bytes: [u8; 2], big_endian: bool) -> u16 {
    if big_endian {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    }
}

/// Four bytes as an integer.
#[inline]
pub(super) const fn u32_from(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

/// A length in the address space. Captures are only ever addressed through slices that are in it.
#[inline]
pub(super) fn index(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
