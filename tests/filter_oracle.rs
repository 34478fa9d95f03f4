//! Filters mean what libpcap's own compiler takes them to mean, for a segment or its mirror image.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bulkreasm::config::DecodeConfig;
use bulkreasm::decode::{DecodeSink, Decoder, Fragment};
use bulkreasm::filter::Filter;
use bulkreasm::model::{InputPos, LinkType, RawFrame, Segment, TimeUnit, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use support::bpf::{self, Program};
use support::wire::{self, Link, TcpPacket};

const ADDRESSES: [&str; 10] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.77.1",
    "10.200.0.1",
    "192.168.1.5",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:1::1",
    "fe80::1",
    "::ffff:10.1.2.3",
];
const PORTS: [u16; 8] = [1, 22, 80, 443, 6000, 6004, 40000, 65535];
const VLANS: [u16; 4] = [0, 5, 6, 4095];

/// An expression as this program reads it, and one that says the same to libpcap.
#[derive(Clone, Debug)]
struct Expression {
    ours: String,
    theirs: String,
}

impl Expression {
    fn same(text: impl Into<String>) -> Expression {
        let ours = text.into();
        Expression {
            theirs: ours.clone(),
            ours,
        }
    }

    fn map(self, edit: impl Fn(String) -> String) -> Expression {
        Expression {
            ours: edit(self.ours),
            theirs: edit(self.theirs),
        }
    }
}

fn join() -> impl Strategy<Value = &'static str> {
    select(&["and", "or", "&&", "||"][..])
}

fn maybe_not() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just("not "), 1 => Just("! "), 1 => Just("not not ")]
}

/// Operands in a row, some of them negated; the first one may be of another kind.
fn row(
    first: impl Strategy<Value = Expression>,
    others: impl Strategy<Value = Expression>,
) -> impl Strategy<Value = Expression> {
    let others = prop::collection::vec((join(), maybe_not(), others), 0..3);
    (maybe_not(), first, others).prop_map(|(not, first, others)| {
        let start = first.map(|first| format!("{not}{first}"));
        others
            .into_iter()
            .fold(start, |so_far, (join, not, next)| Expression {
                ours: format!("{} {join} {not}{}", so_far.ours, next.ours),
                theirs: format!("{} {join} {not}{}", so_far.theirs, next.theirs),
            })
    })
}

fn address(v4: bool) -> impl Strategy<Value = &'static str> + Clone {
    let all = ADDRESSES
        .into_iter()
        .filter(move |text| text.contains(':') != v4);
    select(all.collect::<Vec<_>>())
}

fn net4() -> impl Strategy<Value = String> {
    let masked = (address(true), 0..=32_u32).prop_map(|(address, bits)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let base = address.parse::<Ipv4Addr>().unwrap().to_bits() & mask;
        (Ipv4Addr::from_bits(base), bits, Ipv4Addr::from_bits(mask))
    });
    prop_oneof![
        address(true).prop_map(str::to_owned),
        select(&["10", "10.1", "10.1.2", "192.168", "192.168/16", "10.200/13"][..])
            .prop_map(str::to_owned),
        masked
            .clone()
            .prop_map(|(base, bits, _)| format!("{base}/{bits}")),
        masked.prop_map(|(base, _, mask)| format!("{base} mask {mask}")),
        Just("0.1.2.3 mask 0.255.255.255".to_owned()),
    ]
}

fn net6() -> impl Strategy<Value = String> {
    (address(false), 0..=128_u32).prop_map(|(address, bits)| {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        let base = address.parse::<Ipv6Addr>().unwrap().to_bits() & mask;
        format!("{}/{bits}", Ipv6Addr::from_bits(base))
    })
}

/// Qualifiers, a value, and maybe more values that take the same qualifiers. `plain`: words that
/// libpcap might take for a name and ask the network about do not occur.
fn qualified(plain: bool) -> BoxedStrategy<Expression> {
    let direction = || {
        select(
            &[
                "",
                "",
                "src ",
                "dst ",
                "src or dst ",
                "dst or src ",
                "src and dst ",
                "dst and src ",
            ][..],
        )
    };
    let values = |heads: BoxedStrategy<String>, value: BoxedStrategy<String>| {
        let value = value.prop_map(Expression::same).boxed();
        // A list in libpcap's grammar cannot begin with a list.
        let first = value.clone();
        let inside = value.clone().prop_recursive(2, 6, 3, move |inner| {
            row(first.clone(), inner).prop_map(|list| list.map(|text| format!("({text})")))
        });
        (
            heads,
            prop_oneof![value, inside.clone()],
            row(inside.clone(), inside),
            join(),
            any::<bool>(),
        )
            .prop_map(|(head, first, more, join, one)| {
                Expression::same(if one {
                    format!("{head} {}", first.ours)
                } else {
                    format!("{head} {} {join} {}", first.ours, more.ours)
                })
            })
            .boxed()
    };
    let head = move |protocols: &'static [&'static str], kinds: &'static [&'static str]| {
        (select(protocols), direction(), select(kinds))
            .prop_filter(
                "a bare value needs a direction or a kind",
                |(_, direction, kind)| !(direction.is_empty() && kind.is_empty()),
            )
            .prop_map(|(protocol, direction, kind)| format!("{protocol} {direction}{kind}"))
            .boxed()
    };
    let port = select(&PORTS[..]);
    let number = port.clone().prop_map(|port| port.to_string());
    let range = (port.clone(), port.clone()).prop_map(|(a, b)| format!("{a}-{b}"));
    let hexadecimal = port.prop_map(|port| format!("{port:#x}"));
    let range = if plain {
        number.clone().boxed()
    } else {
        range.boxed()
    };
    let tcp = if plain { "6" } else { "\\tcp" };
    prop_oneof![
        values(
            head(&["", "ip"], &["", "host"]),
            address(true).prop_map_into().boxed()
        ),
        values(
            head(&["", "ip6"], &["", "host"]),
            address(false).prop_map_into().boxed()
        ),
        values(head(&["", "ip"], &["net"]), net4().boxed()),
        values(head(&["", "ip6"], &["net"]), net6().boxed()),
        values(
            head(&["", "tcp"], &["port"]),
            prop_oneof![number.clone(), hexadecimal].boxed()
        ),
        values(
            head(&["", "tcp"], &["portrange"]),
            prop_oneof![number, range].boxed()
        ),
        values(
            select(&["proto", "ip proto", "ip6 proto"][..])
                .prop_map_into()
                .boxed(),
            select(vec!["6", "0x6", tcp]).prop_map_into().boxed(),
        ),
    ]
    .boxed()
}

/// To libpcap the tests of VLANs move everything behind them, and TCP's bytes are there in IPv4
/// only; so libpcap is asked for the bytes at their places.
fn translated() -> impl Strategy<Value = Expression> {
    let comparison = prop_oneof![
        (1..=255_u8).prop_map(|mask| format!("& {mask} != 0")),
        (1..=255_u8, any::<u8>()).prop_map(|(mask, bits)| format!("& {mask} = {}", mask & bits)),
        Just("& (tcp-syn|tcp-ack) == tcp-syn".to_owned()),
        Just("& (tcp-fin | tcp-rst) != 0".to_owned()),
        Just("& tcp-push | tcp-urg > 0x20".to_owned()),
        (0..255_u8).prop_map(|number| format!("> {number}")),
        (0..255_u8).prop_map(|number| format!("<= {number}")),
        (1..=255_u8).prop_map(|number| format!(">= {number}")),
        (1..=255_u8).prop_map(|number| format!("< {number}")),
    ];
    let flags =
        (select(&["tcp[13]", "tcp[tcpflags]"][..]), comparison).prop_map(|(byte, is)| Expression {
            ours: format!("{byte} {is}"),
            theirs: format!("({byte} {is} or (ip6 proto 6 and ip6[53] {is}))"),
        });
    let tagged = "(ether[12:2] = 0x8100 or ether[12:2] = 0x88a8)";
    let vlan = Just(Expression {
        ours: "vlan".to_owned(),
        theirs: tagged.to_owned(),
    });
    let id = select(&VLANS[..]).prop_map(move |id| Expression {
        ours: format!("vlan {id}"),
        theirs: format!(
            "({tagged} and ether[14:2] & 0xfff = {id} or \
              (ether[12:2] = 0x88a8 and ether[18:2] & 0xfff = {id}))"
        ),
    });
    prop_oneof![3 => flags, 1 => vlan, 2 => id]
}

fn expression(plain: bool) -> impl Strategy<Value = Expression> {
    let alone = select(&["ip", "ip6", "tcp"][..]).prop_map(Expression::same);
    let leaf = if plain {
        prop_oneof![1 => alone, 6 => qualified(plain)].boxed()
    } else {
        prop_oneof![1 => alone, 6 => qualified(plain), 3 => translated()].boxed()
    };
    let nested = leaf.prop_recursive(4, 24, 4, |inner| {
        row(inner.clone(), inner).prop_map(|inside| inside.map(|text| format!("({text})")))
    });
    row(nested.clone(), nested)
}

#[derive(Clone, Debug)]
struct Sample {
    ends: [SocketAddr; 2],
    flags: u8,
    /// Words of options in the IPv4 header.
    ip_options: u8,
    tcp_options: usize,
}

fn sample() -> impl Strategy<Value = Sample> {
    let end = |v4| (address(v4), select(&PORTS[..]));
    let ends = prop_oneof![(end(true), end(true)), (end(false), end(false))];
    (ends, any::<u8>(), 0..4_u8, 0..3_usize).prop_map(|((a, b), flags, ip_options, words)| {
        let end = |(address, port): (&str, u16)| {
            SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
        };
        Sample {
            ends: [end(a), end(b)],
            flags,
            ip_options,
            tcp_options: words * 4,
        }
    })
}

impl Sample {
    fn frame(&self, link: Link) -> Vec<u8> {
        let [src, dst] = self.ends;
        let packet = TcpPacket {
            src,
            dst,
            seq: 7,
            ack: 9,
            flags: self.flags,
            window: 1000,
            options: &[1; 8][..self.tcp_options],
            payload: b"text",
            ident: 1,
        };
        let mut frame = Vec::new();
        wire::frame(&packet, link, &mut frame);
        if src.is_ipv4() {
            let (ip, words) = (link.header_len(), self.ip_options);
            frame[ip] += words;
            frame[ip + 3] += 4 * words;
            let end_of_header = ip + 20;
            frame.splice(
                end_of_header..end_of_header,
                vec![1; usize::from(words) * 4],
            );
        }
        frame
    }

    fn mirrored(&self) -> Sample {
        let [a, b] = self.ends;
        Sample {
            ends: [b, a],
            ..self.clone()
        }
    }
}

/// Counts what comes out of the decoder.
#[derive(Default)]
struct Segments(usize);

impl DecodeSink for Segments {
    fn segment(&mut self, _: Segment) {
        self.0 += 1;
    }

    fn fragment(&mut self, _: Fragment) {}
}

/// Whether the decoder hands the frame's segment on.
fn passes(filter: &Arc<Filter>, data: &[u8]) -> bool {
    let mut decoder = Decoder::new(DecodeConfig {
        filter: Some(Arc::clone(filter)),
        ..DecodeConfig::default()
    });
    let frame = RawFrame {
        ts: Timestamp::from_ns(0),
        link: LinkType(1),
        data,
        at: InputPos::new(0, 0),
        original_len: u32::try_from(data.len()).unwrap(),
        unit: TimeUnit::Micro,
        fcs_len: 0,
    };
    let mut segments = Segments::default();
    decoder.frame(&frame, 1, frame.ts, &mut segments);
    let stats = decoder.stats();
    assert_eq!(
        (stats.tcp, stats.filtered),
        (segments.0 as u64, 1 - segments.0 as u64)
    );
    segments.0 == 1
}

/// How often a property saw either answer: one that sees the same always would prove nothing.
#[derive(Default)]
struct Tally {
    passed: Cell<u32>,
    left_out: Cell<u32>,
}

impl Tally {
    fn agree(
        &self,
        filter: &Arc<Filter>,
        program: &Program,
        samples: &[Sample],
        link: Link,
    ) -> Result<(), TestCaseError> {
        for sample in samples {
            let frame = sample.frame(link);
            let ours = passes(filter, &frame);
            let mirrored = sample.mirrored().frame(link);
            let theirs = program.accepts(&frame) || program.accepts(&mirrored);
            prop_assert_eq!(ours, theirs, "{}: {:?}, {:?}", filter.text(), sample, link);
            let count = if ours { &self.passed } else { &self.left_out };
            count.set(count.get() + 1);
        }
        Ok(())
    }

    fn saw_both(&self) {
        let (passed, left_out) = (self.passed.get(), self.left_out.get());
        assert!(
            passed > 200 && left_out > 200,
            "{passed} passed, {left_out} left out"
        );
    }
}

fn runner() -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        // Each step asks tcpdump.
        max_shrink_iters: 300,
        ..Config::default()
    })
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec(sample(), 30)
}

#[test]
fn filters_mean_what_libpcap_means() {
    if !bpf::compiler_is_there() {
        return;
    }
    let tally = Tally::default();
    let tags = prop_oneof![
        2 => Just((None, None)),
        1 => select(&VLANS[..]).prop_map(|id| (Some(id), None)),
        1 => (select(&VLANS[..]), select(&VLANS[..])).prop_map(|(a, b)| (Some(a), Some(b))),
    ];
    runner()
        .run(
            &(expression(false), samples(), tags),
            |(expression, samples, tags)| {
                let (vlan, inner_vlan) = tags;
                let link = Link { vlan, inner_vlan };
                // Each `vlan` makes libpcap look behind one more tag.
                let behind = match tags {
                    (None, _) => "",
                    (_, None) => "vlan and ",
                    _ => "vlan and vlan and ",
                };
                let theirs = format!("{behind}({})", expression.theirs);
                let program = Program::compile(&theirs)
                    .map_err(|e| format!("{theirs}: {e}"))
                    .unwrap();
                let filter = Arc::new(Filter::parse(&expression.ours).unwrap());
                tally.agree(&filter, &program, &samples, link)
            },
        )
        .unwrap();
    tally.saw_both();
}

/// Words taken out, doubled and moved: what both accept, both understand alike.
#[test]
fn misshapen_filters_are_not_misunderstood() {
    if !bpf::compiler_is_there() {
        return;
    }
    let tally = Tally::default();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..3), 1..3);
    runner()
        .run(
            &(expression(true), edits, samples()),
            |(expression, edits, samples)| {
                let spaced = expression.ours.replace('(', " ( ").replace(')', " ) ");
                let mut words: Vec<&str> = spaced.split_whitespace().collect();
                for (index, edit) in edits {
                    let at = index.index(words.len());
                    match edit {
                        0 if words.len() > 1 => drop(words.remove(at)),
                        1 => words.insert(at, words[at]),
                        _ => {
                            let next = (at + 1) % words.len();
                            words.swap(at, next);
                        }
                    }
                }
                let text = words.join(" ");
                match (Filter::parse(&text), Program::compile(&text)) {
                    (Ok(filter), Ok(program)) => {
                        tally.agree(&Arc::new(filter), &program, &samples, Link::default())
                    }
                    _ => Ok(()),
                }
            },
        )
        .unwrap();
    tally.saw_both();
}
