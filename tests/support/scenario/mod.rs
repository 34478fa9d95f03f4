//! Scenarios as data: segments in; streams, gaps, end reasons and counters out.
//!
//! They stand in `tests/scenarios/*.toml`; `line` and `pieces` describe their two small languages.

pub mod line;
pub mod pieces;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use super::capture_file::{CaptureWriter, Format};
use super::output::Results;
use super::wire::{self, Link, TcpPacket};
use line::Segment;

/// Every scenario runs with each of these as the client's ISN; the server's is 7 higher. All but
/// the first make sequence numbers wrap.
pub const BASE_ISNS: [u32; 4] = [0, 1, u32::MAX, u32::MAX - 10];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    scenario: Vec<Written>,
}

/// A scenario as it stands in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    about: String,
    segments: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    self_connected: bool,
    #[serde(default)]
    ipv6: bool,
    flows: Vec<Expected>,
}

/// What a flow must come out as. What is not given is not compared, unless it says otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Number of its first frame.
    pub id: Option<i64>,
    /// `c` or `s`: which end is the client; `c` if not given.
    pub client: Option<char>,
    /// Column `client_by`.
    pub client_by: Option<String>,
    /// The payload file, as pieces; empty if not given.
    #[serde(default)]
    pub c2s: String,
    /// The payload file, as pieces; empty if not given.
    #[serde(default)]
    pub s2c: String,
    /// `offset+length cause [elided]`; none if not given.
    #[serde(default)]
    pub c2s_gaps: Vec<String>,
    /// `offset+length cause [elided]`; none if not given.
    #[serde(default)]
    pub s2c_gaps: Vec<String>,
    /// Column `end_reason`.
    pub end_reason: Option<String>,
    /// Column `conn_state`.
    pub conn_state: Option<String>,
    /// Column `history`.
    pub history: Option<String>,
    /// Column `midstream`; false if not given.
    #[serde(default)]
    pub midstream: bool,
    /// Column `complete`.
    pub complete: Option<bool>,
    /// Any columns that hold numbers.
    #[serde(default)]
    pub count: BTreeMap<String, i64>,
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its file and name.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Captured segments.
    pub segments: Vec<Segment>,
    /// Further arguments for the program.
    pub args: Vec<String>,
    /// Both ends have one address and port.
    pub self_connected: bool,
    /// Over IPv6.
    pub ipv6: bool,
    /// The flows, by the number of their first frame.
    pub flows: Vec<Expected>,
}

impl Scenario {
    /// All scenarios, in the order of files and lines. Panics with the file and the mistake.
    pub fn load_all() -> Vec<Scenario> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .collect();
        files.sort();
        files.iter().flat_map(|path| Scenario::load(path)).collect()
    }

    fn load(path: &Path) -> Vec<Scenario> {
        let text = fs::read_to_string(path).unwrap();
        let file: ScenarioFile =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let resolve = |written: Written| {
            let name = format!("{stem}/{}", written.name);
            let segments = line::parse(&written.segments, written.self_connected)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            for expected in &written.flows {
                for text in [&expected.c2s, &expected.s2c] {
                    pieces::parse_text(text).unwrap_or_else(|e| panic!("{name}: {e}"));
                }
            }
            Scenario {
                name,
                about: written.about,
                segments,
                args: written.args,
                self_connected: written.self_connected,
                ipv6: written.ipv6,
                flows: written.flows,
            }
        };
        file.scenario.into_iter().map(resolve).collect()
    }

    /// The address and port of an end.
    pub fn end(&self, side: usize, pair: u16) -> SocketAddr {
        let text = match (self.ipv6, side == 0 || self.self_connected) {
            (false, true) => "192.0.2.1",
            (false, false) => "198.51.100.1",
            (true, true) => "2001:db8::1",
            (true, false) => "2001:db8::2",
        };
        let port = if side == 0 || self.self_connected {
            40_000 + pair
        } else {
            80
        };
        SocketAddr::new(text.parse().unwrap(), port)
    }

    /// The absolute number of a relative one: `base_isn` is the client's, the server's is 7 more.
    pub fn absolute(&self, base_isn: u32, side: usize, relative: i64) -> u32 {
        let base = if side == 0 || self.self_connected {
            base_isn
        } else {
            base_isn.wrapping_add(7)
        };
        (i64::from(base) + relative).rem_euclid(1 << 32) as u32
    }

    /// A capture of the scenario.
    pub fn to_pcap(&self, base_isn: u32) -> Vec<u8> {
        const START_NS: u64 = 1_700_000_000_000_000_000;
        let format = Format::Pcap {
            big_endian: false,
            nanos: true,
        };
        let mut writer = CaptureWriter::new(Vec::new(), format, 262_144).unwrap();
        let mut frame = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let other = if self.self_connected {
                segment.from
            } else {
                1 - segment.from
            };
            let mut options = wire::syn_options(segment.mss, segment.sack, segment.wscale);
            if segment.timestamp {
                options.extend_from_slice(&wire::timestamp_option(index as u32, 1));
            }
            let acks = segment.flags & 0x10 != 0;
            let ack = if acks {
                self.absolute(base_isn, other, segment.ack)
            } else {
                0
            };
            let packet = TcpPacket {
                src: self.end(segment.from, segment.pair),
                dst: self.end(1 - segment.from, segment.pair),
                seq: self.absolute(base_isn, segment.from, segment.seq),
                ack,
                flags: segment.flags,
                window: segment.window,
                options: &options,
                payload: &segment.data,
                ident: index as u32,
            };
            let time = START_NS + segment.time_ns;
            if let Some(size) = segment.fragment {
                for piece in wire::fragments(&packet, Link::default(), size) {
                    writer.frame(time, &piece, piece.len()).unwrap();
                }
                continue;
            }
            wire::frame(&packet, Link::default(), &mut frame);
            if segment.zero_ip_length {
                let at = if self.ipv6 { 18 } else { 16 };
                frame[at..at + 2].fill(0);
            }
            if segment.bad_checksum {
                let at = 14 + wire::ip_header_len(packet.src) + 16;
                frame[at] ^= 0x55;
            }
            wire::pad(&mut frame, segment.pad);
            let captured = segment.snap.unwrap_or(frame.len()).min(frame.len());
            writer.frame(time, &frame[..captured], frame.len()).unwrap();
        }
        writer.finish().unwrap()
    }

    /// What differs between the results and the expectations, one line each; none if all is well.
    pub fn differences(&self, results: &Results) -> Vec<String> {
        let mut report = Vec::new();
        if results.flows.len() != self.flows.len() {
            let ids: Vec<i64> = results.flows.iter().map(|row| row.int("flow_id")).collect();
            report.push(format!("{} flows expected, got {ids:?}", self.flows.len()));
            return report;
        }
        for (expected, row) in self.flows.iter().zip(&results.flows) {
            let before = report.len();
            self.compare(expected, row, results, &mut report);
            for line in &mut report[before..] {
                *line = format!("flow {}: {line}", row.int("flow_id"));
            }
        }
        report
    }

    fn compare(
        &self,
        expected: &Expected,
        row: &super::output::Row,
        results: &Results,
        report: &mut Vec<String>,
    ) {
        let mut differ = |column: &str, wanted: Option<String>, got: Option<String>| {
            if let Some(wanted) = wanted
                && got.as_ref() != Some(&wanted)
            {
                let got = got.unwrap_or_else(|| "null".to_owned());
                report.push(format!("{column} should be {wanted}, is {got}"));
            }
        };
        let text = |column: &str| row.text(column);
        let client = usize::from(expected.client == Some('s'));
        // Pairs differ by port alone, so the address tells the side.
        let client_ip = self.end(client, 1).ip().to_string();
        differ("client_ip", Some(client_ip), text("client_ip"));
        differ(
            "flow_id",
            expected.id.map(|id| id.to_string()),
            text("flow_id"),
        );
        differ("client_by", expected.client_by.clone(), text("client_by"));
        differ(
            "end_reason",
            expected.end_reason.clone(),
            text("end_reason"),
        );
        differ(
            "conn_state",
            expected.conn_state.clone(),
            text("conn_state"),
        );
        differ("history", expected.history.clone(), text("history"));
        differ(
            "midstream",
            Some(expected.midstream.to_string()),
            text("midstream"),
        );
        differ(
            "complete",
            expected.complete.map(|c| c.to_string()),
            text("complete"),
        );
        for (column, wanted) in &expected.count {
            let got = row.maybe_int(column).map(|v| v.to_string());
            differ(column, Some(wanted.to_string()), got);
        }
        let halves = [
            ("c2s", &expected.c2s, &expected.c2s_gaps),
            ("s2c", &expected.s2c, &expected.s2c_gaps),
        ];
        for (direction, pieces, gaps) in halves {
            let wanted = pieces::parse_text(pieces).unwrap();
            let got = results.payload(row, direction);
            if got != wanted.bytes {
                differ(direction, Some(show(&wanted.bytes)), Some(show(&got)));
            }
            let told: Vec<String> = results
                .gaps_of(row, direction)
                .iter()
                .map(|g| {
                    let elided = if g.elided { " elided" } else { "" };
                    format!("{}+{} {}{elided}", g.offset, g.length, g.cause)
                })
                .collect();
            let gap_column = format!("gaps of {direction}");
            differ(
                &gap_column,
                Some(format!("{gaps:?}")),
                Some(format!("{told:?}")),
            );
            let stream = wanted.bytes.len() as u64 - wanted.missing;
            let column = format!("{direction}_stream_bytes");
            differ(&column, Some(stream.to_string()), text(&column));
        }
    }
}

/// Bytes for a report: as text, cut in the middle.
fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() <= 160 {
        return format!("{} bytes \"{text}\"", bytes.len());
    }
    format!(
        "{} bytes \"{}…{}\"",
        bytes.len(),
        &text[..80],
        &text[text.len() - 60..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_written_correctly() {
        let all = Scenario::load_all();
        assert!(all.len() >= 45, "only {} scenarios", all.len());
        for scenario in &all {
            assert!(
                !scenario.about.is_empty(),
                "{} does not say what it shows",
                scenario.name
            );
            for expected in &scenario.flows {
                for gap in expected.c2s_gaps.iter().chain(&expected.s2c_gaps) {
                    assert!(gap_is_well_formed(gap), "{}: gap {gap}", scenario.name);
                }
            }
            for base in BASE_ISNS {
                assert!(
                    scenario.to_pcap(base).len() > 24,
                    "{} is empty",
                    scenario.name
                );
            }
        }
        let mut names: Vec<_> = all.iter().map(|s| &s.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len(), "two scenarios have one name");
    }

    fn gap_is_well_formed(gap: &str) -> bool {
        let mut words = gap.split(' ');
        let range = words.next().and_then(|range| range.split_once('+'));
        let range = range.is_some_and(|r| r.0.parse::<u64>().is_ok() && r.1.parse::<u64>().is_ok());
        let causes = [
            "lost",
            "truncated",
            "limit",
            "not_captured_at_start",
            "not_captured_at_end",
        ];
        let cause = words.next().is_some_and(|cause| causes.contains(&cause));
        range && cause && matches!(words.next(), None | Some("elided"))
    }
}
