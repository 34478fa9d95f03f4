//! pcapng options (draft-ietf-opsawg-pcapng, 3.5) and what is made of their values.

use super::bytes::u16_at;
use crate::model::{LinkType, TimeUnit, Timestamp};

/// Walks the options of a block. It ends at the end-of-options mark, at the end of the block, or
/// at the first option that is not wholly there: what lies behind cannot be told apart.
pub(super) struct Options<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> Options<'a> {
    /// The options in `bytes`.
    pub(super) const fn new(bytes: &'a [u8], big_endian: bool) -> Options<'a> {
        Options { bytes, big_endian }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let code = u16_at(self.bytes, 0, self.big_endian)?;
        let len = usize::from(u16_at(self.bytes, 2, self.big_endian)?);
        if code == 0 {
            return None;
        }
        let value = self.bytes.get(4..4 + len)?;
        self.bytes = self
            .bytes
            .get(4 + len.next_multiple_of(4)..)
            .unwrap_or_default();
        Some((code, value))
    }
}

/// Units of time of an interface (`if_tsresol`, draft-ietf-opsawg-pcapng, 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resolution {
    /// A unit is this many nanoseconds.
    Coarse(u32),
    /// So many units are a nanosecond; 0 = more than 64 bits count up to.
    Fine(u64),
    /// 2ⁿ units are a second.
    Binary(u8),
}

impl Resolution {
    /// Without the option: microseconds.
    pub(super) const DEFAULT: Resolution = Resolution::Coarse(1000);

    /// What the option's value means: a negative power of 2 with the top bit, of 10 without.
    pub(super) fn from_option(value: u8) -> Resolution {
        let exponent = u32::from(value & 0x7f);
        if value & 0x80 != 0 {
            Resolution::Binary(value & 0x7f)
        } else if exponent <= 9 {
            Resolution::Coarse(10u32.pow(9 - exponent))
        } else {
            Resolution::Fine(10u64.checked_pow(exponent - 9).unwrap_or(0))
        }
    }

    /// The unit that the pcap format has for such times.
    #[inline]
    pub(super) const fn unit(self) -> TimeUnit {
        match self {
            Resolution::Coarse(unit) if unit >= 1000 => TimeUnit::Micro,
            _ => TimeUnit::Nano,
        }
    }

    /// The time that is `units` and `offset` seconds after the epoch, rounded down to nanoseconds,
    /// and whether it could be expressed; if not, it is the nearest that can.
    #[inline]
    pub(super) fn time(self, units: u64, offset: i64) -> (Timestamp, bool) {
        let ns = match self {
            Resolution::Coarse(unit) => u128::from(units) * u128::from(unit),
            Resolution::Fine(per_ns) => u128::from(units.checked_div(per_ns).unwrap_or(0)),
            Resolution::Binary(exponent) => (u128::from(units) * 1_000_000_000) >> exponent,
        };
        // At most 2⁶⁴ · 10⁹, far from the ends of 128 bits.
        let ns = i128::try_from(ns).unwrap_or(i128::MAX) + i128::from(offset) * 1_000_000_000;
        // i64::MIN itself means that there is no time.
        let bounded = ns.clamp(i128::from(i64::MIN + 1), i128::from(i64::MAX));
        let time = Timestamp::from_ns(i64::try_from(bounded).unwrap_or(i64::MAX));
        (time, bounded == ns)
    }
}

/// Bytes of frame check sequence in an `if_fcslen` option. The specification said bits and now says
/// octets, and files of both kinds exist; no sequence is 8 octets or more, nor below 8 bits.
pub(super) const fn fcs_octets(value: u8) -> u8 {
    if value >= 8 { value / 8 } else { value }
}

/// Bytes of frame check sequence in the flags word of a packet (draft-ietf-opsawg-pcapng, 4.3.1),
/// bits 5 to 8; 0 where it is silent.
pub(super) const fn fcs_of_flags(flags: u32) -> u8 {
    let [_, _, b, a] = flags.to_be_bytes();
    (u16::from_be_bytes([b, a]) >> 5 & 0xf).to_be_bytes()[1]
}

/// Whether "packets" of this link type are large transfers, for which libpcap raises its bound:
/// USB with a Linux mmapped header, D-Bus, `USBPcap`, Elektrobit high-speed.
pub(super) const fn is_large(link: LinkType) -> bool {
    matches!(link.0, 220 | 231 | 249 | 279)
}
