//! `segments.parquet`: one row per part of a payload segment that met one fate.

use crate::model::{SegmentPart, Timestamp};

use super::directory::{OutputDir, SEGMENTS_FILE};
use super::error::OutputError;
use super::parquet_table::{FooterFacts, ParquetTable, TableSummary};
use super::schema::{Cell, Column, count};
use super::text::floor_micros;

/// The columns, in order.
pub fn segment_columns() -> Vec<Column<SegmentPart>> {
    vec![
        Column::new("flow_id", Cell::I64(|s: &SegmentPart| count(s.flow_id))).delta(),
        Column::new(
            "direction",
            Cell::Name(|s: &SegmentPart| s.direction.name()),
        ),
        Column::new("kind", Cell::Name(|s: &SegmentPart| s.kind.name())),
        Column::new("kept", Cell::Bool(|s: &SegmentPart| s.kept)),
        Column::new("stream_offset", Cell::OptI64(|s: &SegmentPart| s.offset)),
        Column::new("length", Cell::I64(|s: &SegmentPart| i64::from(s.length))),
        Column::new("seq", Cell::I64(|s: &SegmentPart| i64::from(s.seq))),
        Column::new("frame", Cell::I64(|s: &SegmentPart| count(s.facts.frame))).delta(),
        Column::new(
            "file_id",
            Cell::I32(|s: &SegmentPart| i32::from(s.facts.file_id)),
        ),
        Column::new(
            "file_offset",
            Cell::OptI64(|s: &SegmentPart| s.file_offset.map(count)),
        )
        .delta(),
        Column::new("ts", Cell::OptTime(|s: &SegmentPart| micros(s.facts.ts))).delta(),
        Column::new("ts_ns", Cell::OptI64(|s: &SegmentPart| s.facts.ts.ns())).delta(),
        Column::new("tcp_flags", Cell::U8(|s: &SegmentPart| s.facts.flags.0)),
        Column::new(
            "client_total",
            Cell::I64(|s: &SegmentPart| count(s.totals[0])),
        ),
        Column::new(
            "server_total",
            Cell::I64(|s: &SegmentPart| count(s.totals[1])),
        ),
        Column::new(
            "total",
            Cell::I64(|s: &SegmentPart| count(s.totals[0] + s.totals[1])),
        ),
        Column::new(
            "since_last_ns",
            Cell::OptI64(|s: &SegmentPart| s.facts.since_last_ns),
        ),
        Column::new(
            "since_last_same_direction_ns",
            Cell::OptI64(|s: &SegmentPart| s.facts.since_last_same_direction_ns),
        ),
        Column::new(
            "elapsed_ns",
            Cell::OptI64(|s: &SegmentPart| s.facts.elapsed_ns),
        ),
    ]
}

fn micros(ts: Timestamp) -> Option<i64> {
    ts.ns().map(floor_micros)
}

/// Writes `segments.parquet`.
pub struct SegmentTableWriter(ParquetTable<SegmentPart>);

impl SegmentTableWriter {
    /// Begins the table in `dir`.
    pub fn create(dir: &OutputDir, footer: &FooterFacts) -> Result<Self, OutputError> {
        ParquetTable::create(dir, SEGMENTS_FILE, &segment_columns(), footer).map(Self)
    }

    /// Appends rows.
    pub fn write(&mut self, parts: &[SegmentPart]) -> Result<(), OutputError> {
        self.0.write(parts)
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<TableSummary, OutputError> {
        self.0.finish()
    }
}
