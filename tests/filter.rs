//! `--filter` through the whole program: which flows stay, what is counted, what is said.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::captures;
use support::output::{Output, Results, Row, run};

/// A flow's row, its payload and its gaps.
#[derive(Clone)]
struct Flow {
    row: Row,
    streams: [Vec<u8>; 2],
    gaps: String,
}

impl PartialEq for Flow {
    fn eq(&self, other: &Flow) -> bool {
        format!("{:?}", self.row) == format!("{:?}", other.row)
            && self.streams == other.streams
            && self.gaps == other.gaps
    }
}

/// What came of a run.
struct Outcome {
    output: Output,
    flows: BTreeMap<i64, Flow>,
    manifest: Value,
}

impl Outcome {
    fn of(capture: &Path, filter: Option<&str>) -> Outcome {
        Outcome::maybe(capture, filter).unwrap_or_else(|output| panic!("{filter:?}: {output:?}"))
    }

    /// The output alone where the program could not do its work.
    fn maybe(capture: &Path, filter: Option<&str>) -> Result<Outcome, Output> {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        let mut args = vec![capture.to_str().unwrap(), "--out", out.to_str().unwrap()];
        args.extend(filter.iter().flat_map(|filter| ["--filter", filter]));
        let output = run(args);
        if !matches!(output.status, Some(0 | 3)) {
            return Err(output);
        }
        let results = Results::read(&out).unwrap();
        let flow = |row: &Row| Flow {
            row: row.clone(),
            streams: ["c2s", "s2c"].map(|direction| results.payload(row, direction)),
            gaps: format!("{:?}", ["c2s", "s2c"].map(|d| results.gaps_of(row, d))),
        };
        let flows = results
            .flows
            .iter()
            .map(|row| (row.int("flow_id"), flow(row)));
        Ok(Outcome {
            output,
            flows: flows.collect(),
            manifest: results.manifest.clone(),
        })
    }

    fn frames(&self, what: &str) -> u64 {
        self.manifest["frames"][what].as_u64().unwrap()
    }

    fn ids(&self) -> Vec<i64> {
        self.flows.keys().copied().collect()
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data")
        .join(name)
}

/// Exactly these flows stay, and each is what it is without a filter.
fn keeps(whole: &Outcome, capture: &Path, filter: &str, wanted: impl Fn(&Row) -> bool) {
    let kept = Outcome::of(capture, Some(filter));
    let mut expected = whole.flows.clone();
    expected.retain(|_, flow| wanted(&flow.row));
    let name = capture.display();
    assert_eq!(
        kept.ids(),
        expected.keys().copied().collect::<Vec<_>>(),
        "{name}: {filter}"
    );
    for (id, flow) in &expected {
        assert!(
            kept.flows[id] == *flow,
            "{name}: {filter}: flow {id} differs"
        );
    }
    let packets = |row: &Row| row.int("c2s_packets") + row.int("s2c_packets");
    let packets: i64 = expected.values().map(|flow| packets(&flow.row)).sum();
    assert_eq!(
        kept.frames("tcp"),
        packets.unsigned_abs(),
        "{name}: {filter}"
    );
    for other in ["total", "fragments"] {
        assert_eq!(kept.frames(other), whole.frames(other), "{name}: {filter}");
    }
    assert_eq!(
        kept.frames("tcp") + kept.frames("filtered"),
        whole.frames("tcp")
    );
    assert_eq!(kept.manifest["config"]["filter"], json!(filter));
}

#[test]
fn exactly_the_flows_that_match_stay_in_both_directions() {
    let mut others = 0;
    for capture in captures::own() {
        let whole = Outcome::of(&capture, None);
        assert_eq!(whole.frames("filtered"), 0);
        assert_eq!(whole.manifest["config"]["filter"], Value::Null);
        let ends = |row: &Row, column: &str| {
            ["client", "server"].map(|end| row.text(&format!("{end}_{column}")).unwrap())
        };
        // The flow in the middle, so that there are others before and behind it.
        let middle = whole.flows.values().nth(whole.flows.len() / 2).unwrap();
        let [client, server] = ends(&middle.row, "ip");
        let [client_port, server_port] = ends(&middle.row, "port");
        others += whole.flows.len() - 1;

        let is_middle = |row: &Row| {
            ends(row, "ip").contains(&client) && ends(row, "port").contains(&client_port)
        };
        for filter in [
            format!("host {client} and tcp port {client_port}"),
            format!("src {client} && src port {client_port}"),
            format!("dst host {client} and dst port {client_port}"),
            format!("(src {server} and dst port {client_port}) and host {client}"),
        ] {
            keeps(&whole, &capture, &filter, is_middle);
        }
        keeps(&whole, &capture, &format!("not host {client}"), |row| {
            !ends(row, "ip").contains(&client)
        });
        keeps(
            &whole,
            &capture,
            &format!("port {server_port} or 1"),
            |row| ends(row, "port").contains(&server_port),
        );
        keeps(&whole, &capture, "ip6", |row| row.int("ip_version") == 6);
        keeps(&whole, &capture, "ip and not vlan", |row| {
            row.int("ip_version") == 4 && row.text("vlan").is_none()
        });
        keeps(&whole, &capture, "vlan 100 or vlan 101", |row| {
            ["vlan", "inner_vlan"]
                .iter()
                .any(|column| matches!(row.text(column).as_deref(), Some("100" | "101")))
        });
        keeps(&whole, &capture, " ", |_| true);
    }
    assert!(others > 50, "only {others} flows to leave out");
}

/// A filter and its opposite divide flows and frames between them.
#[test]
fn foreign_captures_are_divided_without_rest() {
    let Some(captures) = captures::foreign() else {
        return;
    };
    let mut divided = 0;
    for capture in captures {
        // Some are in formats that are not read, some hold no TCP.
        let Ok(whole) = Outcome::maybe(&capture, None) else {
            continue;
        };
        let Some(flow) = whole.flows.values().next() else {
            continue;
        };
        divided += 1;
        let filter = format!("host {}", flow.row.text("server_ip").unwrap());
        let matching = Outcome::of(&capture, Some(&filter));
        let rest = Outcome::of(&capture, Some(&format!("not ({filter})")));
        let mut both = matching.flows.clone();
        both.extend(rest.flows.clone());
        let name = capture.display();
        assert!(!matching.flows.is_empty(), "{name}: {filter}");
        assert_eq!(
            matching.flows.len() + rest.flows.len(),
            whole.flows.len(),
            "{name}"
        );
        assert!(both == whole.flows, "{name}: {filter}");
        // A frame of several segments counts as kept if one of them is.
        assert!(
            matching.frames("tcp") + rest.frames("tcp") >= whole.frames("tcp"),
            "{name}"
        );
    }
    assert!(divided > 0);
}

#[test]
fn segments_of_reassembled_datagrams_are_filtered_too() {
    let capture = data("generated/impaired.pcap");
    let whole = Outcome::of(&capture, None);
    assert!(whole.frames("fragments") > 0);
    let none = Outcome::of(&capture, Some("not tcp"));
    assert_eq!(none.flows.len(), 0);
    assert_eq!(
        (none.frames("tcp"), none.frames("filtered")),
        (0, whole.frames("tcp"))
    );
    assert_eq!(none.manifest["payload"]["captured"], 0);
    assert!(
        none.output
            .stderr
            .contains("the filter left out every TCP segment")
    );
}

#[test]
fn flags_choose_segments_and_a_warning_says_so() {
    let capture = data("real/many_short.pcap");
    let whole = Outcome::of(&capture, None);
    let syns = Outcome::of(&capture, Some("tcp[tcpflags] & tcp-syn != 0"));
    assert_eq!(syns.ids(), whole.ids());
    // A SYN and its answer for each flow.
    assert_eq!(syns.frames("tcp"), 2 * whole.flows.len() as u64);
    assert!(
        syns.flows
            .values()
            .all(|flow| flow.streams.iter().all(Vec::is_empty))
    );
    assert!(
        syns.output.stderr.contains("the filter tests flags"),
        "{:?}",
        syns.output
    );
    let table = syns.output.stdout.lines().next().unwrap();
    assert!(
        table.ends_with("256: 40 TCP, 216 filtered out, 0 other, 0 not decoded"),
        "{table}"
    );

    // Nothing was left out, so there is nothing to warn of.
    let all = Outcome::of(&capture, Some("tcp[13] != 0"));
    assert!(all.flows == whole.flows);
    assert_eq!(all.output.stderr, "");
}

#[test]
fn a_mistake_is_shown_and_ends_with_2() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    let capture = data("real/http_get.pcap");
    let output = run([
        capture.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "-f",
        "tcp port 80 and host example.com",
    ]);
    assert_eq!((output.status, output.stdout.as_str()), (Some(2), ""));
    let said: Vec<&str> = output.stderr.lines().collect();
    assert!(said[0].starts_with("error: invalid value"), "{output:?}");
    assert!(
        said[0].ends_with("host names are not looked up (character 22)"),
        "{output:?}"
    );
    assert_eq!(said[1], "  tcp port 80 and host example.com");
    assert_eq!(said[2], "                       ^^^^^^^^^^^");
    assert!(said[3].starts_with("supported: "), "{output:?}");
    assert!(output.stderr.contains("--help"), "{output:?}");
    assert!(!out.exists());
}
