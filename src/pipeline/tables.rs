//! The summary tables, written in an order that only the input decides.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::worker::Rows;
use crate::capture::Inputs;
use crate::config::Config;
use crate::output::accounting::Accounting;
use crate::output::{
    CHUNK_ROWS, ConflictTableWriter, FlowCsvWriter, FlowRow, FlowTableWriter, FooterFacts,
    GapTableWriter, OutputDir, OutputError, SegmentTableWriter, TableSummary,
};

/// The tables of a run, and the rows that wait for their epoch to end.
pub(super) struct Tables {
    flows: FlowTableWriter,
    csv: Option<FlowCsvWriter>,
    gaps: GapTableWriter,
    conflicts: ConflictTableWriter,
    segments: Option<SegmentTableWriter>,
    /// Of each input, whether its bytes lie in its file as they were captured.
    as_captured: Vec<bool>,
    /// By epoch, as the shards gave them: rows of flows are large, and gathering them in one place would
    /// touch fresh memory.
    waiting: BTreeMap<u64, Vec<Rows>>,
    accounting: Accounting,
}

/// What the tables came to.
#[derive(Clone, Debug, Default)]
pub struct TableSummaries {
    /// `flows.parquet`.
    pub flows: TableSummary,
    /// `flows.csv`.
    pub csv: Option<TableSummary>,
    /// `gaps.parquet`.
    pub gaps: TableSummary,
    /// `conflicts.parquet`.
    pub conflicts: TableSummary,
    /// `segments.parquet`.
    pub segments: Option<TableSummary>,
}

impl Tables {
    pub(super) fn create(
        dir: &OutputDir,
        config: &Config,
        inputs: &Inputs,
        footer: &FooterFacts,
    ) -> Result<Tables, OutputError> {
        let csv = config
            .csv
            .then(|| FlowCsvWriter::create(dir, config.payload.mode))
            .transpose()?;
        Ok(Tables {
            flows: FlowTableWriter::create(dir, config.payload.mode, footer)?,
            csv,
            gaps: GapTableWriter::create(dir, footer)?,
            conflicts: ConflictTableWriter::create(dir, footer)?,
            segments: config
                .reassembly
                .segments
                .then(|| SegmentTableWriter::create(dir, footer))
                .transpose()?,
            as_captured: inputs
                .list()
                .iter()
                .map(|input| !input.is_stream())
                .collect(),
            waiting: BTreeMap::new(),
            accounting: Accounting::new(),
        })
    }

    /// Takes rows from one shard.
    pub(super) fn add(&mut self, rows: Vec<(u64, Rows)>) {
        for (epoch, rows) in rows {
            self.waiting.entry(epoch).or_default().push(rows);
        }
    }

    /// Writes the rows below `bound`, a pair of epoch and flow id, in that order. No row below it
    /// may follow.
    pub(super) fn write_before(&mut self, bound: (u64, u64)) -> Result<(), OutputError> {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() >= bound.0 {
                break;
            }
            let shards = entry.remove();
            self.write(shards)?;
        }
        if let Some(shards) = self.waiting.get_mut(&bound.0)
            && bound.1 > 0
        {
            let below = shards.iter_mut().map(|rows| rows.take_before(bound.1));
            let below = below.collect();
            shards.retain(|rows| !rows.is_empty());
            self.write(below)?;
        }
        Ok(())
    }

    /// Writes rows of one epoch. Those of a flow come from one shard and keep its order where nothing
    /// else tells them apart.
    fn write(&mut self, shards: Vec<Rows>) -> Result<(), OutputError> {
        let mut flows = Vec::with_capacity(shards.len());
        let (mut gaps, mut conflicts, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for mut rows in shards {
            flows.push(rows.flows);
            gaps.append(&mut rows.gaps);
            conflicts.append(&mut rows.conflicts);
            segments.append(&mut rows.segments);
        }
        self.write_flows(flows)?;
        gaps.sort_by_key(|gap| (gap.flow_id, gap.direction.index(), gap.offset));
        conflicts.sort_by_key(|c| {
            // A later frame's decision comes after an earlier one's.
            let frame = c.kept_frame.max(c.refused_frame);
            (c.flow_id, c.direction.index(), frame, c.offset)
        });
        segments.sort_by_key(|part| (part.flow_id, part.facts.frame, part.offset));
        self.accounting.add_gaps(&gaps);
        self.accounting.add_conflicts(&conflicts);
        if !gaps.is_empty() {
            self.gaps.write(&gaps)?;
        }
        if !conflicts.is_empty() {
            self.conflicts.write(&conflicts)?;
        }
        if let Some(table) = &mut self.segments
            && !segments.is_empty()
        {
            for part in &mut segments {
                let file = self.as_captured.get(usize::from(part.facts.file_id));
                part.file_offset = part.file_offset.filter(|_| file == Some(&true));
            }
            table.write(&segments)?;
        }
        Ok(())
    }

    /// Merges the rows of all shards. They are put in order a table's chunk at a time, which stays in the
    /// cache until it is encoded.
    fn write_flows(&mut self, mut shards: Vec<Vec<FlowRow>>) -> Result<(), OutputError> {
        let id = |row: &FlowRow| row.flow_id;
        shards
            .par_iter_mut()
            .for_each(|rows| rows.sort_by_cached_key(id));
        let mut turns: Vec<(u64, usize)> = Vec::new();
        for (shard, rows) in shards.iter().enumerate() {
            turns.extend(rows.iter().map(|row| (id(row), shard)));
        }
        turns.sort_unstable();
        let mut shards: Vec<_> = shards.into_iter().map(Vec::into_iter).collect();
        let mut rows = Vec::with_capacity(turns.len().min(CHUNK_ROWS));
        for some in turns.chunks(CHUNK_ROWS) {
            rows.clear();
            rows.extend(some.iter().filter_map(|&(_, shard)| shards[shard].next()));
            self.accounting
                .add_flows(rows.iter().map(|row| &row.record));
            self.flows.write(&rows)?;
            if let Some(csv) = &mut self.csv {
                csv.write(&rows)?;
            }
        }
        Ok(())
    }

    /// Writes what is left and completes the files.
    pub(super) fn finish(mut self) -> Result<(Accounting, TableSummaries), OutputError> {
        self.write_before((u64::MAX, u64::MAX))?;
        let summaries = TableSummaries {
            flows: self.flows.finish()?,
            csv: self.csv.map(FlowCsvWriter::finish).transpose()?,
            gaps: self.gaps.finish()?,
            conflicts: self.conflicts.finish()?,
            segments: self.segments.map(SegmentTableWriter::finish).transpose()?,
        };
        Ok((self.accounting, summaries))
    }
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.flows.is_empty()
            && self.gaps.is_empty()
            && self.conflicts.is_empty()
            && self.segments.is_empty()
    }

    /// Takes the rows of flows with ids below `bound` out.
    fn take_before(&mut self, bound: u64) -> Rows {
        Rows {
            flows: take_if(&mut self.flows, |row| row.flow_id < bound),
            gaps: take_if(&mut self.gaps, |gap| gap.flow_id < bound),
            conflicts: take_if(&mut self.conflicts, |conflict| conflict.flow_id < bound),
            segments: take_if(&mut self.segments, |part| part.flow_id < bound),
        }
    }
}

/// Takes some rows out; nearly always it is all of them.
fn take_if<T>(rows: &mut Vec<T>, wanted: impl Fn(&T) -> bool) -> Vec<T> {
    if rows.iter().all(&wanted) {
        return std::mem::take(rows);
    }
    rows.extract_if(.., |row| wanted(row)).collect()
}
