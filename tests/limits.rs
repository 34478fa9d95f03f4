//! What limits cost, and that nobody can make them cost more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bulkreasm::model::{Endpoint, FlowKey, InputPos, LinkType, RawFrame, TimeUnit, Timestamp};
use bulkreasm::shard::ShardSeed;
use support::capture_file::{CaptureWriter, Format, block, packet_block};
use support::nasty;
use support::output::{Output, Results, run};
use support::wire::{self, Link, TcpPacket};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const START_NS: u64 = 1_704_067_200_000_000_000;
const FORMAT: Format = Format::Pcap {
    big_endian: false,
    nanos: true,
};

fn segment(ends: [SocketAddr; 2], flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    let packet = TcpPacket {
        src: ends[0],
        dst: ends[1],
        seq,
        ack,
        flags,
        window: 64_000,
        options: &[],
        payload,
        ident: 1,
    };
    let mut frame = Vec::new();
    wire::frame(&packet, Link::default(), &mut frame);
    frame
}

/// A capture of these frames, a microsecond apart.
fn capture(start_ns: u64, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new(), FORMAT, 65_535).unwrap();
    for (frame, at) in frames.iter().zip(0_u64..) {
        writer
            .frame(start_ns + 1000 * at, frame, frame.len())
            .unwrap();
    }
    writer.finish().unwrap()
}

fn ends(client: [u8; 4], port: u16) -> [SocketAddr; 2] {
    [(client, port).into(), ([192, 0, 2, 1], 443).into()]
}

fn key(ends: [SocketAddr; 2]) -> FlowKey {
    let [client, server] = ends.map(|end| match end {
        SocketAddr::V4(end) => Endpoint::v4(end.ip().octets(), end.port()),
        SocketAddr::V6(_) => panic!("all are IPv4"),
    });
    FlowKey::v4(client, server).0
}

fn seed_of(start_ns: u64, first: &[u8]) -> ShardSeed {
    ShardSeed::of(&RawFrame {
        ts: Timestamp::from_ns(i64::try_from(start_ns).unwrap()),
        unit: TimeUnit::Nano,
        link: LinkType(1),
        data: first,
        at: InputPos::new(0, 0),
        original_len: u32::try_from(first.len()).unwrap(),
        fcs_len: 0,
    })
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, capture: &[u8], more: &[&str]) -> Output {
        fs::write(self.path("in"), capture).unwrap();
        let _ = fs::remove_dir_all(self.path("out"));
        let (input, out) = (self.path("in"), self.path("out"));
        let mut args = vec![input.to_str().unwrap(), "--out", out.to_str().unwrap()];
        args.extend(more);
        run(args)
    }

    fn results(&self) -> Results {
        Results::read(&self.path("out")).unwrap()
    }
}

/// A connection that lasts from the second frame to the last, and between them flows of one segment.
fn victim_among(flood: &[[SocketAddr; 2]]) -> Vec<Vec<u8>> {
    let victim = ends([10, 0, 0, 1], 40_000);
    let [client, server] = victim;
    let back = [server, client];
    let mut frames = vec![
        segment(ends([10, 9, 9, 9], 9), SYN, 1, 0, b""),
        segment(victim, SYN, 99, 0, b""),
        segment(back, SYN | ACK, 499, 100, b""),
        segment(victim, ACK, 100, 500, b"before"),
    ];
    frames.extend(flood.iter().map(|ends| segment(*ends, ACK, 1, 1, b"a")));
    frames.extend([
        segment(victim, ACK, 106, 500, b"after"),
        segment(victim, FIN | ACK, 111, 500, b""),
        segment(back, FIN | ACK, 500, 112, b""),
        segment(victim, ACK, 112, 501, b""),
    ]);
    frames
}

/// Whoever knows the seed can fill the share of one flow's shard. Nobody on the wire does: it is another one
/// if the first frame comes a nanosecond later.
#[test]
fn a_flow_is_evicted_by_those_of_its_shard_and_the_shards_cannot_be_foretold() {
    const FLOWS: usize = 1_500;
    let first = segment(ends([10, 9, 9, 9], 9), SYN, 1, 0, b"");
    let guessed = seed_of(START_NS, &first);
    let own = guessed.shard_of(&key(ends([10, 0, 0, 1], 40_000)));
    let flood: Vec<_> = (0..=255)
        .flat_map(|host| (1_000..2_000).map(move |port| ends([10, 1, host, 1], port)))
        .filter(|ends| guessed.shard_of(&key(*ends)) == own)
        .take(FLOWS)
        .collect();
    assert_eq!(flood.len(), FLOWS);
    let frames = victim_among(&flood);
    let place = Place::new();
    // A shard's share is 256 KiB, which is less than all these flows need. They need a tenth of the whole.
    let limit = ["--memory-limit", "16MiB", "-q"];
    for (start_ns, status) in [(START_NS, 4), (START_NS + 1, 0)] {
        let output = place.run(&capture(start_ns, &frames), &limit);
        assert_eq!(output.status, Some(status), "{output:?}");
        let results = place.results();
        let seed = seed_of(start_ns, &first).to_string();
        assert_eq!(results.manifest["shard_seed"], seed);
        let evicted = results.manifest["anomalies"]["evicted_flows"].as_u64();
        assert_eq!(evicted.unwrap() > 0, status == 4);
        let victims = results.flows.iter().filter(|row| {
            row.text("client_ip").as_deref() == Some("10.0.0.1") && row.text("c2s_path").is_some()
        });
        // Cut in two where it was evicted.
        assert_eq!(victims.count(), if status == 4 { 2 } else { 1 });
    }
}

/// The seed is of the first frame in reading order, whatever it carries and whoever asks for it.
#[test]
fn the_seed_is_the_same_however_the_capture_is_read() {
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 46]].concat();
    let mut frames = vec![arp.clone()];
    frames.extend((0..200).map(|port| segment(ends([10, 0, 0, 1], port), ACK, 1, 1, b"x")));
    let whole = capture(START_NS, &frames);
    let place = Place::new();
    let wanted = seed_of(START_NS, &arp).to_string();
    for more in [
        &[][..],
        &["--no-mmap"],
        &["-j", "3", "--batch-bytes", "1", "--chunk-bytes", "1"],
        &["--filter", "port 7"],
        &["--filter", "port 60000"],
        &["--track", "vlan"],
    ] {
        let output = place.run(&whole, more);
        assert_eq!(output.status, Some(0), "{more:?}: {output:?}");
        assert_eq!(place.results().manifest["shard_seed"], wanted, "{more:?}");
    }
    // Files in the wrong order, apart and interleaved, with one that has no frame.
    let parts = |taken: &dyn Fn(usize) -> bool| {
        let mut writer = CaptureWriter::new(Vec::new(), FORMAT, 65_535).unwrap();
        for (at, frame) in frames.iter().enumerate().filter(|(at, _)| taken(*at)) {
            let ts = START_NS + 1000 * u64::try_from(at).unwrap();
            writer.frame(ts, frame, frame.len()).unwrap();
        }
        writer.finish().unwrap()
    };
    for halves in [
        [parts(&|at| at >= 100), parts(&|at| at < 100)],
        [parts(&|at| at % 2 == 1), parts(&|at| at % 2 == 0)],
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), &halves[0]).unwrap();
        fs::write(folder.path().join("b"), &halves[1]).unwrap();
        fs::write(folder.path().join("0"), capture(START_NS, &[])).unwrap();
        for more in [&[][..], &["--batch-bytes", "1", "--chunk-bytes", "1"]] {
            let out = tempfile::tempdir().unwrap();
            let paths = [folder.path(), Path::new("--out"), out.path()];
            let output = run(paths
                .iter()
                .map(|path| path.as_os_str())
                .chain(more.iter().map(AsRef::as_ref)));
            assert_eq!(output.status, Some(0), "{output:?}");
            let results = Results::read(out.path()).unwrap();
            assert_eq!(results.manifest["shard_seed"], wanted, "{more:?}");
        }
    }
    // A pipe that gives a few bytes at a time.
    let out = place.path("pipe");
    let mut child = Command::new(env!("CARGO_BIN_EXE_bulkreasm"))
        .args(["-", "-q", "--out", out.to_str().unwrap()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for some in whole.chunks(11) {
        stdin.write_all(some).unwrap();
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let results = Results::read(&out).unwrap();
    assert_eq!(results.manifest["shard_seed"], wanted);
    // Without any frame it is that of nothing.
    assert_eq!(place.run(&capture(START_NS, &[]), &[]).status, Some(0));
    let of_nothing = ShardSeed::default().to_string();
    assert_eq!(place.results().manifest["shard_seed"], of_nothing);
}

/// Flows that are open at the same time, more than a small limit holds.
fn many_flows() -> Vec<Vec<u8>> {
    (0..4_000)
        .map(|port| segment(ends([10, 0, 0, 1], port), ACK, 1, 1, b"some data"))
        .collect()
}

#[test]
fn what_a_limit_lost_ends_with_4_and_what_was_asked_for_does_not() {
    let place = Place::new();
    let capture = capture(START_NS, &many_flows());
    let tight = ["--memory-limit", "256KiB"];
    let output = place.run(&capture, &tight);
    assert_eq!(output.status, Some(4), "{output:?}");
    assert!(output.stderr.contains("ended early"), "{output:?}");
    assert!(output.stderr.contains("--memory-limit"), "{output:?}");
    assert_eq!(place.results().manifest["complete"], true);
    for more in [
        &["--max-stream-bytes", "3"][..],
        &["--min-bytes", "1K"],
        &["--filter", "port 7"],
        &["--payload", "none"],
    ] {
        let output = place.run(&capture, more);
        assert_eq!(output.status, Some(0), "{more:?}: {output:?}");
    }
    // Damage is graver.
    let mut damaged = capture.clone();
    damaged.truncate(capture.len() - 1);
    let output = place.run(&damaged, &tight);
    assert_eq!(output.status, Some(3), "{output:?}");
    assert!(output.stderr.contains("ended early"), "{output:?}");
}

#[test]
fn payload_that_found_no_room_to_wait_in_is_a_loss() {
    // Each byte lies behind a hole of its own, and the holes are large. The first one is filled when
    // more wait than may, besides the pieces that are not told yet.
    let [client, server] = ends([10, 0, 0, 1], 1);
    let mut frames = vec![
        segment([client, server], SYN, 0, 0, b""),
        segment([server, client], SYN | ACK, 0, 1, b""),
        segment([client, server], ACK, 1, 1, b"first"),
    ];
    let at = |n: u32| 6 + 100 * n;
    frames.extend((1..=1_500).map(|n| segment([client, server], ACK, at(n), 1, b"x")));
    frames.push(segment([client, server], ACK, 6, 1, b"late"));
    let place = Place::new();
    let output = place.run(&capture(START_NS, &frames), &["--gaps", "skip"]);
    assert_eq!(output.status, Some(4), "{output:?}");
    assert!(output.stderr.contains("want of room"), "{output:?}");
    let results = place.results();
    assert_eq!(results.manifest["payload"]["crowded_out"], 4);
    assert_eq!(results.flows[0].int("c2s_rejected_bytes"), 4);
    let output = place.run(&capture(START_NS, &frames), &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
}

#[test]
fn fragments_that_too_many_others_displace_are_a_loss() {
    /// As many as the table holds at the end of an epoch, and how long an epoch is.
    const HELD: usize = 65_536;
    const EPOCH: usize = 1 << 18;
    let mut frames: Vec<Vec<u8>> = (0..HELD + 3)
        .map(|number| {
            let [_, host, high, low] = u32::try_from(number).unwrap().to_be_bytes();
            let packet = TcpPacket {
                src: ([10, host, high, low], 1).into(),
                dst: ([192, 0, 2, 1], 443).into(),
                seq: 1,
                ack: 1,
                flags: ACK,
                window: 1,
                options: &[],
                payload: &[7; 20],
                ident: 1,
            };
            wire::fragments(&packet, Link::default(), 24).swap_remove(0)
        })
        .collect();
    let place = Place::new();
    // Without the end of an epoch they are only incomplete.
    let output = place.run(&capture(START_NS, &frames), &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    frames.resize(EPOCH, arp);
    let output = place.run(&capture(START_NS, &frames), &[]);
    assert_eq!(output.status, Some(4), "{output:?}");
    assert!(
        output.stderr.contains("3 fragmented datagrams"),
        "{output:?}"
    );
    let manifest = place.results().manifest;
    assert_eq!(manifest["anomalies"]["ip_datagrams_over_limit"], 3);
}

#[test]
fn a_digest_of_little_but_holes_is_a_loss_that_is_told() {
    let mut frames = Vec::new();
    for port in 0..300 {
        let ends = ends([10, 0, 0, 1], port);
        frames.push(segment(ends, ACK, 1, 1, b"x"));
        frames.push(segment(ends, ACK, 1 + (1 << 20), 1, b"y"));
    }
    let place = Place::new();
    for payload in ["files", "parquet", "none"] {
        let more = ["--hash", "sha256", "--payload", payload];
        let output = place.run(&capture(START_NS, &frames), &more);
        assert_eq!(output.status, Some(4), "{output:?}");
        assert!(output.stderr.contains("have no digest"), "{output:?}");
        let results = place.results();
        let anomalies = &results.manifest["anomalies"];
        assert_eq!(anomalies["half_streams_without_digest"], 300, "{payload}");
        let null = |row: &support::output::Row| row.text("c2s_sha256").is_none();
        assert!(results.flows.iter().all(null));
    }
}

#[test]
fn memory_limits_that_hold_no_flow_are_refused_and_small_ones_warned_of() {
    let place = Place::new();
    let sound = nasty::sound(FORMAT);
    for (limit, status, warned) in [
        ("0", 2, false),
        ("262143", 2, false),
        ("256KiB", 0, true),
        ("67108863", 0, true),
        ("64MiB", 0, false),
    ] {
        let output = place.run(&sound, &["--memory-limit", limit]);
        assert_eq!(output.status, Some(status), "{limit}: {output:?}");
        let told = output.stderr.contains("--memory-limit");
        assert_eq!(told, status == 2 || warned, "{limit}: {output:?}");
    }
    let output = place.run(&sound, &["--memory-limit", "256KiB", "-q"]);
    assert_eq!(output.stderr, "");
}

#[test]
fn more_threads_than_have_work_are_not_started() {
    let place = Place::new();
    let sound = nasty::sound(FORMAT);
    for (threads, used) in [("256", 256), ("257", 256), ("4096", 256), ("65535", 256)] {
        let output = place.run(&sound, &["-j", threads]);
        assert_eq!(output.status, Some(0), "{output:?}");
        assert_eq!(place.results().manifest["timings"]["threads"], used);
        assert_eq!(output.stderr.contains("256 are used"), threads != "256");
    }
    assert_eq!(place.run(&sound, &["-j", "65536"]).status, Some(2));
}

#[test]
fn a_capture_without_tcp_says_so() {
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 46]].concat();
    let place = Place::new();
    let without = capture(START_NS, &vec![arp; 3]);
    let output = place.run(&without, &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(
        output.stderr.contains("no TCP: none of the 3 frames"),
        "{output:?}"
    );
    assert!(output.stderr.contains("arp"), "{output:?}");
    assert_eq!(place.run(&without, &["-q"]).stderr, "");
    let output = place.run(&nasty::sound(FORMAT), &[]);
    assert_eq!(output.stderr, "");
}

#[test]
fn many_unknown_link_types_are_a_few_warnings() {
    const INTERFACES: u32 = 60;
    let mut bytes = CaptureWriter::new(Vec::new(), Format::Pcapng { big_endian: false }, 0)
        .unwrap()
        .finish()
        .unwrap();
    // The file begins with an interface of its own.
    for number in 1..=INTERFACES {
        let link = u16::try_from(40_000 + number).unwrap().to_le_bytes();
        bytes.extend(block(1, &[&link[..], &[0; 6]].concat(), None));
        bytes.extend(packet_block(number, 1, None, b"whatever"));
    }
    let place = Place::new();
    let output = place.run(&bytes, &[]);
    assert_eq!(output.status, Some(0), "{output:?}");
    let about = |output: &Output| {
        let lines = output.stderr.lines();
        lines.filter(|line| line.contains("link type")).count()
    };
    assert_eq!(about(&output), 4, "{output:?}");
    assert!(output.stderr.contains("57 more link types"), "{output:?}");
    let output = place.run(&bytes, &["-v"]);
    assert_eq!(about(&output), 21, "{output:?}");
    assert!(output.stderr.contains("40 more link types"), "{output:?}");
}
