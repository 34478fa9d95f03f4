//! Frames of many segments: aggregates of 802.11.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use support::output::{Results, division, files_below, run};
use support::prng::Prng;
use support::wire::data_packet as tcp;

/// A `QoS` data frame that holds these packets (IEEE 802.11, 9.3.2.2).
fn aggregate(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = vec![0x88, 0x02, 0, 0];
    frame.extend([2; 18]);
    frame.extend([0, 0, 0x80, 0]);
    for packet in packets {
        frame.resize(26 + (frame.len() - 26).next_multiple_of(4), 0);
        frame.extend([2; 12]);
        frame.extend(u16::try_from(8 + packet.len()).unwrap().to_be_bytes());
        frame.extend([0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
        frame.extend(packet);
    }
    frame
}

fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 105] {
        bytes.extend(word.to_le_bytes());
    }
    for (number, frame) in (0u32..).zip(frames) {
        let len = u32::try_from(frame.len()).unwrap();
        for word in [1_700_000_000, number, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

fn extract(bytes: &[u8], base: &Path, args: &[&str]) -> Results {
    let capture = base.join("capture.pcap");
    fs::write(&capture, bytes).unwrap();
    let out = base.join("out");
    let mut all = vec![capture.as_os_str(), OsStr::new("--out"), out.as_os_str()];
    all.extend(args.iter().map(OsStr::new));
    let output = run(all);
    let results = Results::read(&out).unwrap();
    // A capture of a flow that lacks frames is a loss.
    let left_out = &results.manifest["anomalies"]["frames_left_out_of_flow_captures"];
    let status = if *left_out == 0 { 0 } else { 4 };
    assert_eq!(output.status, Some(status), "{output:?}");
    results
}

#[test]
fn hundreds_of_flows_that_begin_in_one_frame_are_told_apart() {
    let packets: Vec<Vec<u8>> = (0..400)
        .map(|port| tcp(1000 + port, 100, format!("hello {port}").as_bytes()))
        .collect();
    let base = tempfile::tempdir().unwrap();
    let results = extract(&capture(&[aggregate(&packets)]), base.path(), &["--pcaps"]);
    let ids: BTreeSet<i64> = results.flows.iter().map(|row| row.int("flow_id")).collect();
    assert_eq!((results.flows.len(), ids.len()), (400, 400));
    assert!(ids.first().is_some_and(|&least| least > 0));
    for row in &results.flows {
        let wanted = format!("hello {}", row.int("client_port") - 1000);
        assert_eq!(results.payload(row, "c2s"), wanted.as_bytes());
    }
}

#[test]
fn rows_of_one_frame_keep_their_order_however_divided() {
    let mut random = Prng::new(5);
    let frames: Vec<Vec<u8>> = (0..200)
        .map(|number: u32| {
            let packets: Vec<Vec<u8>> = (0..4)
                .map(|_| {
                    let letters: Vec<u8> = (0..20 + random.below(10))
                        .map(|_| b"ABC"[usize::try_from(random.below(3)).unwrap()])
                        .collect();
                    let port = 1000 + u16::try_from(number % 7).unwrap();
                    tcp(port, 100 + number / 7 * 25, &letters)
                })
                .collect();
            aggregate(&packets)
        })
        .collect();
    let bytes = capture(&frames);
    let mut first = None;
    for [threads, batch, chunk] in [["1", "64M", "4M"], ["2", "3000", "1000"], ["3", "1", "1"]] {
        let base = tempfile::tempdir().unwrap();
        let args = [&["--segments"][..], &division(threads, batch, chunk)].concat();
        let results = extract(&bytes, base.path(), &args);
        assert!(results.manifest["conflicts"]["flows"].as_u64() > Some(5));
        let mut files = files_below(&base.path().join("out"));
        files.remove(Path::new("manifest.json"));
        let first = first.get_or_insert_with(|| files.clone());
        for (name, bytes) in &files {
            assert!(first[name] == *bytes, "{args:?}: {}", name.display());
        }
    }
}

/// Cuts a packet in two behind the first 16 bytes of what IP carries.
fn fragments(packet: &[u8], id: u8) -> [Vec<u8>; 2] {
    const HEADER: usize = 20;
    let cut = HEADER + 16;
    let fragment = |range: &[u8], field: u16| {
        let mut all = [&packet[..HEADER], range].concat();
        let length = u16::try_from(all.len()).unwrap();
        all[2..4].copy_from_slice(&length.to_be_bytes());
        all[4..6].copy_from_slice(&[0, id]);
        all[6..8].copy_from_slice(&field.to_be_bytes());
        all
    };
    [
        fragment(&packet[HEADER..cut], 0x2000),
        fragment(&packet[cut..], 2),
    ]
}

#[test]
fn a_frame_with_fragments_of_two_datagrams_stands_once_in_its_flow() {
    let [one, two] = [(100, &b"Hello, "[..]), (107, b"world!!")]
        .map(|(seq, text)| fragments(&tcp(1000, seq, text), u8::try_from(seq).unwrap()));
    let frames = [0, 1].map(|part| aggregate(&[one[part].clone(), two[part].clone()]));
    let base = tempfile::tempdir().unwrap();
    let input = capture(&frames);
    let results = extract(&input, base.path(), &["--pcaps"]);
    let [row] = &results.flows[..] else {
        panic!("{} flows", results.flows.len())
    };
    assert_eq!(results.payload(row, "c2s"), b"Hello, world!!");
    let own: Vec<Vec<u8>> = files_below(&base.path().join("out"))
        .into_iter()
        .filter(|(name, _)| name.starts_with("pcaps"))
        .map(|(_, bytes)| bytes)
        .collect();
    let [own] = &own[..] else {
        panic!("{} captures", own.len())
    };
    assert_eq!(own.len(), input.len(), "each frame once");
}

/// Bytes and number of the captures of flows in an output directory.
fn captures_of_flows(out: &Path) -> (usize, usize) {
    let files = files_below(out);
    let own = files.iter().filter(|(name, _)| name.starts_with("pcaps"));
    (own.clone().map(|(_, bytes)| bytes.len()).sum(), own.count())
}

#[test]
fn a_frame_of_very_many_flows_is_copied_for_the_first_of_them() {
    const FLOWS: u16 = 1000;
    let packets: Vec<Vec<u8>> = (0..FLOWS).map(|port| tcp(1000 + port, 100, b"x")).collect();
    let frame = aggregate(&packets);
    let base = tempfile::tempdir().unwrap();
    let results = extract(
        &capture(std::slice::from_ref(&frame)),
        base.path(),
        &["--pcaps"],
    );
    assert_eq!(results.flows.len(), usize::from(FLOWS));
    let (bytes, files) = captures_of_flows(&base.path().join("out"));
    assert_eq!((bytes, files), (16 * (24 + 16 + frame.len()), 16));
    let left_out = &results.manifest["anomalies"]["frames_left_out_of_flow_captures"];
    assert_eq!(*left_out, u64::from(FLOWS) - 16);
}

/// Every frame of some is copied, however many segments of one flow are in it.
#[test]
fn a_frame_of_many_segments_of_one_flow_is_no_frame_of_many_flows() {
    let packets: Vec<Vec<u8>> = (0..100).map(|n| tcp(1000, 100 + n, b"x")).collect();
    let frames = [aggregate(&packets), aggregate(&packets)];
    let base = tempfile::tempdir().unwrap();
    let input = capture(&frames);
    let results = extract(&input, base.path(), &["--pcaps"]);
    let (bytes, files) = captures_of_flows(&base.path().join("out"));
    assert_eq!((bytes, files), (input.len(), 1));
    let left_out = &results.manifest["anomalies"]["frames_left_out_of_flow_captures"];
    assert_eq!(*left_out, 0);
}

/// Two frames hold all fragments of very many datagrams, each of a flow of its own.
#[test]
fn frames_of_very_many_fragments_are_not_copied_for_every_flow() {
    const FLOWS: u8 = 250;
    let halves: Vec<[Vec<u8>; 2]> = (0..FLOWS)
        .map(|n| fragments(&tcp(1000 + u16::from(n), 100, b"xxxxxxxx"), n))
        .collect();
    let frames = [0, 1].map(|part| {
        let all: Vec<Vec<u8>> = halves.iter().map(|half| half[part].clone()).collect();
        aggregate(&all)
    });
    let base = tempfile::tempdir().unwrap();
    let input = capture(&frames);
    let results = extract(&input, base.path(), &["--pcaps"]);
    assert_eq!(results.flows.len(), usize::from(FLOWS));
    let (bytes, files) = captures_of_flows(&base.path().join("out"));
    assert!(bytes < 64 * input.len(), "{bytes} bytes of {}", input.len());
    assert!((1..=16).contains(&files), "{files}");
    let left_out = &results.manifest["anomalies"]["frames_left_out_of_flow_captures"];
    assert!(left_out.as_u64() >= Some(u64::from(FLOWS)));
}
