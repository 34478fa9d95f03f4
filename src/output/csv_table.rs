//! The same tables as CSV: names and order as in Parquet, empty for null.

use std::io::{self, BufWriter, Write as _};

use super::directory::OutputDir;
use super::error::OutputError;
use super::parquet_table::TableSummary;
use super::pending_file::{PendingFile, Target};
use super::schema::{Cell, Column};
use super::text::{push_hex, push_rfc3339, push_signed, push_unsigned};

/// A CSV table of rows `R` under way. Nothing appears under its name until it is finished.
pub struct CsvTableWriter<R> {
    writer: csv::Writer<BufWriter<PendingFile>>,
    columns: Vec<Column<R>>,
    target: Target,
    /// Reused for each cell.
    scratch: String,
    rows: u64,
}

impl<R> CsvTableWriter<R> {
    /// Begins the file `name` in `dir` with its line of names.
    pub fn create(
        dir: &OutputDir,
        name: &str,
        columns: Vec<Column<R>>,
    ) -> Result<CsvTableWriter<R>, OutputError> {
        let pending = dir.pending_file(name)?;
        let target = pending.target().clone();
        let mut writer = csv::Writer::from_writer(BufWriter::with_capacity(1 << 18, pending));
        writer
            .write_record(columns.iter().map(|column| &column.name))
            .map_err(|e| target.writing_failed(e))?;
        Ok(CsvTableWriter {
            writer,
            columns,
            target,
            scratch: String::new(),
            rows: 0,
        })
    }

    /// Appends rows.
    pub fn write(&mut self, rows: &[R]) -> Result<(), OutputError> {
        self.append(rows).map_err(|e| self.target.writing_failed(e))
    }

    fn append(&mut self, rows: &[R]) -> csv::Result<()> {
        for row in rows {
            for column in &self.columns {
                self.scratch.clear();
                push_cell(&mut self.scratch, &column.cell, row);
                self.writer.write_field(&self.scratch)?;
            }
            self.writer.write_record(None::<&[u8]>)?;
        }
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(self) -> Result<TableSummary, OutputError> {
        let failed = |e: io::Error| self.target.writing_failed(e);
        let mut buffered = self
            .writer
            .into_inner()
            .map_err(|e| failed(e.into_error()))?;
        buffered.flush().map_err(failed)?;
        let pending = buffered.into_inner().map_err(|e| failed(e.into_error()))?;
        let bytes = pending.written();
        pending.commit()?;
        Ok(TableSummary {
            rows: self.rows,
            bytes,
        })
    }
}

/// Appends a cell's text, nothing for null.
fn push_cell<R>(out: &mut String, cell: &Cell<R>, row: &R) {
    let flag = |value: bool| if value { "true" } else { "false" };
    match cell {
        Cell::I64(f) => push_signed(out, f(row)),
        Cell::OptI64(f) => f(row).into_iter().for_each(|v| push_signed(out, v)),
        Cell::I32(f) => push_signed(out, f(row).into()),
        Cell::OptU32(f) => f(row)
            .into_iter()
            .for_each(|v| push_unsigned(out, v.into())),
        Cell::U16(f) => push_unsigned(out, f(row).into()),
        Cell::OptU16(f) => f(row)
            .into_iter()
            .for_each(|v| push_unsigned(out, v.into())),
        Cell::U8(f) => push_unsigned(out, f(row).into()),
        Cell::OptU8(f) => f(row)
            .into_iter()
            .for_each(|v| push_unsigned(out, v.into())),
        Cell::Bool(f) => out.push_str(flag(f(row))),
        Cell::OptBool(f) => f(row).into_iter().for_each(|v| out.push_str(flag(v))),
        Cell::OptTime(f) => f(row).into_iter().for_each(|v| push_rfc3339(out, v)),
        Cell::Name(f) => out.push_str(f(row)),
        Cell::Bytes(f) => push_hex(out, f(row)),
        Cell::Text(f) => {
            f(row, out);
            guard(out);
        }
        Cell::OptText(f) => {
            if f(row, out) {
                guard(out);
            }
        }
    }
}

/// Puts a `'` before text that a spreadsheet would take for a formula. Numbers need no guard: a
/// negative one is a number there too.
fn guard(text: &mut String) {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        text.insert(0, '\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cell: Cell<&'static str>, row: &'static str) -> String {
        let mut out = String::new();
        push_cell(&mut out, &cell, &row);
        out
    }

    #[test]
    fn text_cannot_become_a_formula() {
        let cell = Cell::Text(|row: &&str, out| out.push_str(row));
        for evil in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"] {
            assert_eq!(text(cell, evil), format!("'{evil}"));
        }
        assert_eq!(text(cell, "ShADadFf"), "ShADadFf");
        assert_eq!(text(cell, "a=1"), "a=1");
        let cell = Cell::OptText(|row: &&str, out| {
            out.push_str(row);
            !row.is_empty()
        });
        assert_eq!(text(cell, "=x"), "'=x");
        assert_eq!(text(cell, ""), "");
    }

    #[test]
    fn values_have_their_plain_text() {
        assert_eq!(text(Cell::I64(|_| -5), ""), "-5");
        assert_eq!(text(Cell::OptU32(|_| None), ""), "");
        assert_eq!(text(Cell::OptBool(|_| Some(false)), ""), "false");
        assert_eq!(
            text(Cell::OptTime(|_| Some(1)), ""),
            "1970-01-01T00:00:00.000001Z"
        );
    }
}
