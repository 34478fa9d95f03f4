//! `gaps.parquet`: one row per range that was never captured.

use crate::model::Gap;

use super::directory::{GAPS_FILE, OutputDir};
use super::error::OutputError;
use super::parquet_table::{FooterFacts, ParquetTable, TableSummary};
use super::schema::{Cell, Column, count};

/// The columns, in order.
pub fn gap_columns() -> Vec<Column<Gap>> {
    vec![
        Column::new("flow_id", Cell::I64(|g: &Gap| count(g.flow_id))).delta(),
        Column::new("direction", Cell::Name(|g| g.direction.name())),
        Column::new("stream_offset", Cell::I64(|g| count(g.offset))),
        Column::new("length", Cell::I64(|g| count(g.length))),
        Column::new("cause", Cell::Name(|g| g.cause.name())),
        Column::new("elided", Cell::Bool(|g| g.elided)),
    ]
}

/// Writes `gaps.parquet`.
pub struct GapTableWriter(ParquetTable<Gap>);

impl GapTableWriter {
    /// Begins the table in `dir`.
    pub fn create(dir: &OutputDir, footer: &FooterFacts) -> Result<Self, OutputError> {
        ParquetTable::create(dir, GAPS_FILE, &gap_columns(), footer).map(Self)
    }

    /// Appends gaps, in the order of their flows' rows.
    pub fn write(&mut self, gaps: &[Gap]) -> Result<(), OutputError> {
        self.0.write(gaps)
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<TableSummary, OutputError> {
        self.0.finish()
    }
}
