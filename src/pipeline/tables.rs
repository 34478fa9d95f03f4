//! The summary tables, written in an order that only the input decides.

use super::worker::Ended;
use crate::config::Config;
use crate::model::Gap;
use crate::output::accounting::Accounting;
use crate::output::{
    FlowCsvWriter, FlowTableWriter, FooterFacts, GapTableWriter, OutputDir, OutputError,
    TableSummary,
};

/// The tables of a run, and the rows that wait for their epoch to end.
pub(super) struct Tables {
    flows: FlowTableWriter,
    csv: Option<FlowCsvWriter>,
    gaps: GapTableWriter,
    waiting: Vec<Ended>,
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
}

impl Tables {
    pub(super) fn create(
        dir: &OutputDir,
        config: &Config,
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
            waiting: Vec::new(),
            accounting: Accounting::new(),
        })
    }

    /// Takes rows from one shard.
    pub(super) fn add(&mut self, ended: Vec<Ended>) {
        self.waiting.extend(ended);
    }

    /// Writes the rows of all epochs before `epoch`, by epoch and then by flow id.
    pub(super) fn write_before(&mut self, epoch: u64) -> Result<(), OutputError> {
        let (mut ready, waiting): (Vec<Ended>, Vec<Ended>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|row| row.epoch < epoch);
        self.waiting = waiting;
        if ready.is_empty() {
            return Ok(());
        }
        ready.sort_unstable_by_key(|row| (row.epoch, row.flow.flow_id));
        let gaps: Vec<Gap> = ready
            .iter_mut()
            .flat_map(|row| std::mem::take(&mut row.gaps))
            .collect();
        let flows: Vec<_> = ready.into_iter().map(|row| row.flow).collect();
        self.accounting
            .add_flows(flows.iter().map(|row| &row.record));
        self.accounting.add_gaps(&gaps);
        self.flows.write(&flows)?;
        if let Some(csv) = &mut self.csv {
            csv.write(&flows)?;
        }
        self.gaps.write(&gaps)
    }

    /// Writes what is left and completes the files.
    pub(super) fn finish(mut self) -> Result<(Accounting, TableSummaries), OutputError> {
        self.write_before(u64::MAX)?;
        let summaries = TableSummaries {
            flows: self.flows.finish()?,
            csv: self.csv.map(FlowCsvWriter::finish).transpose()?,
            gaps: self.gaps.finish()?,
        };
        Ok((self.accounting, summaries))
    }
}
