//! What capture tools put in front of IEEE 802.11 frames.

use super::DecodeSink;
use super::cursor::{Cursor, stop};
use super::stats::{Decoded, Layer, Reason};
use super::walk::Walk;

const LAYER: Layer = Layer::Radio;
/// Bytes of frame check sequence (IEEE 802.11, 9.2.4.8).
const FCS: usize = 4;

impl<S: DecodeSink> Walk<'_, S> {
    /// Radiotap (radiotap.org). Of its fields only the flags matter here.
    pub(super) fn radiotap(&mut self, cursor: Cursor<'_>) -> Decoded {
        const FCS_AT_END: u8 = 0x10;
        const PADDED: u8 = 0x20;
        const BAD_FCS: u8 = 0x40;
        self.enter(LAYER)?;
        let mut frame = cursor;
        let &[version, _, len0, len1] = cursor.look(LAYER)?;
        if version != 0 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        let header = frame.slice(usize::from(u16::from_le_bytes([len0, len1])), LAYER)?;
        let flags = radiotap_flags(Cursor::new(header, 0)).unwrap_or(0);
        if flags & FCS_AT_END != 0 {
            frame.trim_end(FCS);
        }
        if flags & BAD_FCS != 0 {
            return Err(stop(Layer::Wifi, Reason::DamagedOnAir));
        }
        self.wifi(frame, flags & PADDED != 0)
    }

    /// The header of wlan-ng for Prism chips, or AVS's under the same link type.
    pub(super) fn prism(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        self.enter(LAYER)?;
        let &[m0, m1, m2, _, l0, l1, l2, l3] = cursor.look(LAYER)?;
        if [m0, m1, m2] == [0x80, 0x21, 0x10] {
            return self.avs(cursor);
        }
        // In the machine's byte order; lengths are small.
        let raw = [l0, l1, l2, l3];
        let length = u32::from_le_bytes(raw).min(u32::from_be_bytes(raw));
        if length < 8 {
            return Err(stop(LAYER, Reason::BadLength));
        }
        cursor.skip(length as usize, LAYER)?;
        self.wifi(cursor, false)
    }

    /// AVS: magic and version, then the header's length, big-endian.
    pub(super) fn avs(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        self.enter(LAYER)?;
        let &[m0, m1, m2, _, l0, l1, l2, l3] = cursor.look(LAYER)?;
        if [m0, m1, m2] != [0x80, 0x21, 0x10] {
            return Err(stop(LAYER, Reason::BadHeader));
        }
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length < 8 {
            return Err(stop(LAYER, Reason::BadLength));
        }
        cursor.skip(length, LAYER)?;
        self.wifi(cursor, false)
    }

    /// PPI: version, flags, length and the inner link type, little-endian; then fields.
    pub(super) fn ppi(&mut self, mut cursor: Cursor<'_>) -> Decoded {
        let &[version, _, l0, l1, t0, t1, t2, t3] = cursor.look(LAYER)?;
        if version != 0 {
            return Err(stop(LAYER, Reason::BadVersion));
        }
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        if length < 8 {
            return Err(stop(LAYER, Reason::BadLength));
        }
        let header = cursor.slice(length, LAYER)?;
        let link = u32::from_le_bytes([t0, t1, t2, t3]);
        // The common 802.11 field tells whether the frame check sequence was captured.
        if let Some(flags) = ppi_flags(Cursor::new(header, 0)) {
            if flags & 0x0001 != 0 {
                cursor.trim_end(FCS);
            }
            if flags & 0x0004 != 0 {
                return Err(stop(Layer::Wifi, Reason::DamagedOnAir));
            }
        }
        self.inner_link(link, cursor)
    }
}

/// The flags field of a radiotap header, where there is one.
fn radiotap_flags(mut header: Cursor<'_>) -> Option<u8> {
    const TIME: u32 = 1;
    const FLAGS: u32 = 1 << 1;
    const ANOTHER_WORD: u32 = 1 << 31;
    header.skip(4, LAYER).ok()?;
    let present = u32::from_le_bytes(*header.take(LAYER).ok()?);
    let mut word = present;
    while word & ANOTHER_WORD != 0 {
        word = u32::from_le_bytes(*header.take(LAYER).ok()?);
    }
    if present & FLAGS == 0 {
        return None;
    }
    if present & TIME != 0 {
        // Eight bytes at their natural alignment, from the start of the header.
        let padding = header.at().next_multiple_of(8) - header.at();
        header.skip(padding + 8, LAYER).ok()?;
    }
    let &[flags] = header.take(LAYER).ok()?;
    Some(flags)
}

/// The flags of PPI's 802.11-common field.
fn ppi_flags(mut header: Cursor<'_>) -> Option<u16> {
    const COMMON: u16 = 2;
    header.skip(8, LAYER).ok()?;
    loop {
        let &[k0, k1, l0, l1] = header.take(LAYER).ok()?;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let field = header.slice(length, LAYER).ok()?;
        if u16::from_le_bytes([k0, k1]) == COMMON {
            // A time of eight bytes stands first.
            let &[_, _, _, _, _, _, _, _, f0, f1] = field.first_chunk()?;
            return Some(u16::from_le_bytes([f0, f1]));
        }
    }
}
