//! Which of two copies of stream bytes stands.

use std::fmt;
use std::str::FromStr;

use super::policy::by_name;

/// An overlap policy: a named convention, not a claim about any host of today. Current systems
/// agree with none of them in every case ("PYROLYSE", arXiv 2508.00735).
///
/// Sources: Shankar and Paxson, "Active Mapping", 2003; Novak and Sturges, "Target-Based TCP Stream
/// Reassembly", 2007. The rules stand in `reassembly/overlap.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OverlapPolicy {
    /// The copy captured first.
    #[default]
    First,
    /// The copy captured last, even of bytes that were acknowledged.
    Last,
    /// The segment that begins lower (as BSD, macOS, HP-UX 10 and IRIX were found to do).
    Bsd,
    /// As `bsd`; of two that begin together the one that reaches further.
    Linux,
    /// As `bsd`; of two that begin together the later, unless it ends first.
    OldLinux,
    /// The later, unless it lies within the older or begins before it and ends in it.
    Solaris,
    /// As `bsd`.
    Windows,
    /// As `first`.
    Vista,
}

impl OverlapPolicy {
    /// All values, in the order of the declaration.
    pub const ALL: [OverlapPolicy; 8] = [
        OverlapPolicy::First,
        OverlapPolicy::Last,
        OverlapPolicy::Bsd,
        OverlapPolicy::Linux,
        OverlapPolicy::OldLinux,
        OverlapPolicy::Solaris,
        OverlapPolicy::Windows,
        OverlapPolicy::Vista,
    ];

    /// The name on the command line and in `conflicts.parquet`.
    pub const fn name(self) -> &'static str {
        match self {
            OverlapPolicy::First => "first",
            OverlapPolicy::Last => "last",
            OverlapPolicy::Bsd => "bsd",
            OverlapPolicy::Linux => "linux",
            OverlapPolicy::OldLinux => "old-linux",
            OverlapPolicy::Solaris => "solaris",
            OverlapPolicy::Windows => "windows",
            OverlapPolicy::Vista => "vista",
        }
    }
}

impl fmt::Display for OverlapPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OverlapPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<OverlapPolicy, String> {
        by_name(&OverlapPolicy::ALL, OverlapPolicy::name, text)
    }
}
