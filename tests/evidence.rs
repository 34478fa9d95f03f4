//! Which bytes were chosen and why, and where each came from.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a panic is how a test speaks, and lengths of small captures fit anywhere"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::captures;
use support::output::{Results, Row, read_table, run};

/// Runs the program and reads what it wrote, whatever the input's damage.
fn reassembled(capture: &Path, out: &Path, args: &[&str]) -> Option<Results> {
    let mut all = vec![capture.to_str().unwrap(), "-o", out.to_str().unwrap(), "-q"];
    all.extend(args);
    let status = run(&all).status;
    matches!(status, Some(0 | 3)).then(|| Results::read(out).unwrap())
}

/// A byte of a stream that is rebuilt from the capture.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Byte {
    Missing,
    /// Its bytes lie in no one place of the input (reassembled from IP fragments).
    Elsewhere,
    Known(u8),
}

/// A direction's stream as `segments.parquet` tells it, read from the capture at the offsets given
/// there. Parts come in order of frames; of two the later one stands where it is kept.
fn rebuilt(capture: &[u8], segments: &[Row], flow: i64, direction: &str) -> Vec<Byte> {
    let mut stream = Vec::new();
    for row in segments.iter().filter(|row| {
        row.int("flow_id") == flow
            && row.text("direction").as_deref() == Some(direction)
            && row.bool("kept")
    }) {
        let (offset, length) = (
            row.int("stream_offset") as usize,
            row.int("length") as usize,
        );
        if stream.len() < offset + length {
            stream.resize(offset + length, Byte::Missing);
        }
        for (i, byte) in stream[offset..offset + length].iter_mut().enumerate() {
            *byte = match row.maybe_int("file_offset") {
                Some(at) => Byte::Known(capture[at as usize + i]),
                None => Byte::Elsewhere,
            };
        }
    }
    stream
}

/// Checks every payload file of a run against what its segments point to.
fn check(capture: &Path, args: &[&str]) -> Result<usize, String> {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let mut all = vec!["--segments"];
    all.extend(args);
    let Some(results) = reassembled(capture, &out, &all) else {
        return Ok(0);
    };
    let input = fs::read(capture).unwrap();
    let mut segments = read_table(&out.join("segments.parquet")).unwrap();
    segments.sort_by_key(|row| (row.int("frame"), row.maybe_int("stream_offset")));
    let name = capture.display();
    let mut files = 0;
    for flow in &results.flows {
        for direction in ["c2s", "s2c"] {
            let mut wanted = rebuilt(&input, &segments, flow.int("flow_id"), direction);
            for gap in results.gaps_of(flow, direction).iter().rev() {
                if gap.elided {
                    let (start, length) = (gap.offset as usize, gap.length as usize);
                    assert!(
                        wanted
                            .drain(start..start + length)
                            .all(|b| b == Byte::Missing)
                    );
                }
            }
            let file = results.payload(flow, direction);
            let id = flow.int("flow_id");
            if file.len() != wanted.len() {
                return Err(format!(
                    "{name} {args:?}: flow {id} {direction}: {} bytes, not {}",
                    file.len(),
                    wanted.len()
                ));
            }
            let differs = file
                .iter()
                .zip(&wanted)
                .position(|(&got, want)| match want {
                    Byte::Missing => got != 0,
                    Byte::Elsewhere => false,
                    Byte::Known(byte) => got != *byte,
                });
            if let Some(at) = differs {
                return Err(format!(
                    "{name} {args:?}: flow {id} {direction}: byte {at} differs"
                ));
            }
            files += usize::from(!file.is_empty());
        }
    }
    Ok(files)
}

fn all_prove(captures: &[PathBuf], at_least: usize) {
    let mut files = 0;
    let mut wrong = Vec::new();
    for capture in captures {
        for args in [
            &[][..],
            &["--overlap-policy", "last"],
            &["--overlap-policy", "solaris", "--gaps", "skip"],
            &["--overlap-policy", "linux", "--max-stream-bytes", "5000"],
        ] {
            match check(capture, args) {
                Ok(count) => files += count,
                Err(error) => wrong.push(error),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files >= at_least, "only {files} payload files were proved");
}

#[test]
fn every_byte_of_own_captures_is_proved_from_the_input() {
    all_prove(&captures::own(), 400);
}

#[test]
fn every_byte_of_foreign_captures_is_proved_from_the_input() {
    if let Some(captures) = captures::foreign() {
        all_prove(&captures, 4000);
    }
}

/// The running columns: totals grow by each segment's bytes, and spacings add up to what elapsed.
#[test]
fn totals_and_spacings_run_along_the_flow() {
    let capture = captures::own()
        .into_iter()
        .find(|path| path.ends_with("tap_misses.pcap"))
        .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    reassembled(&capture, &out, &["--segments"]).unwrap();
    let segments = read_table(&out.join("segments.parquet")).unwrap();
    let mut by_frame: BTreeMap<i64, (i64, &Row)> = BTreeMap::new();
    for row in &segments {
        by_frame.entry(row.int("frame")).or_insert((0, row)).0 += row.int("length");
    }
    assert!(by_frame.len() > 40);
    let (mut totals, mut elapsed) = (BTreeMap::from([("c2s", 0), ("s2c", 0)]), 0);
    for (length, row) in by_frame.values() {
        let direction = row.text("direction").unwrap();
        *totals.get_mut(direction.as_str()).unwrap() += length;
        assert_eq!(row.int("client_total"), totals["c2s"]);
        assert_eq!(row.int("server_total"), totals["s2c"]);
        assert_eq!(row.int("total"), totals["c2s"] + totals["s2c"]);
        elapsed += row.maybe_int("since_last_ns").unwrap_or(0);
        assert_eq!(row.int("elapsed_ns"), elapsed);
    }
}

/// A foreign capture by name, where the captures are at hand.
fn foreign(name: &str) -> Option<PathBuf> {
    let all = captures::foreign()?;
    let found = all
        .into_iter()
        .find(|path| path.file_stem().is_some_and(|stem| stem == name));
    Some(found.unwrap_or_else(|| panic!("no capture {name}")))
}

/// What a capture comes out as: the first flow's streams, and what else was written.
struct Case {
    results: Results,
    conflicts: Vec<Row>,
    segments: Vec<Row>,
}

fn case(name: &str, args: &[&str]) -> Option<Case> {
    let capture = foreign(name)?;
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let mut all = vec!["--segments"];
    all.extend(args);
    let results = reassembled(&capture, &out, &all).unwrap();
    // The payload is read while the directory is there.
    let conflicts = read_table(&out.join("conflicts.parquet")).unwrap();
    let segments = read_table(&out.join("segments.parquet")).unwrap();
    std::mem::forget(scratch);
    Some(Case {
        results,
        conflicts,
        segments,
    })
}

impl Case {
    fn stream(&self, direction: &str) -> String {
        let bytes = self.results.payload(&self.results.flows[0], direction);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[test]
fn the_policy_of_the_receivers_network_decides() {
    for (policy, wanted) in [
        ("bsd", "GOOD"),
        ("2.2.2.2=old-linux", "EVIL"),
        ("3.3.3.3=old-linux", "GOOD"),
        ("2.2.2.0/24=last,first", "EVIL"),
    ] {
        let Some(case) = case(
            "suricata-verify__tcp-overlap",
            &["--overlap-policy", policy],
        ) else {
            return;
        };
        assert_eq!(case.stream("c2s"), wanted, "{policy}");
        assert_eq!(case.conflicts.len(), 1, "{policy}");
        let shown = |column| case.conflicts[0].text(column).unwrap();
        assert!(shown("kept") != shown("refused"));
        assert_eq!(case.results.manifest["conflicts"]["flows"], 1);
    }
}

#[test]
fn a_gap_keeps_its_place_and_enters_no_payload() {
    let Some(case) = case("suricata-verify__tcp-simple-gap2", &[]) else {
        return;
    };
    assert_eq!(case.stream("c2s"), "VERY\0\0\0\0DATA");
    let gaps = case.results.gaps_of(&case.results.flows[0], "c2s");
    assert_eq!((gaps[0].offset, gaps[0].length), (4, 4));
}

#[test]
fn text_on_a_reset_is_no_stream_data() {
    let Some(case) = case("suricata-verify__tcp-rst-unacked-stream-01-raw_input", &[]) else {
        return;
    };
    assert_eq!(case.stream("s2c"), "Please Let Me In!");
    let rejected: Vec<&Row> = case
        .segments
        .iter()
        .filter(|row| row.text("kind").as_deref() == Some("rejected"))
        .collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].int("length"), 13, "Access Denied");
    assert!(case.results.gaps.is_empty());
}

#[test]
fn forged_segments_do_not_disturb_a_flow() {
    let Some(case) = case("suricata-verify__with_evasion_linux", &[]) else {
        return;
    };
    assert!(case.stream("s2c").contains("THIS_IS_A_TEST"));
}

#[test]
fn an_injected_reply_and_the_true_one_are_both_shown() {
    const BANG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nBANG!";
    let name = "zeek__qi_internet_SYNACK_curl_jsonip";
    let Some(first) = case(name, &[]) else { return };
    let Some(last) = case(name, &["--overlap-policy", "last"]) else {
        return;
    };
    assert!(first.stream("s2c").starts_with(BANG));
    assert!(
        last.stream("s2c")
            .starts_with("HTTP/1.1 200 OK\r\nServer: nginx/1.4.4")
    );
    assert!(!first.conflicts.is_empty() && !last.conflicts.is_empty());
    let Some(harlem) = case("quantuminsert__bro.org-harlemshake-inject", &[]) else {
        return;
    };
    assert!(!harlem.conflicts.is_empty());
}

#[test]
fn inconsistent_retransmissions_are_rows() {
    let Some(case) = case("zeek__reassembly", &[]) else {
        return;
    };
    let flow = case
        .results
        .flows
        .iter()
        .find(|flow| flow.text("client_ip").as_deref() == Some("63.193.213.194"))
        .unwrap();
    let id = flow.int("flow_id");
    assert!(case.conflicts.iter().any(|row| row.int("flow_id") == id));
}

#[test]
fn what_a_fin_shows_to_be_missing_is_a_gap() {
    let Some(case) = case("zeek__miss_end_data", &[]) else {
        return;
    };
    let gaps = case.results.gaps_of(&case.results.flows[0], "s2c");
    assert_eq!((gaps[0].offset, gaps[0].length), (0, 2902));
}

#[test]
fn a_split_handshake_is_one_flow() {
    let Some(case) = case("suricata-verify__split-handshake-4whs", &[]) else {
        return;
    };
    assert_eq!(case.results.flows.len(), 1);
}
