//! A parsed expression, and whether it holds.

use std::ops::RangeInclusive;

use super::flags::FlagSet;
use super::gather::{NetSet, PortSet};
use crate::model::{Encapsulation, Endpoint, FlowKey, Side, TcpFlags};

/// How a step is joined to what stands before it. Both bind alike, from left to right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Join {
    And,
    Or,
}

/// One operand of a chain of `and` and `or`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// `Or` in the first step.
    pub(super) join: Join,
    pub(super) negated: bool,
    pub(super) node: Node,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Test(Test),
    /// A chain in parentheses.
    Group(Vec<Step>),
}

/// Which of a segment's ends a test looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    Source,
    Destination,
    Either,
    Both,
}

/// The addresses of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Net {
    /// 4 or 6.
    pub(super) version: u8,
    /// As in [`Endpoint`]: an IPv4 address fills the upper 32 bits.
    pub(super) addr: u128,
    pub(super) mask: u128,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Test {
    /// Every segment is TCP.
    Tcp,
    /// IP of this version.
    Version(u8),
    Net(Ends, Net),
    /// One of several.
    NetSet(Ends, NetSet),
    Ports(Ends, RangeInclusive<u16>),
    /// One of several.
    PortSet(Ends, PortSet),
    Tagged,
    Vlan(u16),
    /// One of several, sorted.
    Vlans(Vec<u16>),
    Flags(FlagSet),
}

/// What an expression sees of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    version: u8,
    source: End,
    destination: End,
    flags: TcpFlags,
    encapsulation: &'a Encapsulation,
}

#[derive(Clone, Copy, Debug)]
struct End {
    addr: u128,
    port: u16,
}

impl From<Endpoint> for End {
    fn from(end: Endpoint) -> End {
        End {
            addr: u128::from_be_bytes(end.addr),
            port: end.port,
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(
        key: &FlowKey,
        from: Side,
        flags: TcpFlags,
        encapsulation: &'a Encapsulation,
    ) -> View<'a> {
        View {
            version: key.version(),
            source: key.end(from).into(),
            destination: key.end(from.other()).into(),
            flags,
            encapsulation,
        }
    }

    /// The same segment with its ends in each other's place.
    pub(super) fn mirrored(self) -> View<'a> {
        View {
            source: self.destination,
            destination: self.source,
            ..self
        }
    }
}

/// Whether a chain holds. Recursion ends where parentheses do, and the parser bounds those.
pub(super) fn hold(steps: &[Step], view: &View<'_>) -> bool {
    steps.iter().fold(false, |so_far, step| {
        // True or anything is true; false and anything is false.
        if so_far == (step.join == Join::Or) {
            return so_far;
        }
        step.negated
            != match &step.node {
                Node::Test(test) => test.holds(view),
                Node::Group(steps) => hold(steps, view),
            }
    })
}

impl Test {
    fn holds(&self, view: &View<'_>) -> bool {
        match self {
            Test::Tcp => true,
            Test::Version(version) => view.version == *version,
            Test::Net(ends, net) => {
                view.version == net.version
                    && ends.hold(view, |end| end.addr & net.mask == net.addr)
            }
            Test::NetSet(ends, nets) => {
                ends.hold(view, |end| nets.contains(view.version, end.addr))
            }
            Test::Ports(ends, ports) => ends.hold(view, |end| ports.contains(&end.port)),
            Test::PortSet(ends, ports) => ends.hold(view, |end| ports.contains(end.port)),
            Test::Tagged => view.encapsulation.vlan.is_some(),
            Test::Vlan(id) => {
                let Encapsulation {
                    vlan, inner_vlan, ..
                } = view.encapsulation;
                [*vlan, *inner_vlan].contains(&Some(*id))
            }
            Test::Vlans(ids) => {
                let Encapsulation {
                    vlan, inner_vlan, ..
                } = view.encapsulation;
                let is_one = |id: &u16| ids.binary_search(id).is_ok();
                [vlan, inner_vlan].into_iter().flatten().any(is_one)
            }
            Test::Flags(set) => set.contains(view.flags),
        }
    }
}

impl Ends {
    fn hold(self, view: &View<'_>, test: impl Fn(End) -> bool) -> bool {
        match self {
            Ends::Source => test(view.source),
            Ends::Destination => test(view.destination),
            Ends::Either => test(view.source) || test(view.destination),
            Ends::Both => test(view.source) && test(view.destination),
        }
    }
}
