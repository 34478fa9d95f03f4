//! Payload by reference: where bytes lie in the input, not the bytes themselves.

use std::borrow::Cow;
use std::sync::Arc;

/// A byte position in the input: which file, and where in it.
///
/// The file index takes the upper 16 bits, the offset the lower 48 (256 TiB a file), so that a
/// position costs eight bytes wherever one is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InputPos(u64);

impl InputPos {
    /// Bits of the offset within a file.
    pub const OFFSET_BITS: u32 = 48;

    /// The position of byte `offset` (less than 2⁴⁸) of input number `file`.
    pub const fn new(file: u16, offset: u64) -> InputPos {
        InputPos(((file as u64) << Self::OFFSET_BITS) | (offset & ((1 << Self::OFFSET_BITS) - 1)))
    }

    /// The index of the input file.
    pub const fn file(self) -> u16 {
        (self.0 >> Self::OFFSET_BITS) as u16
    }

    /// The offset in that file, bytes.
    pub const fn offset(self) -> u64 {
        self.0 & ((1 << Self::OFFSET_BITS) - 1)
    }

    /// The position `bytes` further on in the same file.
    #[must_use]
    pub const fn advance(self, bytes: u64) -> InputPos {
        InputPos::new(self.file(), self.offset().wrapping_add(bytes))
    }
}

/// The captured payload of one segment, by reference.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Bytes that lie in the input as they are.
    Input {
        /// Where the first byte lies.
        at: InputPos,
        /// How many bytes.
        len: u32,
    },
    /// Bytes that exist nowhere in the input in one piece: defragmented or decompressed.
    Owned {
        /// Where they are. They are rare, and payload is kept by the million: hence a pointer.
        held: Box<HeldBytes>,
        /// How many bytes.
        len: u32,
    },
}

/// Bytes in memory.
#[derive(Clone, Debug)]
pub struct HeldBytes {
    /// The whole datagram.
    buffer: Arc<[u8]>,
    /// Where the payload begins in it.
    start: u32,
}

impl Payload {
    /// No payload.
    pub const EMPTY: Payload = Payload::Input {
        at: InputPos::new(0, 0),
        len: 0,
    };

    /// Length in bytes.
    pub const fn len(&self) -> u32 {
        match self {
            Payload::Input { len, .. } | Payload::Owned { len, .. } => *len,
        }
    }

    /// Bytes of a buffer. A part that is less than a quarter of it gets one of its own, so that nothing
    /// small keeps something large alive.
    pub fn owned(buffer: &Arc<[u8]>, start: u32, len: u32) -> Payload {
        const SHARE: usize = 4;
        let bytes = buffer
            .get(start as usize..)
            .and_then(|rest| rest.get(..len as usize));
        let held = match bytes {
            Some(bytes) if bytes.len() < buffer.len() / SHARE => HeldBytes {
                buffer: bytes.into(),
                start: 0,
            },
            _ => HeldBytes {
                buffer: Arc::clone(buffer),
                start,
            },
        };
        Payload::Owned {
            held: Box::new(held),
            len,
        }
    }

    /// Bytes of memory that it keeps alive, as its share: parts of one buffer add up to the buffer. What
    /// is left out of a buffer is at most three times what is counted.
    pub const fn owned_len(&self) -> usize {
        match self {
            Payload::Input { .. } => 0,
            Payload::Owned { len, .. } => *len as usize,
        }
    }

    /// Whether there is no byte in it.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part that begins `skip` bytes in and is `take` bytes long; both are cut to what is
    /// there.
    #[must_use]
    pub fn slice(&self, skip: u32, take: u32) -> Payload {
        let skip = skip.min(self.len());
        let take = take.min(self.len() - skip);
        match self {
            Payload::Input { at, .. } => Payload::Input {
                at: at.advance(u64::from(skip)),
                len: take,
            },
            Payload::Owned { held, .. } => {
                Payload::owned(&held.buffer, held.start.saturating_add(skip), take)
            }
        }
    }

    /// The bytes themselves. `Owned` bytes outside their buffer read as none.
    pub fn bytes<'a>(&'a self, source: &'a (impl PayloadSource + ?Sized)) -> Cow<'a, [u8]> {
        match self {
            Payload::Input { at, len } => source.read(*at, *len),
            Payload::Owned { held, len } => {
                let start = held.start as usize;
                let bytes = held.buffer.get(start..start + *len as usize);
                Cow::Borrowed(bytes.unwrap_or_default())
            }
        }
    }
}

/// Gives the bytes that a [`Payload`] refers to. The memory map is one; a test's `Vec` another.
pub trait PayloadSource: Sync {
    /// The `len` bytes at `at`. Where the input can no longer give them (the file shrank, a read
    /// failed) the answer is shorter; the source remembers the error for whoever runs it.
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]>;
}

impl PayloadSource for [u8] {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        let start = usize::try_from(at.offset())
            .unwrap_or(usize::MAX)
            .min(self.len());
        let end = start.saturating_add(len as usize).min(self.len());
        Cow::Borrowed(&self[start..end])
    }
}

impl PayloadSource for Vec<u8> {
    fn read(&self, at: InputPos, len: u32) -> Cow<'_, [u8]> {
        self.as_slice().read(at, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_file_and_offset_apart() {
        let at = InputPos::new(7, (1 << 48) - 1);
        assert_eq!((at.file(), at.offset()), (7, (1 << 48) - 1));
        assert_eq!(InputPos::new(3, 10).advance(5), InputPos::new(3, 15));
    }

    #[test]
    fn slices_are_cut_to_what_is_there() {
        let source: &[u8] = b"0123456789";
        let whole = Payload::Input {
            at: InputPos::new(0, 2),
            len: 6,
        };
        assert_eq!(&*whole.slice(1, 3).bytes(source), b"345");
        assert_eq!(&*whole.slice(4, 99).bytes(source), b"67");
        assert!(whole.slice(99, 1).is_empty());
        let owned = Payload::owned(&Arc::from(&b"abcdef"[..]), 1, 4);
        assert_eq!(&*owned.slice(1, 2).bytes(source), b"cd");
        assert_eq!(&*owned.slice(3, 9).bytes(source), b"e");
    }

    #[test]
    fn a_small_part_keeps_no_large_buffer_alive() {
        let buffer: Arc<[u8]> = (0..100).collect();
        let source: &[u8] = b"";
        let (small, large) = (
            Payload::owned(&buffer, 60, 20),
            Payload::owned(&buffer, 60, 30),
        );
        assert_eq!(Arc::strong_count(&buffer), 2);
        assert_eq!(&*small.bytes(source), &buffer[60..80]);
        assert_eq!(&*large.bytes(source), &buffer[60..90]);
        assert_eq!((small.owned_len(), large.owned_len()), (20, 30));
        assert!(Payload::owned(&buffer, 90, 20).bytes(source).is_empty());
    }
}
