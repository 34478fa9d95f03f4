//! The summary tables, written in an order that only the input decides.

use super::worker::Rows;
use crate::capture::Inputs;
use crate::config::Config;
use crate::model::{Conflict, Gap, SegmentPart};
use crate::output::accounting::Accounting;
use crate::output::{
    ConflictTableWriter, FlowCsvWriter, FlowRow, FlowTableWriter, FooterFacts, GapTableWriter,
    OutputDir, OutputError, SegmentTableWriter, TableSummary,
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
    waiting: Rows,
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
            waiting: Rows::default(),
            accounting: Accounting::new(),
        })
    }

    /// Takes rows from one shard.
    pub(super) fn add(&mut self, rows: Rows) {
        self.waiting.flows.extend(rows.flows);
        self.waiting.gaps.extend(rows.gaps);
        self.waiting.conflicts.extend(rows.conflicts);
        self.waiting.segments.extend(rows.segments);
    }

    /// Writes the rows below `bound`, a pair of epoch and flow id, in that order. No row below it
    /// may follow.
    pub(super) fn write_before(&mut self, bound: (u64, u64)) -> Result<(), OutputError> {
        let flows = take_before(&mut self.waiting.flows, bound, |flow: &FlowRow| {
            (flow.record.flow_id, 0, 0)
        });
        let gaps = take_before(&mut self.waiting.gaps, bound, |gap: &Gap| {
            (gap.flow_id, gap.direction.index(), gap.offset)
        });
        let conflicts = take_before(&mut self.waiting.conflicts, bound, |c: &Conflict| {
            // A later frame's decision comes after an earlier one's.
            let frame = c.kept_frame.max(c.refused_frame);
            (c.flow_id, c.direction.index(), (frame, c.offset))
        });
        let mut segments = take_before(&mut self.waiting.segments, bound, |part: &SegmentPart| {
            (part.flow_id, 0, (part.facts.frame, part.offset))
        });
        self.accounting
            .add_flows(flows.iter().map(|row| &row.record));
        self.accounting.add_gaps(&gaps);
        self.accounting.add_conflicts(&conflicts);
        if !flows.is_empty() {
            self.flows.write(&flows)?;
            if let Some(csv) = &mut self.csv {
                csv.write(&flows)?;
            }
        }
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

/// Takes the rows below `bound` out, in order of their epoch and then of `place`, whose first member
/// is the flow's id.
fn take_before<T, P: Ord>(
    rows: &mut Vec<(u64, T)>,
    bound: (u64, u64),
    place: impl Fn(&T) -> (u64, usize, P),
) -> Vec<T> {
    let mut ready: Vec<(u64, T)> = rows
        .extract_if(.., |(epoch, row)| (*epoch, place(row).0) < bound)
        .collect();
    ready.sort_unstable_by_key(|(epoch, row)| (*epoch, place(row)));
    ready.into_iter().map(|(_, row)| row).collect()
}
