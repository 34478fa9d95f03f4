//! A place in a packet. It only ever moves forward.

use super::stats::{Layer, Reason, Undecoded};

/// The bytes that are left, and how far into the backing they begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Stops decoding at this layer.
pub(super) const fn stop(layer: Layer, reason: Reason) -> Undecoded {
    Undecoded { layer, reason }
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// The bytes that are left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes are left.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Offset of the next byte from the start of the backing.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The next `N` bytes, without moving.
    #[inline]
    pub(super) fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes.first_chunk()
    }

    /// The next `N` bytes of this layer's header.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self, layer: Layer) -> Result<&'a [u8; N], Undecoded> {
        match self.bytes.split_first_chunk() {
            Some((head, rest)) => {
                self.bytes = rest;
                self.at += N;
                Ok(head)
            }
            None => Err(stop(layer, Reason::Truncated)),
        }
    }

    /// The next `n` bytes of this layer's header.
    #[inline]
    pub(super) fn slice(&mut self, n: usize, layer: Layer) -> Result<&'a [u8], Undecoded> {
        match self.bytes.split_at_checked(n) {
            Some((head, rest)) => {
                self.bytes = rest;
                self.at += n;
                Ok(head)
            }
            None => Err(stop(layer, Reason::Truncated)),
        }
    }

    /// Moves past `n` bytes of this layer's header.
    #[inline]
    pub(super) fn skip(&mut self, n: usize, layer: Layer) -> Result<(), Undecoded> {
        self.slice(n, layer).map(|_| ())
    }

    /// Leaves at most `n` bytes: what follows belongs to an outer layer (padding, a checksum).
    #[inline]
    pub(super) fn bound(&mut self, n: usize) {
        if let Some(head) = self.bytes.get(..n) {
            self.bytes = head;
        }
    }

    /// Takes up to `n` bytes off the end.
    pub(super) fn trim_end(&mut self, n: usize) {
        self.bound(self.len().saturating_sub(n));
    }
}

/// Big-endian 16 bits.
#[inline]
pub(super) const fn be16(a: u8, b: u8) -> u16 {
    u16::from_be_bytes([a, b])
}

/// Big-endian 24 bits.
#[inline]
pub(super) const fn be24(a: u8, b: u8, c: u8) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
