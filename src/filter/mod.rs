//! Filter expressions in the syntax of pcap-filter(7), as far as they say something of TCP flows.
//!
//! An expression is parsed once into a list of steps, and evaluating it allocates nothing. What it
//! means is libpcap's meaning, but for these decisions (`docs/adr/0015-filter-keeps-flows.md`):
//!
//! - A segment matches if the whole expression holds for it or for its mirror image, in which
//!   source and destination have changed places. So both directions of a flow are kept.
//! - Addresses and ports are the flow's own, inside all tags and tunnels. `vlan 5` holds if one of
//!   the outermost frame's first two tags has that id, and changes nothing of what follows it.
//! - Flags are those of the segment itself, in IPv6 too.
//!
//! | file | what it does |
//! |---|---|
//! | `lexer.rs` | text to tokens |
//! | `parser.rs` | tokens to steps; the grammar |
//! | `qualifiers.rs` | what goes with what before a value |
//! | `operand.rs` | words to addresses, networks, ports |
//! | `flags.rs` | the arithmetic of `tcp[tcpflags] & … = …` |
//! | `gather.rs` | steps that ask for one of many values to one step |
//! | `predicate.rs` | steps, and whether they hold for a segment |
//! | `error.rs` | what is wrong with an expression, and where |

mod error;
mod flags;
mod gather;
mod lexer;
mod operand;
mod parser;
mod predicate;
mod qualifiers;

#[cfg(test)]
mod tests;

use crate::model::{Encapsulation, FlowKey, Side, TcpFlags};

pub use error::FilterError;
use predicate::{Step, View, hold};

/// A filter expression, ready for use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    text: String,
    steps: Vec<Step>,
    tests_flags: bool,
}

impl Filter {
    /// Parses an expression. One without any token matches everything, as in tcpdump.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        let (steps, tests_flags) = parser::parse(text)?;
        Ok(Filter {
            text: text.to_owned(),
            steps,
            tests_flags,
        })
    }

    /// The expression as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression looks at flags, so it may keep some segments of a flow and not others.
    pub const fn tests_flags(&self) -> bool {
        self.tests_flags
    }

    /// Whether a segment that `from` sent matches: it or its mirror image.
    pub fn matches(
        &self,
        key: &FlowKey,
        from: Side,
        flags: TcpFlags,
        encapsulation: &Encapsulation,
    ) -> bool {
        let view = View::new(key, from, flags, encapsulation);
        self.steps.is_empty() || hold(&self.steps, &view) || hold(&self.steps, &view.mirrored())
    }
}
