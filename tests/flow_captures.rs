//! `--pcaps`: a capture of each flow, whose frames are those of the input, as they were.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkreasm::capture::{Input, Walker};
use bulkreasm::model::TimeUnit;
use support::capture_file::{block, packet_block};
use support::captures;
use support::generator::config::{Config, Profile};
use support::generator::generate;
use support::output::{Results, Row, files_below, reassemble, run};
use support::wire::data_packet as tcp;

/// What a capture says of a frame: time, its unit, link type, check sequence, length, bytes.
type Frame = (Option<i64>, TimeUnit, u16, u8, u32, Vec<u8>);

fn frames(path: &Path) -> Vec<Frame> {
    let input = Input::open(path, 0, false).unwrap();
    let mut all = Vec::new();
    let window = input
        .window(input.start().offset(), 1, input.len())
        .unwrap();
    let mut walker = Walker::new(&window, input.start(), u64::MAX);
    for frame in walker.by_ref() {
        all.push((
            frame.ts.ns(),
            frame.unit,
            frame.link.0,
            frame.fcs_len,
            frame.original_len,
            frame.data.to_vec(),
        ));
    }
    all
}

/// The captures of an output directory, by flow.
fn flow_captures(out: &Path) -> BTreeMap<u64, PathBuf> {
    let mut all = BTreeMap::new();
    for name in files_below(out).into_keys() {
        if !name.starts_with("pcaps") {
            continue;
        }
        let text = name.to_str().unwrap();
        let (directory, file) = text["pcaps/".len()..].split_once('/').unwrap();
        let (id, form) = file.split_once('.').unwrap();
        let id: u64 = id.parse().unwrap();
        assert!(form == "pcap" || form == "pcapng", "{text}");
        assert_eq!(directory, format!("{:05}", id / 10_000));
        let earlier = all.insert(id, out.join(&name));
        assert_eq!(earlier, None, "{text} is not the flow's only capture");
    }
    all
}

/// Whether the program can read the capture, damaged or not.
fn extract(capture: &Path, out: &Path, args: &[&str]) -> Option<Results> {
    let mut all = vec![capture.to_str().unwrap(), "--out", out.to_str().unwrap()];
    all.extend(["-q", "--pcaps"]);
    all.extend(args);
    match run(all).status {
        Some(0 | 3) => Some(Results::read(out).unwrap()),
        _ => None,
    }
}

fn packets(row: &Row) -> i64 {
    row.int("c2s_packets") + row.int("s2c_packets")
}

/// Compares with the input; says what is wrong.
fn check_frames(capture: &Path, out: &Path, results: &Results) -> Result<(), String> {
    let fail = |what: String| Err(format!("{}: {what}", capture.display()));
    let input = frames(capture);
    let mut unclaimed: HashMap<&Frame, usize> = HashMap::new();
    for frame in &input {
        *unclaimed.entry(frame).or_default() += 1;
    }
    let captures = flow_captures(out);
    let totals = &results.manifest["outputs"]["pcaps/"];
    let bytes: u64 = captures
        .values()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(totals["files"], captures.len());
    assert_eq!(totals["bytes"], bytes, "{}", capture.display());
    let counts = &results.manifest["frames"];
    // Of fragments and aggregates there is no such simple relation of frames and segments.
    let is_simple = counts["fragments"] == 0
        && results.manifest["anomalies"]["ip_fragments_overlapping"] == 0
        && results.flows.iter().map(packets).sum::<i64>() == counts["tcp"];
    let mut written = 0;
    for row in &results.flows {
        let id = u64::try_from(row.int("flow_id")).unwrap();
        let Some(path) = captures.get(&id) else {
            return fail(format!("no capture of flow {id}"));
        };
        let own = frames(path);
        if is_simple && own.len() as u64 != u64::try_from(packets(row)).unwrap() {
            return fail(format!("flow {id}: {} frames", own.len()));
        }
        for frame in &own {
            // What has no time cannot say so in either format.
            let untimed = (None, frame.1, frame.2, frame.3, frame.4, frame.5.clone());
            let found = [frame, &untimed]
                .into_iter()
                .find(|frame| unclaimed.get(*frame).is_some_and(|left| *left > 0));
            let Some(found) = found else {
                return fail(format!(
                    "flow {id}: a frame that is not in the input, or no more"
                ));
            };
            *unclaimed.get_mut(found).unwrap() -= 1;
        }
        written += own.len();
    }
    if captures.len() != results.flows.len() {
        return fail(format!("{} captures", captures.len()));
    }
    if is_simple && counts["tcp"] != written {
        return fail(format!("{written} frames of {}", counts["tcp"]));
    }
    Ok(())
}

#[test]
fn every_tcp_frame_is_in_the_capture_of_its_flow_once_and_verbatim() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for (number, capture) in captures::all().iter().enumerate() {
        let out = scratch.path().join(number.to_string());
        if let Some(results) = extract(capture, &out, &["--payload", "none"]) {
            seen += 1;
            wrong.extend(check_frames(capture, &out, &results).err());
        }
        let _ = fs::remove_dir_all(out);
    }
    assert!(seen >= 10, "{seen} captures");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Flows of one capture that are run again.
const AGAIN: usize = 20;

#[test]
fn a_flow_comes_out_of_its_own_capture_as_it_did_of_the_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let (mut again, mut out_of_order) = (0, 0);
    for (number, capture) in captures::all().iter().enumerate() {
        let out = scratch.path().join(number.to_string());
        let Some(whole) = extract(capture, &out, &[]) else {
            continue;
        };
        let captures = flow_captures(&out);
        let input = frames(capture);
        for row in whole.flows.iter().take(AGAIN) {
            let id = u64::try_from(row.int("flow_id")).unwrap();
            if !keep_their_order(&frames(&captures[&id]), &input) {
                out_of_order += 1;
                continue;
            }
            let alone = out.join("again").join(id.to_string());
            let got = reassemble(&captures[&id], &alone, &[]);
            let how = format!("{}: flow {id}", capture.display());
            match got {
                Ok(got) => wrong.extend(
                    compare(&whole, row, &got)
                        .err()
                        .map(|e| format!("{how}: {e}")),
                ),
                Err(error) => wrong.push(format!("{how}: {error}")),
            }
            again += 1;
        }
        let _ = fs::remove_dir_all(out);
    }
    // A SYN that waits to be answered is told to its flow late, and fragments with the last one.
    assert!(
        again > 50 && out_of_order * 50 < again,
        "{again} flows, {out_of_order} others"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether frames follow each other as they do in the input.
fn keep_their_order(own: &[Frame], input: &[Frame]) -> bool {
    let mut rest = input.iter();
    own.iter().all(|frame| rest.any(|other| other == frame))
}

fn compare(whole: &Results, row: &Row, got: &Results) -> Result<(), String> {
    let [alone] = &got.flows[..] else {
        return Err(format!("{} flows", got.flows.len()));
    };
    for column in [
        "client_ip",
        "client_port",
        "conn_state",
        "first_ts_ns",
        "c2s_packets",
        "s2c_packets",
        "c2s_stream_bytes",
        "s2c_stream_bytes",
        "c2s_stream_span",
        "s2c_stream_span",
    ] {
        let (a, b) = (row.text(column), alone.text(column));
        if a != b {
            return Err(format!("{column} was {a:?} and is {b:?}"));
        }
    }
    for direction in ["c2s", "s2c"] {
        if whole.payload(row, direction) != got.payload(alone, direction) {
            return Err(format!("{direction}: other bytes"));
        }
    }
    Ok(())
}

fn interface(link: u8, options: &[u8]) -> Vec<u8> {
    block(
        1,
        &[&[link, 0, 0, 0, 0, 0, 0, 0], options, &[0; 4]].concat(),
        None,
    )
}

fn packet(interface: u32, units: u64, data: &[u8]) -> Vec<u8> {
    packet_block(interface, units, None, data)
}

/// Two interfaces of raw IP, one of microseconds and one of nanoseconds, and a third before 1970; one
/// flow is seen at both of the first two, one at the second only, and one before 1970.
fn several_interfaces() -> Vec<u8> {
    let second = 1_000_000_000;
    let before_1970 = [
        &[9, 0, 1, 0, 9, 0, 0, 0, 14, 0, 8, 0][..],
        &(-100i64).to_le_bytes(),
    ]
    .concat();
    let mut all = block(
        0x0a0d_0d0a,
        &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat(),
        None,
    );
    all.extend(interface(101, &[]));
    all.extend(interface(101, &[9, 0, 1, 0, 9, 0, 0, 0]));
    all.extend(interface(101, &before_1970));
    for i in 0..40 {
        let seq = u32::try_from(i * 7).unwrap();
        all.extend(packet(0, i * 1_000_000, &tcp(1000, 2 * seq, b"micro..")));
        if i > 20 {
            all.extend(packet(
                1,
                i * second + 1,
                &tcp(1000, 2 * seq + 7, b"nano..."),
            ));
        }
        all.extend(packet(1, i * second + 2, &tcp(2000, seq, b"onlynan")));
        all.extend(packet(2, i * second + 3, &tcp(3000, seq, b"earlier")));
    }
    all
}

#[test]
fn a_flow_of_several_interfaces_gets_a_pcapng() {
    let scratch = tempfile::tempdir().unwrap();
    let capture = scratch.path().join("several.pcapng");
    fs::write(&capture, several_interfaces()).unwrap();
    let mut first = None;
    for (number, division) in [["64M", "4M"], ["1000", "300"], ["1", "1"]]
        .iter()
        .enumerate()
    {
        let out = scratch.path().join(number.to_string());
        let args = ["--batch-bytes", division[0], "--chunk-bytes", division[1]];
        let results = extract(&capture, &out, &args).unwrap();
        check_frames(&capture, &out, &results).unwrap();
        let forms: Vec<String> = flow_captures(&out)
            .values()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(forms, ["1.pcapng", "2.pcap", "3.pcapng"]);
        let mut files = files_below(&out);
        files.remove(Path::new("manifest.json"));
        assert!(
            *first.get_or_insert_with(|| files.clone()) == files,
            "{division:?}"
        );
    }
}

#[test]
fn few_descriptors_are_enough_and_an_earlier_run_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let capture = scratch.path().join("small.pcap");
    let file = fs::File::create(&capture).unwrap();
    let config = Config {
        flows: 500,
        bytes: 2_000_000,
        concurrent: 500,
        ..Config::of(Profile::Impaired)
    };
    generate(&config, std::io::BufWriter::new(file), |_| Ok(())).unwrap();
    let out = scratch.path().join("out");
    let results = extract(&capture, &out, &[]).unwrap();
    check_frames(&capture, &out, &results).unwrap();
    let plain = files_below(&out);

    let again = scratch.path().join("again");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64 && exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_bulkreasm"),
    ]);
    command.arg(&capture).arg("--out").arg(&again);
    command.args(["-q", "-j", "4", "--pcaps", "--batch-bytes", "50000"]);
    assert!(command.status().unwrap().success());
    let few = files_below(&again);
    assert!(few.keys().eq(plain.keys()));
    for (name, bytes) in &plain {
        assert!(
            name.ends_with("manifest.json") || few[name] == *bytes,
            "{}",
            name.display()
        );
    }

    let stray = out.join("pcaps/00000/notes.txt");
    fs::write(&stray, "mine").unwrap();
    run([
        capture.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
        "--force".as_ref(),
    ]);
    let left: Vec<PathBuf> = files_below(&out.join("pcaps")).into_keys().collect();
    assert_eq!(left, [Path::new("00000/notes.txt")]);
}
