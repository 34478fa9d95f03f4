//! Many values to one test: what a list of ports or addresses costs per segment.
//!
//! A list of thousands of ports parses into as many steps, and asking one after the other costs as
//! many comparisons for each segment. So the steps of a chain that ask for the same thing become one
//! test of a sorted table. What an expression means does not change.

use std::ops::RangeInclusive;

use super::predicate::{Ends, Join, Net, Node, Step, Test};

/// Sorted ranges of ports that do not touch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PortSet(Vec<RangeInclusive<u16>>);

impl PortSet {
    fn new(mut ranges: Vec<RangeInclusive<u16>>) -> PortSet {
        ranges.sort_by_key(|range| *range.start());
        let mut set: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match set.last_mut() {
                Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => set.push(range),
            }
        }
        PortSet(set)
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        let behind = self.0.partition_point(|range| *range.start() <= port);
        behind > 0 && *self.0[behind - 1].end() >= port
    }
}

/// Networks, by version and mask: as many tables as there are lengths of prefixes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NetSet(Vec<(u8, u128, Vec<u128>)>);

impl NetSet {
    fn new(mut nets: Vec<Net>) -> NetSet {
        nets.sort_by_key(|net| (net.version, net.mask, net.addr));
        nets.dedup();
        let tables = nets.chunk_by(|a, b| (a.version, a.mask) == (b.version, b.mask));
        NetSet(
            tables
                .filter_map(|table| {
                    let first = table.first()?;
                    let addresses = table.iter().map(|net| net.addr).collect();
                    Some((first.version, first.mask, addresses))
                })
                .collect(),
        )
    }

    pub(super) fn contains(&self, version: u8, addr: u128) -> bool {
        self.0.iter().any(|(of, mask, addresses)| {
            *of == version && addresses.binary_search(&(addr & mask)).is_ok()
        })
    }
}

/// The same chain with fewer steps. Depth does not grow.
pub(super) fn gather(steps: Vec<Step>) -> Vec<Step> {
    let steps: Vec<Step> = steps.into_iter().map(inside).collect();
    // The first step has no join of its own: it goes with what follows it.
    let first = steps.get(1).map_or(Join::Or, |second| second.join);
    let mut gathered: Vec<Step> = Vec::new();
    let mut steps = steps.into_iter().enumerate().peekable();
    while let Some((index, step)) = steps.next() {
        let join = if index == 0 { first } else { step.join };
        let mut run = Run::new(join);
        run.add(step);
        while let Some((_, step)) = steps.next_if(|(_, next)| next.join == join) {
            run.add(step);
        }
        gathered.extend(run.finish());
    }
    if let Some(first) = gathered.first_mut() {
        first.join = Join::Or;
    }
    gathered
}

/// A step whose group is gathered, and opened where it holds one step.
fn inside(step: Step) -> Step {
    let Node::Group(steps) = step.node else {
        return step;
    };
    let mut steps = gather(steps);
    if steps.len() == 1
        && let Some(only) = steps.pop()
    {
        return Step {
            negated: step.negated != only.negated,
            node: only.node,
            ..step
        };
    }
    Step {
        node: Node::Group(steps),
        ..step
    }
}

/// Steps that are joined alike, in whatever order.
struct Run {
    join: Join,
    /// Ports and networks asked for, by the ends that are asked.
    ports: [Vec<RangeInclusive<u16>>; 3],
    nets: [Vec<Net>; 3],
    vlans: Vec<u16>,
    others: Vec<Step>,
}

/// The ends for which one value or the other is the same as one of the two. (Both ends are to have
/// the same one, so `Both` is none of them.)
const SEPARATE: [Ends; 3] = [Ends::Source, Ends::Destination, Ends::Either];

fn separate(ends: Ends) -> Option<usize> {
    SEPARATE.iter().position(|one| *one == ends)
}

impl Run {
    fn new(join: Join) -> Run {
        Run {
            join,
            ports: Default::default(),
            nets: Default::default(),
            vlans: Vec::new(),
            others: Vec::new(),
        }
    }

    /// `a or b` is one of two values; `not a and not b` is none of them.
    const fn negates(&self) -> bool {
        matches!(self.join, Join::And)
    }

    fn add(&mut self, step: Step) {
        match step.node {
            // What a group joins alike may as well stand beside it: also `not (a or b)`, which is
            // `not a and not b`.
            Node::Group(steps) if opens(&steps, self.join, step.negated) => {
                for inner in steps {
                    self.add(Step {
                        negated: inner.negated != step.negated,
                        ..inner
                    });
                }
            }
            Node::Test(test) if step.negated == self.negates() => self.add_test(test),
            node => self.others.push(Step { node, ..step }),
        }
    }

    /// A test that is one of several.
    fn add_test(&mut self, test: Test) {
        match test {
            Test::Ports(ends, ports) if separate(ends).is_some() => {
                self.ports[separate(ends).unwrap_or(0)].push(ports);
            }
            Test::PortSet(ends, PortSet(ranges)) if separate(ends).is_some() => {
                self.ports[separate(ends).unwrap_or(0)].extend(ranges);
            }
            Test::Net(ends, net) if separate(ends).is_some() => {
                self.nets[separate(ends).unwrap_or(0)].push(net);
            }
            Test::NetSet(ends, NetSet(tables)) if separate(ends).is_some() => {
                for (version, mask, addresses) in tables {
                    let nets = addresses.into_iter().map(|addr| Net {
                        version,
                        addr,
                        mask,
                    });
                    self.nets[separate(ends).unwrap_or(0)].extend(nets);
                }
            }
            Test::Vlan(id) => self.vlans.push(id),
            Test::Vlans(ids) => self.vlans.extend(ids),
            test => self.others.push(Step {
                join: self.join,
                negated: self.negates(),
                node: Node::Test(test),
            }),
        }
    }

    fn finish(self) -> Vec<Step> {
        let (join, negated) = (self.join, self.negates());
        let mut tests = Vec::new();
        for (ends, mut ports) in SEPARATE.into_iter().zip(self.ports) {
            match ports.len() {
                0 => {}
                1 => tests.extend(ports.pop().map(|ports| Test::Ports(ends, ports))),
                _ => tests.push(Test::PortSet(ends, PortSet::new(ports))),
            }
        }
        for (ends, mut nets) in SEPARATE.into_iter().zip(self.nets) {
            match nets.len() {
                0 => {}
                1 => tests.extend(nets.pop().map(|net| Test::Net(ends, net))),
                _ => tests.push(Test::NetSet(ends, NetSet::new(nets))),
            }
        }
        let mut vlans = self.vlans;
        vlans.sort_unstable();
        vlans.dedup();
        match vlans[..] {
            [] => {}
            [only] => tests.push(Test::Vlan(only)),
            _ => tests.push(Test::Vlans(vlans)),
        }
        let tests = tests.into_iter().map(|test| Step {
            join,
            negated,
            node: Node::Test(test),
        });
        let others = self.others.into_iter().map(|step| Step { join, ..step });
        tests.chain(others).collect()
    }
}

/// Whether a group's steps, each negated if it is, may stand in a chain that is joined so.
fn opens(steps: &[Step], join: Join, negated: bool) -> bool {
    steps
        .iter()
        .skip(1)
        .all(|step| (step.join == join) != negated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::predicate::{View, hold};
    use crate::model::{Encapsulation, Endpoint, FlowKey, Side, TcpFlags};
    use proptest::prelude::*;

    fn steps_in(steps: &[Step]) -> usize {
        let inside = |step: &Step| match &step.node {
            Node::Group(steps) => steps_in(steps),
            Node::Test(_) => 0,
        };
        steps.iter().map(|step| 1 + inside(step)).sum()
    }

    fn parsed(text: &str) -> Vec<Step> {
        crate::filter::parser::parse(text).unwrap().0
    }

    #[test]
    fn thousands_of_values_are_one_step() {
        let list = |values: &mut dyn Iterator<Item = String>, join: &str| {
            values.collect::<Vec<_>>().join(join)
        };
        let ports = || (0..8_500_u32).map(|n| (7 * n).to_string());
        let hosts = || (0..8_500_u32).map(|n| format!("10.1.{}.{}", n / 256, n % 256));
        for (text, most) in [
            (format!("port ({})", list(&mut ports(), " or ")), 1),
            (format!("port {}", list(&mut ports(), " or port ")), 1),
            (
                format!("not port {}", list(&mut ports(), " and not port ")),
                1,
            ),
            (format!("not (port {})", list(&mut ports(), " or ")), 1),
            (format!("host {}", list(&mut hosts(), " or ")), 1),
            (
                format!(
                    "tcp and (src port {} or host {} or net 192.0.2.0/24)",
                    list(&mut ports(), " or host 1.2.3.4 or src port "),
                    list(&mut hosts(), " or port 7 or host "),
                ),
                5,
            ),
        ] {
            let steps = parsed(&text);
            assert!(steps_in(&steps) <= most, "{} steps", steps_in(&steps));
        }
    }

    #[test]
    fn what_a_chain_joins_differently_stays_apart() {
        for (text, steps) in [
            ("port 1 or port 2 and port 3 or port 4", 3),
            ("src and dst port (80 or 443)", 2),
            ("port 80 and port 443", 2),
            ("port 80 or not port 443", 2),
            ("tcp[13] & 2 != 0 or port 80", 2),
        ] {
            assert_eq!(steps_in(&parsed(text)), steps, "{text}: {:?}", parsed(text));
        }
    }

    fn test() -> impl Strategy<Value = Test> {
        let ends = prop_oneof![
            Just(Ends::Source),
            Just(Ends::Destination),
            Just(Ends::Either),
            Just(Ends::Both)
        ];
        let net = (0..4_u128, 0..3_u32).prop_map(|(host, bits)| {
            let mask = u128::MAX << (96 + bits);
            Net {
                version: 4,
                addr: (host << 96) & mask,
                mask,
            }
        });
        prop_oneof![
            (ends.clone(), 0..6_u16, 0..2_u16)
                .prop_map(|(ends, p, n)| Test::Ports(ends, p..=p + n)),
            (ends, net).prop_map(|(ends, net)| Test::Net(ends, net)),
            (0..3_u16).prop_map(Test::Vlan),
            Just(Test::Tagged),
            Just(Test::Version(6)),
        ]
    }

    fn chain() -> impl Strategy<Value = Vec<Step>> {
        fn step(node: Node, negated: bool, and: bool) -> Step {
            Step {
                join: if and { Join::And } else { Join::Or },
                negated,
                node,
            }
        }
        fn of(node: impl Strategy<Value = Node>) -> impl Strategy<Value = Vec<Step>> {
            let steps = (node, any::<bool>(), any::<bool>())
                .prop_map(|(node, negated, and)| step(node, negated, and));
            prop::collection::vec(steps, 1..6).prop_map(|mut steps| {
                steps[0].join = Join::Or;
                steps
            })
        }
        of(test().prop_map(Node::Test)).prop_recursive(3, 40, 6, |inner| {
            of(prop_oneof![
                test().prop_map(Node::Test),
                inner.prop_map(Node::Group)
            ])
        })
    }

    proptest! {
        #[test]
        fn a_gathered_chain_means_the_same(steps in chain()) {
            let gathered = gather(steps.clone());
            prop_assert!(steps_in(&gathered) <= steps_in(&steps));
            for (a, b, vlan) in (0..48_u8).map(|n| (n % 4, n / 4 % 4, n / 16)) {
                for port in 0..7_u16 {
                    let ends = [
                        Endpoint::v4([0, 0, 0, a], port),
                        Endpoint::v4([0, 0, 0, b], 3),
                    ];
                    let (key, _) = FlowKey::v4(ends[0], ends[1]);
                    let encapsulation = Encapsulation {
                        vlan: (vlan > 0).then(|| u16::from(vlan)),
                        ..Encapsulation::default()
                    };
                    for from in [Side::Lower, Side::Upper] {
                        let view = View::new(&key, from, TcpFlags(0), &encapsulation);
                        prop_assert_eq!(hold(&steps, &view), hold(&gathered, &view));
                    }
                }
            }
        }
    }
}
