use super::*;
use crate::model::Endpoint;
use proptest::prelude::*;

/// A segment from one end to the other, with flags and VLAN ids.
fn matches_tagged(
    expression: &str,
    [from, to]: [&str; 2],
    flags: u8,
    [vlan, inner_vlan]: [Option<u16>; 2],
) -> bool {
    let end = |text: &str| match text.parse().unwrap() {
        std::net::SocketAddr::V4(end) => Endpoint::v4(end.ip().octets(), end.port()),
        std::net::SocketAddr::V6(end) => Endpoint::v6(end.ip().octets(), end.port()),
    };
    let new = if from.starts_with('[') {
        FlowKey::v6
    } else {
        FlowKey::v4
    };
    let (key, from) = new(end(from), end(to));
    let encapsulation = Encapsulation {
        vlan,
        inner_vlan,
        ..Encapsulation::default()
    };
    Filter::parse(expression)
        .unwrap_or_else(|error| panic!("{error}"))
        .matches(&key, from, TcpFlags(flags), &encapsulation)
}

fn matches(expression: &str, from: &str, to: &str) -> bool {
    matches_tagged(expression, [from, to], TcpFlags::ACK, [None; 2])
}

const CLIENT: &str = "10.1.2.3:40000";
const SERVER: &str = "192.0.2.1:80";
const CLIENT6: &str = "[2001:db8::7]:40000";
const SERVER6: &str = "[2001:db9::1]:443";

/// Both directions, which must agree.
fn keeps(expression: &str) -> (bool, bool) {
    let both = |a, b| {
        let there = matches(expression, a, b);
        assert_eq!(there, matches(expression, b, a), "{expression}");
        there
    };
    (both(CLIENT, SERVER), both(CLIENT6, SERVER6))
}

#[test]
fn tests_hold_for_either_direction() {
    for (expression, v4, v6) in [
        ("", true, true),
        (" \n", true, true),
        ("tcp", true, true),
        ("not tcp", false, false),
        ("ip", true, false),
        ("ip6", false, true),
        ("proto 6", true, true),
        ("proto \\tcp", true, true),
        ("ip proto tcp", true, false),
        ("ip6 proto (6 or 0x6)", false, true),
        ("host 10.1.2.3", true, false),
        ("host 192.0.2.1", true, false),
        ("src 192.0.2.1", true, false),
        ("dst host 192.0.2.1", true, false),
        ("src and dst host 192.0.2.1", false, false),
        ("dst and src net 0.0.0.0/0", true, false),
        ("ip host 10.1.2.3", true, false),
        ("ip6 host 2001:db8::7", false, true),
        ("host 2001:DB8:0::7", false, true),
        ("net 10", true, false),
        ("net 10.1", true, false),
        ("net 10.1.2", true, false),
        ("net 10.1.3", false, false),
        ("net 10.1.2.0", false, false),
        ("net 10.1/16", true, false),
        ("net 10/8", true, false),
        ("net 192.0.2.0 mask 255.255.255.0", true, false),
        ("net 10 mask 255", true, false),
        ("net 0.1.2.3 mask 0.255.255.255", true, false),
        ("net 2001:db8::/31", false, true),
        ("net 2001:db8::/32", false, true),
        ("src net ::/0", false, true),
        ("port 80", true, false),
        ("port http", true, false),
        ("tcp dst port https", false, true),
        ("tcp src or dst port 0x50", true, false),
        ("port 0120", true, false),
        ("src and dst port 80", false, false),
        ("portrange 79-81", true, false),
        ("portrange 81-79", true, false),
        ("portrange 80", true, false),
        ("portrange http-https", true, true),
        ("portrange ftp-data", false, false),
        ("portrange ssh-whois", false, false),
        ("vlan", false, false),
        ("not vlan", true, true),
    ] {
        assert_eq!(keeps(expression), (v4, v6), "{expression}");
    }
}

#[test]
fn and_and_or_bind_alike_and_not_binds_closer() {
    for (expression, v4) in [
        ("port 80 or port 1 and port 2", false),
        ("port 80 or (port 1 and port 2)", true),
        ("port 1 and port 2 or port 80", true),
        ("port 1 && port 2 || port 80", true),
        ("not port 1 or port 80", true),
        ("not (port 1 or port 80)", false),
        ("! port 80 and port 1", false),
        ("not not port 80", true),
        ("not!port 80", true),
        ("!(port 80)", false),
        ("((((port 80))))", true),
    ] {
        assert_eq!(keeps(expression).0, v4, "{expression}");
    }
}

#[test]
fn values_take_their_qualifiers_from_before() {
    for (expression, v4, v6) in [
        ("port 443 or 80", true, true),
        ("port 1 or 2 or 80", true, false),
        ("port (1 or 80)", true, false),
        ("port (80)", true, false),
        ("port (80 and 40000)", true, false),
        ("port not 80", false, true),
        ("port not (80 or 443)", false, false),
        ("tcp port 1 or (2 or (3 or 80))", true, false),
        ("port 80 and not 443", true, false),
        ("not port 80 and 443", false, true),
        ("src host 192.0.2.9 or 192.0.2.1", true, false),
        ("dst port 80 and host 9.9.9.9 or 10.1.2.3", true, false),
        // Behind a group, what stood before it counts again.
        ("port 1 or (host 9.9.9.9) or 80", true, false),
        ("port 1 or (host 9.9.9.9 or 10.1.2.3)", true, false),
        ("net 9 or 10", true, false),
        ("net 9 or 10.1 or 2001:db8::/32", true, true),
        ("host 9.9.9.9 or 2001:db9::1", false, true),
        ("portrange 1-2 or 79-81", true, false),
    ] {
        assert_eq!(keeps(expression), (v4, v6), "{expression}");
    }
}

#[test]
fn a_mirror_image_holds_for_the_whole_expression() {
    assert!(keeps("src 10.1.2.3 and dst port 80").0);
    assert!(!keeps("src 10.1.2.3 and src port 80").0);
    // One of the two directions has another source.
    assert!(keeps("not src 10.1.2.3").0);
    assert!(!keeps("not host 10.1.2.3").0);
}

#[test]
fn vlan_ids_are_those_of_the_first_two_tags() {
    let ends = [CLIENT, SERVER];
    for (expression, one, two) in [
        ("vlan", true, true),
        ("vlan 5", true, true),
        ("vlan 6", false, true),
        ("vlan 5 and vlan 6", false, true),
        ("vlan 6 or vlan 5", true, true),
        ("vlan 0x5 and port 80", true, true),
        ("port 80 and not vlan 5", false, false),
    ] {
        let tags = [Some(5), None];
        assert_eq!(
            matches_tagged(expression, ends, 0, tags),
            one,
            "{expression}"
        );
        let tags = [Some(5), Some(6)];
        assert_eq!(
            matches_tagged(expression, ends, 0, tags),
            two,
            "{expression}"
        );
    }
    assert!(matches_tagged("vlan 0", ends, 0, [Some(0), None]));
    assert!(matches_tagged("vlan 4095", ends, 0, [Some(4095), None]));
}

#[test]
fn flags_are_compared_as_numbers() {
    type Holds = fn(u8) -> bool;
    let truth: [(&str, Holds); 12] = [
        ("tcp[tcpflags] & tcp-syn != 0", |f| f & 2 != 0),
        ("tcp[13] & 2 = 2", |f| f & 2 != 0),
        ("tcp[13:1]&2==2", |f| f & 2 != 0),
        ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", |f| f & 3 != 0),
        ("tcp[tcpflags] & (tcp-syn | tcp-ack) == tcp-syn", |f| {
            f & 0x12 == 2
        }),
        ("(tcp[tcpflags] & tcp-rst) != 0", |f| f & 4 != 0),
        ("((tcp[13]) & 0x10) = (020)", |f| f & 0x10 != 0),
        ("not tcp[13] & tcp-push != 0", |f| f & 8 == 0),
        ("tcp[13] > 0x1f and tcp[13] <= 0x3f", |f| {
            (0x20..=0x3f).contains(&f)
        }),
        ("tcp[13] >= tcp-cwr or tcp[13] < 2", |f| {
            !(2..0x80).contains(&f)
        }),
        ("tcp-urg = tcp[tcpflags] & tcp-urg", |f| f & 0x20 != 0),
        // `&` binds closer than `|`.
        ("tcp[13] & tcp-ece | tcp-fin = 65", |f| f & 0x40 != 0),
    ];
    for (expression, holds) in truth {
        assert!(Filter::parse(expression).unwrap().tests_flags());
        for flags in 0..=255 {
            for ends in [[CLIENT, SERVER], [SERVER6, CLIENT6]] {
                let got = matches_tagged(expression, ends, flags, [None; 2]);
                assert_eq!(got, holds(flags), "{expression}: {flags:#x}");
            }
        }
    }
    assert!(!Filter::parse("port 80 and vlan").unwrap().tests_flags());
}

/// An expression, a mark below the mistake, and a part of the message.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "host example.com",
        "     ^^^^^^^^^^^",
        "names are not looked up",
    ),
    ("net example", "    ^^^^^^^", "names are not looked up"),
    ("host", "    ^", "expected an address, found the end"),
    ("host  ", "    ^", "found the end"),
    ("host 10.1", "     ^^^^", "write 'net 10.1'"),
    (
        "host 10.0.0.256",
        "     ^^^^^^^^^^",
        "expected an IPv4 or IPv6 address",
    ),
    (
        "host 10.0.0.010",
        "     ^^^^^^^^^^",
        "expected an IPv4 or IPv6 address",
    ),
    (
        "host 02:00:00:00:00:01",
        "     ^^^^^^^^^^^^^^^^^",
        "expected an IPv4",
    ),
    (
        "host 10.0.0.0/8",
        "             ^",
        "a mask goes with 'net'",
    ),
    (
        "host (port 80)",
        "      ^^^^",
        "expected an IPv4 or IPv6 address",
    ),
    ("ip6 host 10.0.0.1", "         ^^^^^^^^", "IPv6 addresses"),
    ("ip src ::1", "       ^^^", "IPv4 addresses"),
    ("tcp host 10.0.0.1", "    ^^^^", "'tcp' goes with ports"),
    (
        "tcp src 10.0.0.1",
        "        ^^^^^^^^",
        "'tcp' goes with ports",
    ),
    ("ip port 80", "   ^^^^", "ports go with 'tcp'"),
    ("tcp proto 6", "    ^^^^^", "'proto' goes with"),
    ("src proto 6", "    ^^^^^", "expected an IPv4"),
    ("net 10.1.2.3/8", "             ^", "begins at 10.0.0.0"),
    (
        "net 2001:db8::1/32",
        "                ^^",
        "begins at 2001:db8::",
    ),
    ("net 10/33", "       ^^", "from 0 to 32"),
    ("net ::/129", "       ^^^", "from 0 to 128"),
    (
        "net 10.1 mask 255",
        "              ^^^",
        "begins at 10.0.0.0",
    ),
    (
        "net ::1 mask 255.0.0.0",
        "             ^^^^^^^^^",
        "has a length",
    ),
    ("port 65536", "     ^^^^^", "beyond 65535"),
    ("port nonsense", "     ^^^^^^^^", "well-known name"),
    ("port 1-2", "     ^^^", "portrange"),
    ("portrange 1-x", "          ^^^", "well-known name"),
    ("port 80 or or 81", "           ^^", "expected a port"),
    (
        "port 80 port 81",
        "        ^^^^",
        "expected 'and', 'or' or the end",
    ),
    ("port (80 or 81", "              ^", "expected ')'"),
    ("port 80)", "       ^", "expected 'and', 'or' or the end"),
    ("()", " ^", "expected a test"),
    ("and port 80", "^^^", "expected a test"),
    ("80", "^^", "expected a test"),
    ("tcp or 80", "       ^^", "expected a test"),
    ("(port 80) or 81", "             ^^", "expected a test"),
    ("vlan 5 or 6", "          ^", "expected a test"),
    ("vlan 4096", "     ^^^^", "from 0 to 4095"),
    ("vlan 5-6", "     ^^^", "from 0 to 4095"),
    ("udp port 53", "^^^", "only TCP is reassembled"),
    (
        "tcp and not icmp",
        "            ^^^^",
        "only TCP is reassembled",
    ),
    ("proto 17", "      ^^", "only TCP is reassembled"),
    ("ether host 1", "^^^^^", "link-layer"),
    ("less 100", "^^^^", "lengths of frames"),
    ("len > 100", "^^^", "lengths of frames"),
    (
        "ip multicast",
        "   ^^^^^^^^^",
        "expected 'and', 'or' or the end",
    ),
    ("gateway 10.0.0.1", "^^^^^^^", "not supported"),
    ("ip[8] < 5", "^^", "expected tcp[tcpflags]"),
    ("tcp[0:2] = 80", "    ^^^", "only the flags"),
    ("tcp[13 = 2", "       ^", "expected ']'"),
    ("tcp = 6", "    ^", "expected '['"),
    ("tcp[13] & 2", "           ^", "expected a comparison"),
    ("tcp[13] & != 0", "          ^^", "expected tcp[tcpflags]"),
    (
        "tcp[13] & 2 = 3",
        "^^^^^^^^^^^^^^^",
        "the same whatever the flags",
    ),
    ("1 = 1 or tcp", "^^^^^", "the same whatever the flags"),
    ("port 80 % 2", "        ^", "unexpected '%'"),
    ("host ü", "     ^", "unexpected 'ü'"),
    (
        "port\t80 or\nport x",
        "                ^",
        "expected a port",
    ),
];

/// Each mistake is marked, and the message says what it is.
#[test]
fn mistakes_are_shown_where_they_are() {
    for (expression, mark, message) in MISTAKES {
        let text = Filter::parse(expression).unwrap_err().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(message), "{text}");
        let position = format!("(character {})", mark.find('^').unwrap() + 1);
        assert!(lines[0].ends_with(&position), "{text}");
        let shown = expression.trim_end().replace(['\t', '\n'], " ");
        assert_eq!(
            lines[1..3],
            [format!("  {shown}"), format!("  {mark}")],
            "{text}"
        );
        assert!(lines[3].starts_with("supported: "), "{text}");
    }
}

#[test]
fn nesting_is_bounded_and_length_is_not() {
    let nested = |depth| format!("{}port 80{}", "(".repeat(depth), ")".repeat(depth));
    assert!(keeps(&nested(50)).0);
    let sum = |depth| format!("{}tcp[13]{} = 16", "(".repeat(depth), ")".repeat(depth));
    assert!(keeps(&sum(50)).0);
    for deep in [nested(51), nested(100_000), sum(51), "(".repeat(100_000)] {
        let error = Filter::parse(&deep).unwrap_err().to_string();
        assert!(
            error.contains("deeper than 50 (character 51)"),
            "{error:.100}"
        );
    }
    let long = format!("host 9.9.9.9{} or 10.1.2.3", " or 8.8.8.8".repeat(100_000));
    assert!(keeps(&long).0);
    assert!(!keeps(&format!("{} port 80", "not ".repeat(100_001))).0);
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "host",
            "net",
            "port",
            "portrange",
            "proto",
            "src",
            "dst",
            "ip",
            "ip6",
            "tcp",
            "vlan",
            "mask",
            "and",
            "or",
            "not",
            "(",
            ")",
            "[",
            "]",
            "&",
            "|",
            "&&",
            "||",
            "!",
            "=",
            "!=",
            "<",
            ">=",
            "/",
            "10.1.2.3",
            "10.1",
            "10",
            "6",
            "::1",
            "2001:db8::",
            "80",
            "1-2",
            "http",
            "\\tcp",
            "\\",
            "-",
            ":",
            "tcpflags",
            "13",
            "tcp-syn",
            "x",
            "0x",
            "08",
            "é",
            "255.255.0.0",
            "",
        ][..],
    )
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn no_order_of_words_is_too_strange(
        words in prop::collection::vec(word(), 0..12),
        spaces in any::<bool>(),
    ) {
        check(&words.join(if spaces { " " } else { "" }))?;
    }
}

/// It parses, or fails with a mark within the text.
fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(error) = Filter::parse(text) else {
        keeps(text);
        return Ok(());
    };
    let shown = error.to_string();
    let lines: Vec<&str> = shown.split('\n').collect();
    let mark = lines[2].chars().count();
    prop_assert!(
        lines[2].ends_with('^') && mark <= 3 + text.chars().count(),
        "{shown}"
    );
    Ok(())
}
