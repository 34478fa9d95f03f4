//! Runs the program and reads what it wrote.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// How a run of the program ended.
#[derive(Debug)]
pub struct Output {
    /// Exit status; `None` after a signal.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the program with these arguments. Colours and bars are off since nothing is a terminal. What it
/// writes is not waited for on the device: that takes long with thousands of runs, and shows in no file.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    // Set for integration tests alone, and the two test programs share this module.
    const PROGRAM: Option<&str> = option_env!("CARGO_BIN_EXE_bulkreasm");
    let program = PROGRAM.expect("only tests know the program");
    let mut args: Vec<OsString> = args
        .into_iter()
        .map(|arg| arg.as_ref().to_owned())
        .collect();
    if args.iter().any(|arg| arg == "--out") {
        args.push("--no-sync".into());
    }
    let output = Command::new(program)
        .args(args)
        .output()
        .expect("the program starts");
    Output {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// One row of a table, by column name.
#[derive(Clone, PartialEq, Debug)]
pub struct Row(BTreeMap<String, Field>);

impl Row {
    /// The value as text, whatever its type; `None` where it is null. Panics on an unknown column.
    pub fn text(&self, column: &str) -> Option<String> {
        match self.field(column) {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// An integer of any width; `None` where it is null.
    pub fn maybe_int(&self, column: &str) -> Option<i64> {
        Some(match self.field(column) {
            Field::Null => return None,
            Field::Bool(v) => i64::from(*v),
            Field::Byte(v) => i64::from(*v),
            Field::Short(v) => i64::from(*v),
            Field::Int(v) => i64::from(*v),
            Field::Long(v) | Field::TimestampMicros(v) | Field::TimestampMillis(v) => *v,
            Field::UByte(v) => i64::from(*v),
            Field::UShort(v) => i64::from(*v),
            Field::UInt(v) => i64::from(*v),
            Field::ULong(v) => i64::try_from(*v).expect("counters fit in an i64"),
            other => panic!("column {column} holds {other:?}, not a number"),
        })
    }

    /// An integer that is never null.
    pub fn int(&self, column: &str) -> i64 {
        self.maybe_int(column)
            .unwrap_or_else(|| panic!("column {column} is null"))
    }

    /// A boolean that is never null.
    pub fn bool(&self, column: &str) -> bool {
        match self.field(column) {
            Field::Bool(value) => *value,
            other => panic!("column {column} holds {other:?}, not a boolean"),
        }
    }

    /// The row without a column.
    pub fn without(mut self, column: &str) -> Row {
        self.0.remove(column);
        self
    }

    /// Bytes that are never null.
    pub fn bytes(&self, column: &str) -> &[u8] {
        match self.field(column) {
            Field::Bytes(bytes) => bytes.data(),
            other => panic!("column {column} holds {other:?}, not bytes"),
        }
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn field(&self, column: &str) -> &Field {
        self.0.get(column).unwrap_or_else(|| {
            let known: Vec<&str> = self.columns().collect();
            panic!("no column {column} among {known:?}")
        })
    }
}

/// Reads a whole Parquet table.
pub fn read_table(path: &Path) -> Result<Vec<Row>, String> {
    let explain = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let file = File::open(path).map_err(|e| explain(&e))?;
    let reader = SerializedFileReader::new(file).map_err(|e| explain(&e))?;
    let rows = reader.get_row_iter(None).map_err(|e| explain(&e))?;
    rows.map(|row| {
        let row = row.map_err(|e| explain(&e))?;
        Ok(Row(row
            .get_column_iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()))
    })
    .collect()
}

/// A gap, as its row tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRow {
    /// The flow.
    pub flow_id: i64,
    /// `c2s` or `s2c`.
    pub direction: String,
    /// First missing stream offset.
    pub offset: i64,
    /// Missing bytes.
    pub length: i64,
    /// Why.
    pub cause: String,
    /// Closed up in the file.
    pub elided: bool,
}

/// A row of the payload table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadRow {
    /// The part it stands in, relative to the output directory.
    pub part: String,
    /// The flow.
    pub flow_id: i64,
    /// `c2s` or `s2c`.
    pub direction: String,
    /// Stream offset of the first byte.
    pub offset: i64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Everything in an output directory but the payload, which is read when asked for.
#[derive(Debug)]
pub struct Results {
    directory: PathBuf,
    /// `flows.parquet`, sorted by `flow_id`.
    pub flows: Vec<Row>,
    /// `gaps.parquet`, in its own order.
    pub gaps: Vec<GapRow>,
    /// `manifest.json`.
    pub manifest: serde_json::Value,
}

impl Results {
    /// Reads an output directory.
    pub fn read(directory: &Path) -> Result<Results, String> {
        let manifest = directory.join("manifest.json");
        let text = fs::read(&manifest).map_err(|e| format!("{}: {e}", manifest.display()))?;
        let manifest =
            serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", manifest.display()))?;
        let mut flows = read_table(&directory.join("flows.parquet"))?;
        flows.sort_by_key(|row| row.int("flow_id"));
        let gaps = read_table(&directory.join("gaps.parquet"))?
            .iter()
            .map(|row| GapRow {
                flow_id: row.int("flow_id"),
                direction: row.text("direction").expect("a gap has a direction"),
                offset: row.int("stream_offset"),
                length: row.int("length"),
                cause: row.text("cause").expect("a gap has a cause"),
                elided: row.bool("elided"),
            })
            .collect();
        Ok(Results {
            directory: directory.to_owned(),
            flows,
            gaps,
            manifest,
        })
    }

    /// The payload file of a direction; empty where there is none.
    pub fn payload(&self, flow: &Row, direction: &str) -> Vec<u8> {
        let Some(path) = flow.text(&format!("{direction}_path")) else {
            return Vec::new();
        };
        let path = self.directory.join(path);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The rows of all payload parts that the manifest names, in their order.
    pub fn payload_rows(&self) -> Result<Vec<PayloadRow>, String> {
        let outputs = self.manifest["outputs"].as_object().expect("outputs");
        let mut all = Vec::new();
        for part in outputs.keys().filter(|name| name.starts_with("payload/")) {
            for row in read_table(&self.directory.join(part))? {
                all.push(PayloadRow {
                    part: part.clone(),
                    flow_id: row.int("flow_id"),
                    direction: row.text("direction").expect("a row has a direction"),
                    offset: row.int("stream_offset"),
                    data: row.bytes("data").to_vec(),
                });
            }
        }
        Ok(all)
    }

    /// The gaps of a direction of a flow, in order of offset.
    pub fn gaps_of(&self, flow: &Row, direction: &str) -> Vec<&GapRow> {
        let id = flow.int("flow_id");
        let mut gaps: Vec<&GapRow> = self
            .gaps
            .iter()
            .filter(|g| g.flow_id == id && g.direction == direction)
            .collect();
        gaps.sort_by_key(|g| g.offset);
        gaps
    }
}

/// Runs the program on a capture and reads the results; the answer to a failure says what the
/// program said.
pub fn reassemble(capture: &Path, out: &Path, args: &[String]) -> Result<Results, String> {
    let mut all = vec![capture.as_os_str(), OsStr::new("--out"), out.as_os_str()];
    all.extend(args.iter().map(OsStr::new));
    let output = run(all);
    if output.status != Some(0) {
        return Err(format!(
            "exit status {:?}, it said: {}",
            output.status,
            output.stderr.trim()
        ));
    }
    Results::read(out)
}

/// The arguments by which the work is divided: threads, bytes per batch, bytes per chunk.
pub fn division<'a>(threads: &'a str, batch: &'a str, chunk: &'a str) -> [&'a str; 6] {
    [
        "-j",
        threads,
        "--batch-bytes",
        batch,
        "--chunk-bytes",
        chunk,
    ]
}

/// All files below a directory, by their path relative to it.
pub fn files_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(root: &Path, directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    collect(directory, directory, &mut all);
    all
}
