//! What is wrong with an expression, and where.

use std::fmt;

/// What an expression may be made of, in short.
const SUPPORTED: &str = "\
supported: [ip|ip6] [src|dst] host ADDRESS, [ip|ip6] [src|dst] net NETWORK,
           [tcp] [src|dst] port|portrange PORT, ip, ip6, tcp, [ip|ip6] proto 6,
           vlan [ID], tcp[tcpflags] & MASK = VALUE, and, or, not, ( )";

/// An expression that cannot be used. Its text shows the expression with a mark below the mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    message: String,
    /// The expression on one line.
    line: String,
    /// Where in it the mistake is, characters.
    column: usize,
    /// How long the mistake is, characters, at least 1.
    width: usize,
}

impl FilterError {
    /// The bytes of `text` from `at` on, `len` of them, are the mistake.
    pub(super) fn new(text: &str, at: usize, len: usize, message: String) -> FilterError {
        let characters = |part: Option<&str>| part.unwrap_or_default().chars().count();
        FilterError {
            message,
            line: text
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
            column: characters(text.get(..at)),
            width: characters(text.get(at..at + len)).max(1),
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FilterError {
            message,
            line,
            column,
            width,
        } = self;
        let position = column + 1;
        writeln!(f, "{message} (character {position})")?;
        writeln!(f, "  {}", line.trim_end())?;
        writeln!(f, "  {:column$}{:^<width$}", "", "")?;
        f.write_str(SUPPORTED)
    }
}

impl std::error::Error for FilterError {}
