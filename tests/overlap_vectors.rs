//! The published overlap vectors, through the whole program: at every step, and wherever sequence
//! numbers begin.
//!
//! They are not part of the repository (`../shared/vectors/tcp_overlap.json` beside it, or the file that
//! `BULKREASM_OVERLAP_VECTORS` names); a unit test of the assembler holds the main one.

#![allow(clippy::unwrap_used, reason = "a panic is how a test speaks")]

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use support::capture_file::{CaptureWriter, Format};
use support::output::{Results, run};
use support::wire::{self, Link, TcpPacket};

const ISNS: [u32; 4] = [0, 1, u32::MAX, u32::MAX - 10];

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "case")]
    name: String,
    policy: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    /// 1 is the first byte of the stream.
    rel_seq: u32,
    seg: String,
    /// Dots for bytes that did not come yet.
    stream_after: String,
}

fn vectors() -> Option<Vectors> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/tcp_overlap.json");
    let path = env::var_os("BULKREASM_OVERLAP_VECTORS").map_or(beside, PathBuf::from);
    let Ok(text) = fs::read(&path) else {
        #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
        let () = eprintln!("skipped: no overlap vectors; BULKREASM_OVERLAP_VECTORS may name them");
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

/// One flow for each number of steps, each from its own port, so that one run shows them all.
fn capture(case: &Case, isn: u32) -> Vec<u8> {
    let format = Format::Pcap {
        big_endian: false,
        nanos: true,
    };
    let mut writer = CaptureWriter::new(Vec::new(), format, 262_144).unwrap();
    let mut frame = Vec::new();
    let mut time = 1_700_000_000_000_000_000;
    for steps in 1..=case.steps.len() {
        let port = 1000 + u16::try_from(steps).unwrap();
        let mut send = |seq: u32, flags: u8, payload: &[u8]| {
            let packet = TcpPacket {
                src: format!("10.0.0.1:{port}").parse().unwrap(),
                dst: "10.0.0.2:80".parse().unwrap(),
                seq,
                ack: 0,
                flags,
                window: 1000,
                options: &[],
                payload,
                ident: 0,
            };
            wire::frame(&packet, Link::default(), &mut frame);
            time += 1000;
            writer.frame(time, &frame, frame.len()).unwrap();
        };
        send(isn, 0x02, b"");
        for step in &case.steps[..steps] {
            send(isn.wrapping_add(step.rel_seq), 0x08, step.seg.as_bytes());
        }
    }
    writer.finish().unwrap()
}

#[test]
fn published_vectors_come_out_at_every_step() {
    let Some(vectors) = vectors() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for case in &vectors.cases {
        for isn in ISNS {
            let input = scratch.path().join("vector.pcap");
            let out = scratch.path().join("out");
            fs::write(&input, capture(case, isn)).unwrap();
            let policy = case.policy.replace('_', "-");
            let ran = run([
                input.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
                "--force",
                "--quiet",
                "--overlap-policy",
                &policy,
            ]);
            assert_eq!(ran.status, Some(0), "{}", ran.stderr);
            let results = Results::read(&out).unwrap();
            assert_eq!(results.flows.len(), case.steps.len());
            for (flow, step) in results.flows.iter().zip(&case.steps) {
                let got = String::from_utf8(results.payload(flow, "c2s")).unwrap();
                assert_eq!(
                    got.replace('\0', "."),
                    step.stream_after,
                    "{}, ISN {isn}, after {} at {}",
                    case.name,
                    step.seg,
                    step.rel_seq
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 700, "only {compared} streams were compared");
}
