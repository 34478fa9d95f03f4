//! Reassembles traffic of real stacks and programs, and compares with the files that were sent.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a panic is how a test speaks, and lengths of small captures fit anywhere"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use support::output::{Results, Row, reassemble};
use support::truth::sha256;

/// A file that was sent, as `data/real/manifest.json` tells.
#[derive(Debug, Deserialize)]
struct Sent {
    method: String,
    url: String,
    sha256: String,
    length: usize,
    direction: String,
    /// False where the tap itself missed or cut packets.
    complete: bool,
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// The body of the first HTTP message in a stream, by its Content-Length.
fn body(stream: &[u8]) -> Result<&[u8], String> {
    let head = find(stream, b"\r\n\r\n").ok_or("no end of the HTTP header")?;
    let header = String::from_utf8_lossy(&stream[..head]);
    let length: usize = header
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .ok_or("no Content-Length")?;
    let body = &stream[head + 4..];
    if body.len() < length {
        return Err(format!("{} of {length} body bytes", body.len()));
    }
    Ok(&body[..length])
}

/// The flow whose request is this one.
fn flow_of<'a>(results: &'a Results, sent: &Sent) -> Result<&'a Row, String> {
    let request = format!("{} {} HTTP/1.", sent.method, sent.url);
    results
        .flows
        .iter()
        .find(|row| results.payload(row, "c2s").starts_with(request.as_bytes()))
        .ok_or_else(|| format!("no flow begins with {request}"))
}

fn compare(results: &Results, sent: &Sent) -> Result<(), String> {
    let row = flow_of(results, sent)?;
    let stream = results.payload(row, &sent.direction);
    let gaps = results.gaps_of(row, &sent.direction);
    if sent.complete {
        let body = body(&stream)?;
        if body.len() != sent.length || sha256(body) != sent.sha256 {
            return Err(format!("the body of {} bytes is another one", body.len()));
        }
        if !gaps.is_empty() {
            return Err(format!("gaps where nothing is missing: {gaps:?}"));
        }
        let conflict = row.int("c2s_conflict_bytes") + row.int("s2c_conflict_bytes");
        let end = row.text("end_reason").unwrap_or_default();
        if conflict != 0 || end != "fin" {
            return Err(format!("{conflict} conflicting bytes, ended by {end}"));
        }
        return Ok(());
    }
    // Everything that is not missing must be in its place: the sum of what is there and what is
    // missing is the whole message.
    if gaps.is_empty() {
        return Err("no gap where the tap missed packets".to_owned());
    }
    let direction = &sent.direction;
    let there = row.int(&format!("{direction}_stream_bytes"));
    let missing: i64 = gaps.iter().map(|g| g.length).sum();
    let span = row.int(&format!("{direction}_stream_span"));
    if there + missing != span || span <= i64::try_from(sent.length).unwrap() {
        return Err(format!(
            "{there} bytes there, {missing} missing, {span} in all"
        ));
    }
    Ok(())
}

#[test]
fn files_come_out_as_they_were_sent() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/real");
    let manifest = fs::read_to_string(directory.join("manifest.json")).unwrap();
    let manifest: BTreeMap<String, Vec<Sent>> = serde_json::from_str(&manifest).unwrap();
    assert!(!manifest.is_empty());
    let scratch = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for (capture, files) in &manifest {
        let out = scratch.path().join(capture);
        let results = match reassemble(&directory.join(capture), &out, &[]) {
            Ok(results) => results,
            Err(error) => {
                failures.push(format!("{capture}: {error}"));
                continue;
            }
        };
        if results.flows.len() != files.len() {
            let (got, wanted) = (results.flows.len(), files.len());
            failures.push(format!("{capture}: {got} flows, {wanted} were made"));
        }
        for sent in files {
            if let Err(error) = compare(&results, sent) {
                failures.push(format!("{capture}: {} {}: {error}", sent.method, sent.url));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn bodies_are_found_by_their_length() {
    let stream = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd";
    assert_eq!(body(stream), Ok(&b"abc"[..]));
    assert!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").is_err());
    assert!(body(b"HTTP/1.1 200 OK\r\n").is_err());
}
