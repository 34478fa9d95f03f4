//! What becomes of one shard's payload: digests, the minimum, and whoever writes it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::AddAssign;
use std::sync::Arc;

use hashbrown::HashMap;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::descriptors::DescriptorBudget;
use super::digests::{Digest, Digester, Outcome, WaitLimits};
use super::directory::OutputDir;
use super::error::OutputError;
use super::flow_table::FlowRow;
use super::minimum::{HELD_MEMORY, Minimum};
use super::parquet_table::{FooterFacts, TableSummary};
use super::payload_files::PayloadWriter;
use super::payload_part::PartWriter;
use super::payload_rows::{RowCutter, RowLimits};
use super::stream_path::stream_path;
use crate::config::{PayloadConfig, PayloadMode};
use crate::model::{Direction, FlowRecord, Payload, PayloadSource};
use crate::reassembly::event::{FlowName, StreamData};

/// A half-stream: flow id and direction.
pub(super) type HalfKey = (u64, Direction);

/// What became of payload.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PayloadTotals {
    /// Payload files created.
    pub files: u64,
    /// Parts of the payload table, by path relative to the output directory.
    pub parts: BTreeMap<String, TableSummary>,
    /// Payload bytes written; holes are not in it.
    pub bytes: u64,
    /// Payload bytes not written, since their half-stream has fewer than the user asked for.
    pub below_minimum: u64,
    /// Half-streams that were written although they may have fewer, for want of memory.
    pub passed_early: u64,
    /// Half-streams whose digest is not known.
    pub digests_given_up: u64,
}

impl AddAssign for PayloadTotals {
    fn add_assign(&mut self, other: PayloadTotals) {
        self.files += other.files;
        self.parts.extend(other.parts);
        self.bytes += other.bytes;
        self.below_minimum += other.below_minimum;
        self.passed_early += other.passed_early;
        self.digests_given_up += other.digests_given_up;
    }
}

/// Takes the payload of one shard's flows. One task uses it at a time.
///
/// Everything from here on relies on each byte being told once. A policy that lets a later copy
/// replace bytes must hold them back before they come here, until nothing can replace them.
pub struct PayloadOutput {
    dir: Arc<OutputDir>,
    shard: u8,
    digester: Option<Digester>,
    digests: HashMap<u64, [Option<Box<Digest>>; 2]>,
    digests_given_up: u64,
    minimum: Option<Minimum>,
    writer: Writer,
    parts: BTreeMap<String, TableSummary>,
}

enum Writer {
    None,
    Files(PayloadWriter),
    Parts(RowCutter, Box<PartWriter>),
}

impl Writer {
    fn data(&mut self, data: StreamData) {
        match self {
            Writer::None => {}
            Writer::Files(files) => files.data(data),
            Writer::Parts(rows, _) => rows.data(&data),
        }
    }
}

impl PayloadOutput {
    /// The payload output of shard number `shard`, below `dir`.
    pub fn new(
        config: PayloadConfig,
        shard: usize,
        dir: &Arc<OutputDir>,
        budget: &Arc<DescriptorBudget>,
        footer: &Arc<FooterFacts>,
    ) -> PayloadOutput {
        // There are far fewer; `SHARDS` is a constant.
        let shard = u8::try_from(shard).unwrap_or(u8::MAX);
        let writer = match config.mode {
            PayloadMode::None => Writer::None,
            PayloadMode::Files => {
                Writer::Files(PayloadWriter::new(Arc::clone(dir), Arc::clone(budget)))
            }
            PayloadMode::Parquet => Writer::Parts(
                RowCutter::new(RowLimits::DEFAULT),
                Box::new(PartWriter::new(Arc::clone(dir), shard, Arc::clone(footer))),
            ),
        };
        let writes = config.mode != PayloadMode::None;
        PayloadOutput {
            dir: Arc::clone(dir),
            shard,
            digester: config.sha256.then(|| Digester::new(WaitLimits::DEFAULT)),
            digests: HashMap::new(),
            digests_given_up: 0,
            minimum: (writes && config.min_bytes > 1)
                .then(|| Minimum::new(config.min_bytes, HELD_MEMORY)),
            writer,
            parts: BTreeMap::new(),
        }
    }

    /// Takes bytes; they are read at the next [`PayloadOutput::flush`] or later.
    pub fn data(&mut self, data: StreamData) {
        if let Some(digester) = &mut self.digester {
            digester.data(&data);
        }
        let writer = &mut self.writer;
        match &mut self.minimum {
            None => writer.data(data),
            Some(minimum) => minimum.data(data, &mut |data| writer.data(data)),
        }
    }

    /// Nothing more comes for this flow. Gives its row, which lacks only the digests.
    pub fn flow_ended(&mut self, record: FlowRecord) -> FlowRow {
        let flow_id = record.flow_id;
        if let Some(digester) = &mut self.digester {
            digester.flow_ended(FlowName {
                flow_id,
                key: record.key,
                client: record.client,
            });
        }
        let written = match (&self.writer, &mut self.minimum) {
            (Writer::None, _) => [false; 2],
            (_, Some(minimum)) => minimum.flow_ended(flow_id),
            (_, None) => [0, 1].map(|half: usize| record.halves[half].stream_bytes > 0),
        };
        if let Writer::Files(files) = &mut self.writer {
            files.flow_ended(flow_id);
        }
        FlowRow {
            record,
            shard: self.shard,
            written,
            sha256: [None, None],
        }
    }

    /// Writes and digests what is due. Fails where the file system refuses, or where `source` no
    /// longer gives the bytes.
    pub fn flush(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        match &mut self.writer {
            Writer::None => {}
            Writer::Files(files) => files.flush(source)?,
            Writer::Parts(rows, part) => {
                for group in rows.take_full() {
                    part.write(&group, source)?;
                }
            }
        }
        self.digest(source)
    }

    /// Completes what was written. All flows have ended.
    pub fn finish(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        self.flush(source)?;
        if let Writer::Parts(rows, part) = &mut self.writer {
            for group in rows.finish() {
                part.write(&group, source)?;
            }
            self.parts.extend(part.finish()?);
        }
        Ok(())
    }

    /// Puts the digests into the rows of flows that ended before the last flush.
    pub fn complete<'a>(&mut self, rows: impl Iterator<Item = &'a mut FlowRow>) {
        if self.digests.is_empty() {
            return;
        }
        for row in rows {
            if let Some(digests) = self.digests.remove(&row.record.flow_id) {
                row.sha256 = digests;
            }
        }
    }

    /// What became of the payload so far.
    pub fn totals(&self) -> PayloadTotals {
        let (files, bytes) = match &self.writer {
            Writer::None => (0, 0),
            Writer::Files(writer) => (writer.totals().files, writer.totals().bytes),
            Writer::Parts(_, part) => (0, part.payload_bytes()),
        };
        PayloadTotals {
            files,
            parts: self.parts.clone(),
            bytes,
            below_minimum: self.minimum.as_ref().map_or(0, Minimum::skipped),
            passed_early: self.minimum.as_ref().map_or(0, Minimum::passed_early),
            digests_given_up: self.digests_given_up,
        }
    }

    /// Payload files have been written by now, so that one can be read back.
    fn digest(&mut self, source: &dyn PayloadSource) -> Result<(), OutputError> {
        let Some(digester) = &mut self.digester else {
            return Ok(());
        };
        let has_files = matches!(self.writer, Writer::Files(_));
        let (dir, digests, given_up) = (&self.dir, &mut self.digests, &mut self.digests_given_up);
        digester.flush(source, |flow, outcomes| {
            let mut known = [None, None];
            for (direction, outcome) in Direction::BOTH.into_iter().zip(outcomes) {
                let digest = match outcome {
                    Outcome::Empty => None,
                    Outcome::Known(digest) => Some(digest),
                    Outcome::Sparse => {
                        *given_up += 1;
                        None
                    }
                    Outcome::GivenUp => {
                        let digest = if has_files {
                            digest_of_file(dir, &stream_path(&flow, direction))?
                        } else {
                            None
                        };
                        *given_up += u64::from(digest.is_none());
                        digest
                    }
                };
                known[direction.index()] = digest.map(Box::new);
            }
            digests.insert(flow.flow_id, known);
            Ok(())
        })
    }
}

/// The digest of a payload file; `None` where it was not written.
fn digest_of_file(dir: &OutputDir, path: &str) -> Result<Option<Digest>, OutputError> {
    let failed = |e| OutputError::io("read back", &dir.path().join(path), e);
    let mut file: File = match dir.open(path, OFlags::RDONLY) {
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(dir.failed("read back", path, e)),
        Ok(file) => file.into(),
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher.finalize().into())),
            Ok(got) => hasher.update(&buffer[..got]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

/// All bytes of a payload. Fails where `source` gives fewer.
pub(super) fn read_all<'a>(
    payload: &'a Payload,
    source: &'a dyn PayloadSource,
) -> Result<Cow<'a, [u8]>, OutputError> {
    let got = payload.bytes(source);
    if got.len() == payload.len() as usize {
        return Ok(got);
    }
    Err(match payload {
        Payload::Input { at, len } => OutputError::InputChanged {
            file: at.file(),
            offset: at.offset(),
            wanted: *len,
            got: got.len(),
        },
        Payload::Owned { .. } => OutputError::PayloadOutside,
    })
}
