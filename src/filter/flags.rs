//! The arithmetic of `tcp[tcpflags] & (tcp-syn|tcp-fin) != 0`.
//!
//! The byte of flags is the only variable, so an arithmetic expression is the list of its values
//! for the 256 values of that byte, and a comparison of two is the set of bytes for which it holds.

use super::operand::number;
use crate::model::TcpFlags;

/// Bytes of flags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FlagSet(Box<[bool; 256]>);

impl FlagSet {
    pub(super) fn contains(&self, flags: TcpFlags) -> bool {
        self.0[usize::from(flags.0)]
    }

    /// It has some bytes and not all.
    pub(super) fn tells_apart(&self) -> bool {
        self.0.contains(&true) && self.0.contains(&false)
    }
}

/// The values of an arithmetic expression, by the byte of flags.
#[derive(Clone, Debug)]
pub(super) struct Values(Box<[u32; 256]>);

impl Values {
    /// The byte itself.
    pub(super) fn flags() -> Values {
        let mut values = Box::new([0; 256]);
        for (value, byte) in values.iter_mut().zip(0..) {
            *value = byte;
        }
        Values(values)
    }

    /// A number, or a flag by its name in pcap-filter(7).
    pub(super) fn constant(text: &str) -> Option<Values> {
        let value = match text {
            "tcp-fin" => 0x01,
            "tcp-syn" => 0x02,
            "tcp-rst" => 0x04,
            "tcp-push" => 0x08,
            "tcp-ack" => 0x10,
            "tcp-urg" => 0x20,
            "tcp-ece" => 0x40,
            "tcp-cwr" => 0x80,
            _ => number(text)?,
        };
        Some(Values(Box::new([value; 256])))
    }

    /// Value by value.
    #[must_use]
    pub(super) fn combine(mut self, other: &Values, operation: fn(u32, u32) -> u32) -> Values {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = operation(*mine, *theirs);
        }
        self
    }

    /// Where the comparison holds; `None` if `sign` is none.
    pub(super) fn compare(&self, sign: &str, other: &Values) -> Option<FlagSet> {
        let holds: fn(&u32, &u32) -> bool = match sign {
            "=" | "==" => u32::eq,
            "!=" => u32::ne,
            "<" => u32::lt,
            "<=" => u32::le,
            ">" => u32::gt,
            ">=" => u32::ge,
            _ => return None,
        };
        let mut set = Box::new([false; 256]);
        for (at, (mine, theirs)) in set.iter_mut().zip(self.0.iter().zip(other.0.iter())) {
            *at = holds(mine, theirs);
        }
        Some(FlagSet(set))
    }
}
