//! `conflicts.parquet`: one row per range of which two copies differ.

use crate::model::Conflict;

use super::directory::{CONFLICTS_FILE, OutputDir};
use super::error::OutputError;
use super::parquet_table::{FooterFacts, ParquetTable, TableSummary};
use super::schema::{Cell, Column, count};

/// The columns, in order.
pub fn conflict_columns() -> Vec<Column<Conflict>> {
    vec![
        Column::new("flow_id", Cell::I64(|c: &Conflict| count(c.flow_id))).delta(),
        Column::new("direction", Cell::Name(|c: &Conflict| c.direction.name())),
        Column::new("stream_offset", Cell::I64(|c: &Conflict| count(c.offset))),
        Column::new("length", Cell::I64(|c: &Conflict| count(c.length))),
        Column::new(
            "differing_bytes",
            Cell::I64(|c: &Conflict| count(c.differing)),
        ),
        Column::new("kept", Cell::Bytes(|c: &Conflict| &c.kept)),
        Column::new("refused", Cell::Bytes(|c: &Conflict| &c.refused)),
        Column::new("kept_frame", Cell::I64(|c: &Conflict| count(c.kept_frame))),
        Column::new(
            "refused_frame",
            Cell::I64(|c: &Conflict| count(c.refused_frame)),
        ),
        Column::new("policy", Cell::Name(|c: &Conflict| c.policy)),
    ]
}

/// Writes `conflicts.parquet`.
pub struct ConflictTableWriter(ParquetTable<Conflict>);

impl ConflictTableWriter {
    /// Begins the table in `dir`.
    pub fn create(dir: &OutputDir, footer: &FooterFacts) -> Result<Self, OutputError> {
        ParquetTable::create(dir, CONFLICTS_FILE, &conflict_columns(), footer).map(Self)
    }

    /// Appends rows.
    pub fn write(&mut self, conflicts: &[Conflict]) -> Result<(), OutputError> {
        self.0.write(conflicts)
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<TableSummary, OutputError> {
        self.0.finish()
    }
}
