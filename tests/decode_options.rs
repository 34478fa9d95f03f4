//! The options that decide how frames become segments: overlapping fragments, checksums, and what
//! tells flows apart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use support::capture_file::{CaptureWriter, Format};
use support::captures;
use support::output::{Output, Results, run};
use support::wire::{self, Link, TcpPacket};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// 2024-01-01T00:00:00Z.
const START_NS: u64 = 1_704_067_200_000_000_000;

const ENDS: [&str; 2] = ["192.0.2.1:40000", "198.51.100.1:80"];
const ENDS6: [&str; 2] = ["[2001:db8::1]:40000", "[2001:db8:1::1]:80"];

fn packet<'a>(
    ends: [&str; 2],
    flags: u8,
    (seq, ack): (u32, u32),
    payload: &'a [u8],
) -> TcpPacket<'a> {
    let [src, dst] = ends.map(|end| end.parse::<SocketAddr>().unwrap());
    TcpPacket {
        src,
        dst,
        seq,
        ack,
        flags,
        window: 64_000,
        options: &[],
        payload,
        ident: 1,
    }
}

fn frame(packet: &TcpPacket<'_>, link: Link) -> Vec<u8> {
    let mut frame = Vec::new();
    wire::frame(packet, link, &mut frame);
    frame
}

/// A whole conversation, with the side that sends each packet.
fn conversation<'a>(ask: &'a [u8], answer: &'a [u8]) -> Vec<(usize, TcpPacket<'a>)> {
    let (c2s, s2c) = (ENDS, [ENDS[1], ENDS[0]]);
    let (asked, answered) = (
        1_001 + u32::try_from(ask.len()).unwrap(),
        5_001 + u32::try_from(answer.len()).unwrap(),
    );
    vec![
        (0, packet(c2s, SYN, (1_000, 0), b"")),
        (1, packet(s2c, SYN | ACK, (5_000, 1_001), b"")),
        (0, packet(c2s, ACK, (1_001, 5_001), ask)),
        (1, packet(s2c, ACK, (5_001, asked), answer)),
        (0, packet(c2s, FIN | ACK, (asked, answered), b"")),
        (1, packet(s2c, FIN | ACK, (answered, asked + 1), b"")),
        (0, packet(c2s, ACK, (asked + 1, answered + 1), b"")),
    ]
}

fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new(), Format::ALL[0], 262_144).unwrap();
    for (index, frame) in frames.iter().enumerate() {
        let time = START_NS + index as u64 * 1_000_000;
        writer.frame(time, frame, frame.len()).unwrap();
    }
    writer.finish().unwrap()
}

/// Runs the program; the scratch directory holds the payload files until it is dropped.
fn reassemble(frames: &[Vec<u8>], args: &[&str]) -> (Output, Results, tempfile::TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let (input, out) = (scratch.path().join("in.pcap"), scratch.path().join("out"));
    fs::write(&input, capture(frames)).unwrap();
    let mut all = vec![input.to_str().unwrap(), "--out", out.to_str().unwrap()];
    all.extend(args);
    let output = run(all);
    assert_eq!(output.status, Some(0), "{output:?}");
    let results = Results::read(&out).unwrap();
    (output, results, scratch)
}

/// A request of which the third fragment was sent twice, with different bytes.
fn conflicting_fragments(ends: [&str; 2]) -> Vec<Vec<u8>> {
    let whole = packet(ends, ACK, (1_001, 5_001), FIRST_COPY.as_bytes());
    let other = packet(ends, ACK, (1_001, 5_001), LAST_COPY.as_bytes());
    let mut fragments = wire::fragments(&whole, Link::default(), 16);
    fragments.insert(3, wire::fragments(&other, Link::default(), 16).remove(2));
    let mut frames = vec![frame(&packet(ends, SYN, (1_000, 0), b""), Link::default())];
    frames.extend(fragments);
    frames
}

const FIRST_COPY: &str = "head: 0123456789abcdefghijklmnop";
const LAST_COPY: &str = "head: 0123456789ABCDEFghijklmnop";

#[test]
fn a_fragment_policy_decides_which_copy_is_read() {
    let (first, last) = (FIRST_COPY, LAST_COPY);
    for (ends, layer) in [(ENDS, "ipv4"), (ENDS6, "ipv6")] {
        let frames = conflicting_fragments(ends);
        for (policies, wanted) in [
            (&[][..], first),
            (&["bsd"], first),
            (&["first"], first),
            (&["windows"], first),
            (&["last"], last),
            (&["linux"], last),
            (&["bsd-right"], last),
            (&["last", "192.0.2.0/24=drop", "2001:db8::/48=drop"], last),
            (
                &["drop", "198.51.100.0/24=linux,2001:db8:1::/64=linux"],
                last,
            ),
            (
                &[
                    "drop",
                    "198.51.0.0/16=last,2001:db8::/32=last",
                    "198.51.100.1=first,2001:db8:1::1=first",
                ],
                first,
            ),
            (&["drop"], ""),
        ] {
            let args: Vec<&str> = policies
                .iter()
                .flat_map(|policy| ["--fragment-policy", policy])
                .collect();
            let (output, results, _scratch) = reassemble(&frames, &args);
            let payload = results.payload(&results.flows[0], "c2s");
            assert_eq!(String::from_utf8_lossy(&payload), wanted, "{policies:?}");
            let manifest = &results.manifest;
            let conflicts = json!({"datagrams": 1, "bytes": 6});
            assert_eq!(manifest["fragment_conflicts"], conflicts);
            let line = "conflicts  0 B in 0 flows, 6 B in 1 fragmented datagrams\n";
            assert!(output.stdout.contains(line), "{}", output.stdout);
            let dropped = u64::from(wanted.is_empty());
            let reason = &manifest["frames"]["undecoded"][layer]["overlapping_fragments"];
            assert_eq!(reason.as_u64().unwrap_or(0), dropped);
            assert_eq!(
                manifest["anomalies"]["ip_datagrams_dropped_for_overlap"],
                dropped
            );
        }
    }
}

#[test]
fn the_fragment_policy_is_on_record() {
    let frames = conflicting_fragments(ENDS);
    let record = |args: &[&str]| {
        let config = reassemble(&frames, args).1.manifest["config"].take();
        config["fragment_policy"].as_str().unwrap().to_owned()
    };
    assert_eq!(record(&[]), "bsd");
    let all = record(&[
        "--fragment-policy",
        "10.0.0.0/8=linux",
        "--fragment-policy",
        "first",
    ]);
    assert_eq!(all, "first,10.0.0.0/8=linux");
    assert_eq!(record(&["--fragment-policy", &all]), all);
}

#[test]
fn without_conflicting_fragments_nothing_is_said_of_them() {
    let whole = packet(ENDS, ACK, (1_001, 5_001), b"0123456789abcdefghi");
    let mut frames = wire::fragments(&whole, Link::default(), 16);
    // An exact copy is no overlap, not even to the strictest.
    frames.insert(1, frames[0].clone());
    let (output, results, _scratch) = reassemble(&frames, &["--fragment-policy", "drop"]);
    assert!(!output.stdout.contains("fragmented"), "{}", output.stdout);
    assert_eq!(
        results.payload(&results.flows[0], "c2s"),
        b"0123456789abcdefghi"
    );
    assert_eq!(results.manifest["fragment_conflicts"]["datagrams"], 0);
}

#[test]
fn options_that_make_no_sense_end_with_2() {
    for (args, part) in [
        (["--fragment-policy", "beos"], "there are first, last, bsd"),
        (["--fragment-policy", "10.0.0.0/40=last"], "from 0 to 32"),
        (
            ["--fragment-policy", "10.0.0.1/8=last"],
            "bits behind its prefix",
        ),
        (
            ["--fragment-policy", "here=last"],
            "'here' is no IP address",
        ),
        (["--checksum", "repair"], "[possible values: ignore, drop]"),
        (["--track", "vlan,mac"], "[possible values: vlan, tunnel]"),
    ] {
        let output = run([&["in.pcap", "--out", "out"], &args[..]].concat());
        assert_eq!(output.status, Some(2), "{args:?}: {output:?}");
        assert!(output.stderr.contains(part), "{args:?}: {}", output.stderr);
    }
}

/// The TCP checksum of a frame without VLAN tags and IP options.
const CHECKSUM: std::ops::Range<usize> = 14 + 20 + 16..14 + 20 + 18;

fn frames_of(conversation: &[(usize, TcpPacket<'_>)]) -> Vec<Vec<u8>> {
    let plain = |(_, packet): &(usize, TcpPacket<'_>)| frame(packet, Link::default());
    conversation.iter().map(plain).collect()
}

fn payload_accounting(results: &Results) -> [u64; 5] {
    let payload = &results.manifest["payload"];
    [
        "segments",
        "captured",
        "unique",
        "bad_checksum",
        "bad_checksum_segments",
    ]
    .map(|name| payload[name].as_u64().unwrap())
}

#[test]
fn a_segment_with_a_wrong_checksum_is_dropped_on_request_and_accounted_for() {
    let mut frames = frames_of(&conversation(b"ask", b"answer"));
    // Inserted in front of the true one: a receiver never saw it, and who keeps what came first is
    // fooled.
    let mut forged = frame(&packet(ENDS, ACK, (1_001, 5_001), b"ASK"), Link::default());
    forged[CHECKSUM.start] ^= 0x55;
    frames.insert(2, forged);

    let (output, results, _scratch) = reassemble(&frames, &[]);
    assert_eq!(output.stderr, "");
    assert_eq!(results.payload(&results.flows[0], "c2s"), b"ASK");
    assert_eq!(payload_accounting(&results), [8, 12, 9, 0, 0]);

    let (output, results, _scratch) = reassemble(&frames, &["--checksum", "drop"]);
    assert_eq!(results.payload(&results.flows[0], "c2s"), b"ask");
    assert_eq!(results.payload(&results.flows[0], "s2c"), b"answer");
    assert!(results.flows[0].bool("complete"));
    assert_eq!(payload_accounting(&results), [8, 12, 9, 3, 1]);
    let manifest = &results.manifest;
    assert_eq!(
        manifest["frames"]["undecoded"],
        json!({"tcp": {"bad_checksum": 1}})
    );
    assert_eq!(manifest["frames"]["tcp"], 7);
    assert_eq!(manifest["config"]["checksum"], "drop");
    assert!(
        output
            .stderr
            .contains("1 of 8 packets were dropped for a wrong checksum")
    );
}

#[test]
fn checksum_offload_is_told_from_damage() {
    let hint = "checksum offload; run with --checksum ignore";
    let answer = vec![b'x'; 1_000];
    let mut frames = frames_of(&conversation(b"ask", &answer));
    for _ in 0..3 {
        frames.extend(frames.clone());
    }
    // One of many is damage.
    let mut damaged = frames.clone();
    damaged[3][60] ^= 1;
    let (output, _, _scratch) = reassemble(&damaged, &["--checksum", "drop"]);
    let said = &output.stderr;
    assert!(said.contains("1 of 56 packets were dropped"), "{said}");
    assert!(!said.contains(hint), "{said}");

    // All that one host sent, with nothing in the place of the checksum.
    let mut offloaded = frames.clone();
    let sent = |frame: &&mut Vec<u8>| frame[26..30] == [192, 0, 2, 1];
    offloaded
        .iter_mut()
        .filter(sent)
        .for_each(|frame| frame[CHECKSUM].fill(0));
    let (output, _, _scratch) = reassemble(&offloaded, &["--checksum", "drop"]);
    assert!(output.stderr.contains(hint), "{output:?}");

    // All packets, in the header of IPv4.
    for frame in &mut offloaded {
        frame[24..26].fill(0);
    }
    let (output, results, _scratch) = reassemble(&offloaded, &["--checksum", "drop"]);
    assert!(output.stderr.contains("56 of 56 packets were dropped"));
    assert!(output.stderr.contains(hint), "{output:?}");
    let undecoded = &results.manifest["frames"]["undecoded"];
    assert_eq!(*undecoded, json!({"ipv4": {"bad_checksum": 56}}));
    assert!(results.flows.is_empty());
    let (output, results, _scratch) = reassemble(&offloaded, &["--checksum", "ignore"]);
    assert_eq!(
        (output.stderr.as_str(), results.flows.is_empty()),
        ("", false)
    );
}

#[test]
fn the_checksum_of_a_fragmented_segment_covers_all_of_it() {
    let whole = packet(ENDS, ACK, (1_001, 5_001), b"0123456789abcdefghi");
    let mut frames = wire::fragments(&whole, Link::default(), 16);
    let (_, results, _scratch) = reassemble(&frames, &["--checksum", "drop"]);
    assert_eq!(
        results.payload(&results.flows[0], "c2s"),
        b"0123456789abcdefghi"
    );
    *frames[1].last_mut().unwrap() ^= 1;
    let (_, results, _scratch) = reassemble(&frames, &["--checksum", "drop"]);
    assert!(results.flows.is_empty());
    let undecoded = &results.manifest["frames"]["undecoded"];
    assert_eq!(*undecoded, json!({"tcp": {"bad_checksum": 1}}));
    assert_eq!(payload_accounting(&results), [1, 19, 0, 19, 1]);
}

/// An Ethernet frame inside VXLAN (RFC 7348) with this network identifier.
fn vxlan(vni: u8, inner: &[u8]) -> Vec<u8> {
    over_udp(4789, &[&[8, 0, 0, 0, 0, 0, vni, 0], inner].concat())
}

/// An IP packet inside GTP-U (3GPP TS 29.281) with this tunnel endpoint identifier.
fn gtp(teid: u8, ip: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ip.len()).unwrap().to_be_bytes();
    over_udp(
        2152,
        &[&[0x30, 255, length[0], length[1], 0, 0, 0, teid], ip].concat(),
    )
}

fn over_udp(port: u16, body: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(body.len() + more).unwrap().to_be_bytes();
    let mut out = Vec::new();
    let [src, dst] = ["10.0.0.1:1", "10.0.0.2:1"].map(|end| end.parse().unwrap());
    Link::default().header(src, dst, &mut out);
    let mut ip = vec![0x45, 0];
    ip.extend(length(28));
    ip.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    out.extend(ip);
    out.extend([0xc0, 0]);
    out.extend(port.to_be_bytes());
    out.extend(length(8));
    out.extend([0, 0]);
    out.extend(body);
    out
}

/// The same conversation in several places at once, packet by packet.
type Encapsulate<'a> = &'a dyn Fn(usize, &TcpPacket<'_>) -> Vec<u8>;

fn in_places(places: &[Encapsulate<'_>]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (side, packet) in conversation(b"ask", b"answer") {
        frames.extend(places.iter().map(|place| place(side, &packet)));
    }
    frames
}

/// Every flow is the whole conversation, in files of its own.
fn are_whole(results: &Results, flows: usize) {
    assert_eq!(results.flows.len(), flows);
    let mut paths = BTreeSet::new();
    for row in &results.flows {
        assert_eq!(results.payload(row, "c2s"), b"ask");
        assert_eq!(results.payload(row, "s2c"), b"answer");
        assert!(row.bool("complete"));
        assert_eq!(row.int("c2s_retrans_packets") + row.int("tuple_seq"), 1);
        paths.extend([row.text("c2s_path").unwrap(), row.text("s2c_path").unwrap()]);
    }
    assert_eq!(paths.len(), 2 * flows);
}

#[test]
fn vlans_are_flows_of_their_own_where_they_are_tracked() {
    let vlan = |vlan, inner_vlan| {
        move |_, packet: &TcpPacket<'_>| frame(packet, Link { vlan, inner_vlan })
    };
    // One direction with a priority tag, which names no VLAN, the other without.
    let priority = |side, packet: &TcpPacket<'_>| {
        let vlan = (side == 0).then_some(0);
        let inner_vlan = None;
        frame(packet, Link { vlan, inner_vlan })
    };
    let frames = in_places(&[
        &priority,
        &vlan(Some(5), None),
        &vlan(Some(6), None),
        &vlan(Some(5), Some(6)),
    ]);
    for args in [&[][..], &["--track", "tunnel"]] {
        let (_, results, _scratch) = reassemble(&frames, args);
        assert_eq!(results.flows.len(), 1);
        assert_eq!(results.flows[0].int("c2s_packets"), 16);
    }
    for args in [["--track", "vlan"], ["--track", "vlan,tunnel"]] {
        let (_, results, _scratch) = reassemble(&frames, &args);
        are_whole(&results, 4);
        let tags: Vec<_> = results
            .flows
            .iter()
            .map(|row| (row.maybe_int("vlan"), row.maybe_int("inner_vlan")))
            .collect();
        let wanted = [
            (Some(0), None),
            (Some(5), None),
            (Some(6), None),
            (Some(5), Some(6)),
        ];
        assert_eq!(tags, wanted);
        let tracked: Vec<&str> = args[1].split(',').collect();
        assert_eq!(results.manifest["config"]["track"], json!(tracked));
    }
}

#[test]
fn tunnels_are_flows_of_their_own_where_they_are_tracked() {
    let plain = |_, packet: &TcpPacket<'_>| frame(packet, Link::default());
    let network =
        |vni| move |_, packet: &TcpPacket<'_>| vxlan(vni, &frame(packet, Link::default()));
    // Each end of a GTP tunnel has its own identifier.
    let mobile = |side: usize, packet: &TcpPacket<'_>| {
        gtp([7, 8][side], &frame(packet, Link::default())[14..])
    };
    let frames = in_places(&[&plain, &network(1), &network(2), &mobile]);
    for args in [&[][..], &["--track", "vlan"]] {
        let (_, results, _scratch) = reassemble(&frames, args);
        assert_eq!(results.flows.len(), 1);
    }
    let (_, results, _scratch) = reassemble(&frames, &["--track", "tunnel"]);
    are_whole(&results, 4);
    let tunnels: Vec<_> = results.flows.iter().map(|row| row.text("tunnel")).collect();
    let wanted = [None, Some("vxlan:1"), Some("vxlan:2"), Some("gtp:0x7")];
    assert_eq!(tunnels, wanted.map(|text| text.map(str::to_owned)));
}

#[test]
fn tunnels_are_looked_for_on_ports_that_the_user_names() {
    let inside = |tunnel: fn(u8, &[u8]) -> Vec<u8>, at: usize, port: u16| {
        conversation(b"ask", b"answer")
            .iter()
            .map(|(_, packet)| {
                let mut outer = tunnel(7, &frame(packet, Link::default())[at..]);
                // The destination, behind Ethernet and IP.
                outer[36..38].copy_from_slice(&port.to_be_bytes());
                outer
            })
            .collect::<Vec<_>>()
    };
    let geneve = |vni: u8, inner: &[u8]| {
        let mut outer = vxlan(vni, inner);
        // No options, Ethernet (RFC 8926, 3.4), behind Ethernet, IP and UDP.
        outer[42..46].copy_from_slice(&[0, 0, 0x65, 0x58]);
        outer
    };
    for (frames, name, column) in [
        (inside(vxlan, 0, 14_789), "vxlan=14789", "vxlan:7"),
        (inside(geneve, 0, 14_790), "geneve=14790", "geneve:7"),
        (inside(gtp, 14, 14_791), "gtp=14791", "gtp:0x7"),
    ] {
        let (_, results, _scratch) = reassemble(&frames, &["--payload", "none"]);
        assert!(results.flows.is_empty());
        assert_eq!(results.manifest["config"]["tunnel_ports"], json!([]));
        for args in [
            vec!["--tunnel-port", name],
            vec!["--tunnel-port", "lisp=9,mpls=9", "--tunnel-port", name],
        ] {
            let (_, results, _scratch) = reassemble(&frames, &args);
            are_whole(&results, 1);
            let tunnel = results.flows[0].text("tunnel");
            assert_eq!(tunnel.as_deref(), Some(column));
            let ports = results.manifest["config"]["tunnel_ports"].as_array();
            assert!(ports.unwrap().contains(&json!(name)));
        }
    }
    for (wrong, reason) in [
        ("vxlan", "names no port; write for example vxlan=14789"),
        ("vxlan=0", "'0' is no UDP port from 1 to 65535"),
        ("ssh=22", "no tunnel 'ssh'; there are vxlan"),
    ] {
        let output = run(["in.pcap", "--out", "out", "--tunnel-port", wrong]);
        assert_eq!(output.status, Some(2));
        assert!(output.stderr.contains(reason), "{}", output.stderr);
    }
}

/// A capture that others made, of one conversation outside VLANs, in one, and in one within
/// another: each is whole.
#[test]
fn colliding_vlans_of_a_foreign_capture_come_apart() {
    const NAME: &str = "zeek__vlan-collisions.pcap";
    let foreign = captures::foreign().unwrap_or_default();
    let Some(capture) = foreign.iter().find(|path| path.ends_with(NAME)) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let results = |args: &[&str]| {
        let out = scratch.path().join(args.concat());
        let mut all = vec![capture.to_str().unwrap(), "--out", out.to_str().unwrap()];
        all.extend(args);
        assert_eq!(run(all).status, Some(0));
        Results::read(&out).unwrap()
    };
    let (merged, apart) = (results(&["-q"]), results(&["--track", "vlan"]));
    assert_eq!((merged.flows.len(), apart.flows.len()), (1, 3));
    for direction in ["c2s", "s2c"] {
        let wanted = merged.payload(&merged.flows[0], direction);
        for row in &apart.flows {
            assert_eq!(apart.payload(row, direction), wanted);
            assert_eq!(row.int(&format!("{direction}_packets")), 7);
            assert_eq!(row.int(&format!("{direction}_overlap_bytes")), 0);
        }
    }
    let manifest: &Value = &apart.manifest;
    assert_eq!(manifest["payload"]["duplicate"], 0);
}
