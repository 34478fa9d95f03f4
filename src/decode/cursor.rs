//! A place in a packet. It only ever moves forward.

use super::stats::{Layer, Reason, Undecoded};

/// The bytes that are left, how far into the backing they begin, and what the capture lacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes that were on the wire behind `bytes` and were not captured: as the frame's recorded length
    /// says, until a header declares more.
    cut: usize,
}

/// Stops decoding at this layer.
pub(super) const fn stop(layer: Layer, reason: Reason) -> Undecoded {
    Undecoded { layer, reason }
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of a packet of which `cut` bytes at the end were not captured.
    pub(super) const fn new(bytes: &'a [u8], cut: usize) -> Cursor<'a> {
        Cursor { bytes, at: 0, cut }
    }

    /// Bytes that follow on the wire and were not captured.
    pub(super) const fn cut(&self) -> usize {
        self.cut
    }

    /// Bytes that are left on the wire, captured or not.
    pub(super) const fn wire_len(&self) -> usize {
        self.bytes.len().saturating_add(self.cut)
    }

    /// Stops decoding for want of bytes: the snap length's fault, or the packet's own.
    #[cold]
    pub(super) const fn short(&self, layer: Layer) -> Undecoded {
        let reason = if self.cut > 0 {
            Reason::Truncated
        } else {
            Reason::BadLength
        };
        stop(layer, reason)
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
    pub(super) fn look<const N: usize>(&self, layer: Layer) -> Result<&'a [u8; N], Undecoded> {
        self.bytes.first_chunk().ok_or_else(|| self.short(layer))
    }

    /// The next `N` bytes if they are there, without moving.
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
            None => Err(self.short(layer)),
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
            None => Err(self.short(layer)),
        }
    }

    /// Moves past `n` bytes of this layer's header.
    #[inline]
    pub(super) fn skip(&mut self, n: usize, layer: Layer) -> Result<(), Undecoded> {
        self.slice(n, layer).map(|_| ())
    }

    /// Leaves at most `n` bytes of the wire: what follows belongs to an outer layer (padding, a
    /// checksum).
    #[inline]
    pub(super) fn bound(&mut self, n: usize) {
        if let Some(head) = self.bytes.get(..n) {
            self.bytes = head;
            self.cut = 0;
        } else {
            self.cut = self.cut.min(n - self.bytes.len());
        }
    }

    /// Leaves exactly `n` bytes of the wire, however long an outer layer says that it is: tools that cut
    /// frames short may write the length of what they left for the original one, and mirrors that cut
    /// before they encapsulate give the tunnel's headers the length of what they left.
    #[inline]
    pub(super) fn declare(&mut self, n: usize) {
        if let Some(head) = self.bytes.get(..n) {
            self.bytes = head;
            self.cut = 0;
        } else {
            self.cut = n - self.bytes.len();
        }
    }

    /// Takes up to `n` bytes off the end on the wire.
    pub(super) fn trim_end(&mut self, n: usize) {
        self.bound(self.wire_len().saturating_sub(n));
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
