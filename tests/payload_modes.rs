//! The same payload whatever the form: files, the payload table, digests, and what is left out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::captures;
use support::generator::config::{Config, Profile};
use support::generator::generate;
use support::output::{PayloadRow, Results, run};
use support::truth::sha256;

const DIRECTIONS: [&str; 2] = ["c2s", "s2c"];

/// A half-stream: flow id and direction.
type Half = (i64, String);

/// The options under which every form must tell the same.
const OPTIONS: [&[&str]; 5] = [
    &[],
    &["--gaps", "skip"],
    &["--max-gap", "700"],
    &["--memory-limit", "300K"],
    &["--no-mmap", "-j", "3", "--batch-bytes", "5000"],
];

/// Runs the program; `None` where the capture is refused, as some foreign ones are.
fn results(capture: &Path, base: &Path, options: &[&str]) -> Option<Results> {
    let out = base.join("out");
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    let mut args = vec![
        capture.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "-q",
    ];
    args.extend(options);
    let output = run(&args);
    assert_ne!(output.status, None, "{output:?}");
    Results::read(&out).ok()
}

fn half_streams(results: &Results) -> impl Iterator<Item = (&support::output::Row, &'static str)> {
    let flows = results.flows.iter();
    flows.flat_map(|flow| DIRECTIONS.map(|direction| (flow, direction)))
}

/// The payload files, by half-stream.
fn files(results: &Results) -> BTreeMap<Half, Vec<u8>> {
    half_streams(results)
        .map(|(flow, direction)| {
            let half = (flow.int("flow_id"), direction.to_owned());
            (half, results.payload(flow, direction))
        })
        .filter(|(_, payload)| !payload.is_empty())
        .collect()
}

/// What payload files would hold, from the rows of the payload table: in order of offset, with holes
/// as zeros and those that are elided closed up.
fn files_from_rows(results: &Results, mut rows: Vec<PayloadRow>) -> BTreeMap<Half, Vec<u8>> {
    rows.sort_by_key(|row| row.offset);
    let mut files: BTreeMap<Half, Vec<u8>> = BTreeMap::new();
    for row in rows {
        let elided: i64 = results
            .gaps
            .iter()
            .filter(|gap| (gap.flow_id, &gap.direction) == (row.flow_id, &row.direction))
            .filter(|gap| gap.elided && gap.offset < row.offset)
            .map(|gap| gap.length)
            .sum();
        let position = usize::try_from(row.offset - elided).unwrap();
        let file = files.entry((row.flow_id, row.direction)).or_default();
        assert!(position >= file.len(), "rows overlap");
        file.resize(position, 0);
        file.extend(row.data);
    }
    files
}

fn digests(results: &Results) -> BTreeMap<Half, String> {
    half_streams(results)
        .filter_map(|(flow, direction)| {
            let digest = flow.text(&format!("{direction}_sha256"))?;
            Some(((flow.int("flow_id"), direction.to_owned()), digest))
        })
        .collect()
}

fn paths(results: &Results) -> BTreeMap<Half, String> {
    half_streams(results)
        .filter_map(|(flow, direction)| {
            let path = flow.text(&format!("{direction}_path"))?;
            Some(((flow.int("flow_id"), direction.to_owned()), path))
        })
        .collect()
}

/// What the manifest says of the parts is what is there, and the flow table names them.
fn parts_are_known(results: &Results, out: &Path, rows: &[PayloadRow]) {
    let mut there = BTreeSet::new();
    if let Ok(entries) = fs::read_dir(out.join("payload")) {
        for entry in entries {
            there.insert(format!(
                "payload/{}",
                entry.unwrap().file_name().to_str().unwrap()
            ));
        }
    }
    let outputs = results.manifest["outputs"].as_object().unwrap();
    let named: BTreeSet<String> = outputs
        .keys()
        .filter(|name| name.contains('/'))
        .cloned()
        .collect();
    assert_eq!(there, named);
    for name in named {
        let rows = rows.iter().filter(|row| row.part == name).count();
        assert_eq!(outputs[&name]["rows"], rows);
        let bytes = fs::metadata(out.join(&name)).unwrap().len();
        assert_eq!(outputs[&name]["bytes"], bytes);
    }
    let of_rows: BTreeMap<Half, String> = rows
        .iter()
        .map(|row| ((row.flow_id, row.direction.clone()), row.part.clone()))
        .collect();
    assert_eq!(paths(results), of_rows);
}

/// Whether the zeros of a file's holes are few enough, for what was kept, to be digested.
fn is_digested(results: &Results, (flow_id, direction): &Half, payload: &[u8]) -> bool {
    let flow = results
        .flows
        .iter()
        .find(|flow| flow.int("flow_id") == *flow_id);
    let kept = flow.unwrap().int(&format!("{direction}_stream_bytes"));
    i64::try_from(payload.len()).unwrap() - kept <= 64 * kept + 4096
}

fn all_forms_agree(captures: &[PathBuf]) {
    assert!(!captures.is_empty());
    let base = tempfile::tempdir().unwrap();
    for capture in captures {
        for options in OPTIONS {
            let of = |form: &str| {
                let more = ["--payload", form, "--hash", "sha256"];
                results(capture, base.path(), &[options, &more[..]].concat())
            };
            let name = format!("{} {options:?}", capture.display());
            let Some(with_files) = of("files") else {
                continue;
            };
            let files = files(&with_files);
            let wanted: BTreeMap<Half, String> = files
                .iter()
                .filter(|(half, payload)| is_digested(&with_files, half, payload))
                .map(|(half, payload)| (half.clone(), sha256(payload)))
                .collect();
            assert_eq!(digests(&with_files), wanted, "{name}");

            let with_parts = of("parquet").unwrap();
            let rows = with_parts.payload_rows().unwrap();
            parts_are_known(&with_parts, &base.path().join("out"), &rows);
            assert!(rows.iter().all(|r| (1..=65_536).contains(&r.data.len())));
            assert!(files_from_rows(&with_parts, rows) == files, "{name}");
            assert_eq!(digests(&with_parts), wanted, "{name}");

            let without = of("none").unwrap();
            assert_eq!(digests(&without), wanted, "{name}");
            assert!(paths(&without).is_empty(), "{name}");
        }
    }
}

#[test]
fn files_parts_and_digests_tell_the_same_payload() {
    all_forms_agree(&captures::own());
}

#[test]
fn files_parts_and_digests_tell_the_same_payload_of_foreign_captures() {
    if let Some(captures) = captures::foreign() {
        all_forms_agree(&captures);
    }
}

#[test]
fn no_digest_without_being_asked() {
    let base = tempfile::tempdir().unwrap();
    let capture = &captures::own()[0];
    let results = results(capture, base.path(), &[]).unwrap();
    assert!(digests(&results).is_empty());
    assert!(!paths(&results).is_empty());
}

#[test]
fn small_half_streams_are_left_out_and_counted() {
    let base = tempfile::tempdir().unwrap();
    for capture in captures::own() {
        for (form, minimum) in [("files", 1500), ("parquet", 1500), ("files", 1 << 40)] {
            let all = results(&capture, base.path(), &["--payload", "files"]).unwrap();
            let mut wanted = files(&all);
            let mut below = 0;
            for (flow, direction) in half_streams(&all) {
                let bytes = flow.int(&format!("{direction}_stream_bytes"));
                if bytes < minimum {
                    below += bytes;
                    wanted.remove(&(flow.int("flow_id"), direction.to_owned()));
                }
            }
            let options = ["--payload", form, "--min-bytes", &minimum.to_string()];
            let some = results(&capture, base.path(), &options).unwrap();
            let got = if form == "files" {
                files(&some)
            } else {
                files_from_rows(&some, some.payload_rows().unwrap())
            };
            assert!(got == wanted, "{} {options:?}", capture.display());
            assert!(paths(&some).into_keys().eq(wanted.into_keys()));
            assert_eq!(some.gaps, all.gaps);
            assert_eq!(some.flows.len(), all.flows.len());
            assert_eq!(some.manifest["payload"]["below_minimum"], below);
            let anomalies = &some.manifest["anomalies"];
            assert_eq!(anomalies["half_streams_written_below_minimum"], 0);
        }
    }
}

/// A flow of many rows in which hardly a segment comes in order: a string is found wherever it
/// stands, save where it is cut in two by the end of a row.
#[test]
fn a_string_is_found_across_segments() {
    const LEN: usize = 24;
    let base = tempfile::tempdir().unwrap();
    let capture = base.path().join("in.pcap");
    let config = Config {
        seed: 5,
        flows: 3,
        bytes: 900_000,
        reorder: 0.3,
        retransmit: 0.1,
        ..Config::of(Profile::Bulk)
    };
    generate(&config, fs::File::create(&capture).unwrap(), |_| Ok(())).unwrap();
    let with_files = results(&capture, base.path(), &[]).unwrap();
    let files = files(&with_files);
    let options = ["--payload", "parquet", "--batch-bytes", "20000"];
    let with_parts = results(&capture, base.path(), &options).unwrap();
    let rows = with_parts.payload_rows().unwrap();
    let long = files.iter().filter(|(_, payload)| payload.len() > 100_000);
    let mut looked_for = 0;
    for ((flow_id, direction), payload) in long {
        // Random bytes: each string is planted once. Segments are shorter than the step is long.
        for at in (0..payload.len() - LEN).step_by(1_009) {
            let string = &payload[at..at + LEN];
            let found: Vec<_> = rows
                .iter()
                .filter(|row| row.data.windows(LEN).any(|window| window == string))
                .map(|row| (row.flow_id, &row.direction))
                .collect();
            let is_cut = at / 65_536 != (at + LEN - 1) / 65_536;
            let wanted = if is_cut {
                vec![]
            } else {
                vec![(*flow_id, direction)]
            };
            assert_eq!(found, wanted, "{flow_id} {direction} {at}");
            looked_for += 1;
        }
    }
    assert!(looked_for > 300);
}

/// An elephant with a hole near its beginning: what lies behind it does not wait for ever, and the
/// digest is that of the file all the same. A segment that fills the hole very late is in the file
/// and in its digest; without the file there is no digest, and the manifest says so.
#[test]
fn a_hole_that_is_filled_very_late_costs_at_most_the_digest() {
    use support::capture_file::{CaptureWriter, Format};
    use support::wire::{Link, TcpPacket, frame};
    let base = tempfile::tempdir().unwrap();
    for filled in [false, true] {
        let capture = base.path().join("in.pcap");
        let format = Format::Pcap {
            big_endian: false,
            nanos: false,
        };
        let file = fs::File::create(&capture).unwrap();
        let mut writer = CaptureWriter::new(file, format, 262_144).unwrap();
        let mut bytes = Vec::new();
        let mut send = |seq: u32, flags: u8, payload: &[u8]| {
            let packet = TcpPacket {
                src: "192.0.2.1:1000".parse().unwrap(),
                dst: "192.0.2.2:80".parse().unwrap(),
                seq,
                ack: 0,
                flags,
                window: 65_535,
                options: &[],
                payload,
                ident: seq,
            };
            frame(&packet, Link::default(), &mut bytes);
            let time = 1_704_067_200_000_000_000 + u64::from(seq);
            writer.frame(time, &bytes, bytes.len()).unwrap();
        };
        send(0, 2, &[]);
        send(1, 0x10, b"ab");
        for index in 0..3000u32 {
            send(5 + 2 * index, 0x10, b"yz");
        }
        if filled {
            send(3, 0x10, b"cd");
        }
        writer.finish().unwrap();

        let digest = |form: &str| {
            let options = ["--payload", form, "--hash", "sha256"];
            let results = results(&capture, base.path(), &options).unwrap();
            let anomalies = &results.manifest["anomalies"];
            let unknown = anomalies["half_streams_without_digest"].as_u64().unwrap();
            (results.flows[0].text("c2s_sha256"), unknown)
        };
        let hole = if filled { b"cd" } else { b"\0\0" };
        let wanted = sha256(&[b"ab", &hole[..], &b"yz".repeat(3000)].concat());
        assert_eq!(digest("files"), (Some(wanted.clone()), 0));
        let without_file = if filled { (None, 1) } else { (Some(wanted), 0) };
        assert_eq!(digest("none"), without_file);
        assert_eq!(digest("parquet"), without_file);
    }
}
