//! `manifest.json`: what was read, by what rules, what came of it. Its presence means that the run
//! ended in order; `complete` says whether it saw all of the input.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SCHEMA_VERSION;
use super::accounting::{Accounting, Counts};
use super::directory::{MANIFEST_FILE, OutputDir};
use super::error::OutputError;
use super::file_cache::FileTotals;
use super::text::push_hex;
use crate::model::shown::json;

/// The manifest. Everything but `timings` is the same for the same input and configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `bulkreasm`.
    pub program: String,
    /// The program's version.
    pub version: String,
    /// Version of the tables and of this file.
    pub schema_version: u32,
    /// The whole input was read; false after an interruption.
    pub complete: bool,
    /// The configuration that decided the output.
    pub config: Value,
    /// What spread the flows over shards: a digest of the first frame, in hexadecimal.
    #[serde(default)]
    pub shard_seed: String,
    /// The input files, in the order in which they were read; `file_id` in the flow table counts from 0 here.
    pub inputs: Vec<InputFacts>,
    /// Files in the directories named that are no captures, or were inputs already; absent where
    /// there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub skipped_files: Vec<SkippedFile>,
    /// Where frames and bytes went.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// Facts about the traffic that no flow's row tells, by name.
    pub anomalies: Counts,
    /// Facts about the capture, by name: frames cut by the snap length, blocks skipped, …
    pub capture: Counts,
    /// Parts of the input that could not be read.
    pub damage: Damage,
    /// What was written, by file name relative to the output directory.
    pub outputs: BTreeMap<String, OutputFacts>,
    /// How long it took, on what: the only part that differs from run to run.
    pub timings: Timings,
}

impl Manifest {
    /// A manifest of this version of the program with nothing in it, not complete.
    pub fn new(config: Value) -> Manifest {
        Manifest {
            program: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: SCHEMA_VERSION,
            complete: false,
            config,
            shard_seed: String::new(),
            inputs: Vec::new(),
            skipped_files: Vec::new(),
            accounting: Accounting::new(),
            anomalies: Counts::new(),
            capture: Counts::new(),
            damage: Damage::default(),
            outputs: BTreeMap::new(),
            timings: Timings::default(),
        }
    }

    /// The manifest as JSON text, indented, with a newline at its end.
    pub fn to_json(&self) -> String {
        // Maps have text keys and numbers are finite or null, so there is nothing to refuse.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        json(&text).into_owned()
    }

    /// Writes the manifest. It is the last thing a run writes, and stands for all the rest.
    pub fn write(&self, dir: &OutputDir) -> Result<(), OutputError> {
        dir.publish(MANIFEST_FILE, self.to_json().as_bytes())
    }
}

/// A path as text, and its bytes in hexadecimal where they are no UTF-8.
pub fn path_as_text(path: &Path) -> (String, Option<String>) {
    let hex = path.to_str().is_none().then(|| {
        let mut hex = String::new();
        push_hex(&mut hex, path.as_os_str().as_bytes());
        hex
    });
    (path.to_string_lossy().into_owned(), hex)
}

/// One input file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InputFacts {
    /// The path as it was given; `-` is standard input.
    pub path: String,
    /// Its bytes in hexadecimal, where they are no UTF-8 and `path` shows some as U+FFFD; absent
    /// elsewhere.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// Bytes of the file, or bytes read of a stream.
    pub bytes: u64,
    /// How it is compressed; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compression: Option<String>,
    /// `pcap` or `pcapng`, with byte order and time resolution where they matter.
    pub format: String,
    /// Its link types, by number and name.
    pub link_types: Vec<String>,
    /// Frames in it.
    pub frames: u64,
    /// The number of its first frame, from 1 over the whole input; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_frame: Option<u64>,
    /// Least time of a frame, nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_ts_ns: Option<i64>,
    /// Greatest time of a frame, nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_ts_ns: Option<i64>,
}

/// A file that was not read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SkippedFile {
    /// Its path.
    pub path: String,
    /// Its bytes in hexadecimal, as in [`InputFacts::path_hex`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_hex: Option<String>,
    /// Why.
    pub reason: String,
}

/// Parts of the input that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Damage {
    /// Damaged regions.
    pub regions: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The first of them, in order.
    pub list: Vec<DamagedRegion>,
}

/// One region of an input that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DamagedRegion {
    /// Index of the input.
    pub file_id: u16,
    /// Offset of its first byte; in a compressed input, in what that holds.
    pub offset: u64,
    /// Its length; 0 where that cannot be known, since it was never decompressed.
    pub bytes: u64,
    /// The frame of its file that follows it, where one does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_frame: Option<u64>,
    /// What is wrong there.
    pub reason: String,
}

/// One output file, or all files together under `streams/` or `pcaps/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OutputFacts {
    /// Rows of a table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// Files, where there are several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub files: Option<u64>,
    /// Bytes written; holes are not in it.
    pub bytes: u64,
}

impl From<super::TableSummary> for OutputFacts {
    fn from(table: super::TableSummary) -> OutputFacts {
        OutputFacts {
            rows: Some(table.rows),
            files: None,
            bytes: table.bytes,
        }
    }
}

impl From<FileTotals> for OutputFacts {
    fn from(files: FileTotals) -> OutputFacts {
        OutputFacts {
            rows: None,
            files: Some(files.files),
            bytes: files.bytes,
        }
    }
}

/// How long the run took, on what.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Seconds from start to manifest.
    pub wall_seconds: f64,
    /// Input bytes per second of it.
    pub input_bytes_per_second: f64,
    /// Worker threads.
    pub threads: u64,
    /// Greatest resident set of the process, bytes; the mapped input counts as far as it was
    /// resident. Absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_rss_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::new(json!({"max_gap": 16, "gaps": "zero"}));
        manifest.complete = true;
        manifest.inputs.push(InputFacts {
            path: "a.pcap".to_owned(),
            first_ts_ns: Some(-5),
            ..InputFacts::default()
        });
        manifest.outputs.insert(
            "flows.parquet".to_owned(),
            super::super::TableSummary { rows: 3, bytes: 9 }.into(),
        );
        manifest
    }

    #[test]
    fn keys_are_in_a_fixed_order() {
        let text = manifest().to_json();
        let top: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("  \"")?.split('"').next())
            .collect();
        assert_eq!(
            top,
            [
                "program",
                "version",
                "schema_version",
                "complete",
                "config",
                "shard_seed",
                "inputs",
                "frames",
                "payload",
                "flows",
                "gaps",
                "conflicts",
                "fragment_conflicts",
                "anomalies",
                "capture",
                "damage",
                "outputs",
                "timings"
            ]
        );
        assert!(text.ends_with("}\n"));
        assert_eq!(text, manifest().to_json());
    }

    #[test]
    fn reads_back_as_written_and_appears_whole() {
        let base = tempfile::tempdir().unwrap();
        let dir = OutputDir::create(base.path(), false).unwrap();
        manifest().write(&dir).unwrap();
        manifest().write(&dir).unwrap();
        let names: Vec<_> = std::fs::read_dir(base.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [MANIFEST_FILE]);
        let text = std::fs::read_to_string(base.path().join(MANIFEST_FILE)).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest());
    }
}
