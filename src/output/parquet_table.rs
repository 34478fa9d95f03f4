//! Writes rows to a Parquet file, columns in parallel, one row group in memory at a time.

use std::sync::Arc;

use arrow_schema::FieldRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::basic::{Compression, Encoding};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use super::SCHEMA_VERSION;
use super::builder::ColumnBuilder;
use super::directory::OutputDir;
use super::error::OutputError;
use super::pending_file::{PendingFile, Target};
use super::schema::{Column, Layout, arrow_schema};

/// Rows in a row group: what DuckDB itself writes, and the unit in which readers share out work.
pub const ROW_GROUP_ROWS: usize = 122_880;

/// Rows that are turned into Arrow arrays and encoded together: as many as stay in the cache of a
/// processor (a megabyte) while column after column goes over them. It divides a row group. Since
/// encoding happens in pieces of exactly this size, the bytes of the file do not depend on how many
/// rows each call brought.
pub const CHUNK_ROWS: usize = 1_024;

/// Fewer rows than this are not worth waking other threads for.
const PARALLEL_ROWS: usize = 256;

/// Share of false positives that a bloom filter may give. Filters are made for a full row group
/// and folded to the size that the values in it need, so a small table has small ones.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// What every table says of its origin.
#[derive(Clone, Debug, Default)]
pub struct FooterFacts {
    /// The configuration that decided the output, as JSON: nothing of the machine, the number of
    /// threads or the time belongs in it, since equal input and configuration give equal bytes.
    pub config_json: String,
}

impl FooterFacts {
    pub(super) fn key_values(&self) -> Vec<KeyValue> {
        let pair = |key: &str, value: String| KeyValue::new(format!("bulkreasm.{key}"), value);
        vec![
            pair("schema_version", SCHEMA_VERSION.to_string()),
            pair("version", env!("CARGO_PKG_VERSION").to_owned()),
            pair("config", self.config_json.clone()),
        ]
    }
}

/// What became of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct TableSummary {
    /// Rows in it.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// A table of rows `R` under way. Nothing appears under its name until it is finished.
pub struct ParquetTable<R> {
    file: SerializedFileWriter<PendingFile>,
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<ColumnState<R>>,
    target: Target,
    /// Rows in the builders, at most [`CHUNK_ROWS`].
    chunk_rows: usize,
    /// Rows in this row group, those in the builders included.
    group_rows: usize,
    groups: usize,
    rows: u64,
}

/// A column of the row group under way.
struct ColumnState<R> {
    field: FieldRef,
    builder: ColumnBuilder<R>,
    encoder: Option<ArrowColumnWriter>,
}

impl<R: Sync> ParquetTable<R> {
    /// Begins the file `name` in `dir`.
    pub fn create(
        dir: &OutputDir,
        name: &str,
        columns: &[Column<R>],
        footer: &FooterFacts,
    ) -> Result<ParquetTable<R>, OutputError> {
        let pending = dir.pending_file(name)?;
        let target = pending.target().clone();
        let schema = arrow_schema(columns);
        let (file, factory) = ArrowWriter::try_new(
            pending,
            Arc::clone(&schema),
            Some(properties(columns, footer)),
        )
        .and_then(ArrowWriter::into_serialized_writer)
        .map_err(|e| target.encoding_failed(e))?;
        let columns = columns
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| ColumnState {
                field: Arc::clone(field),
                builder: ColumnBuilder::new(column.cell),
                encoder: None,
            })
            .collect();
        Ok(ParquetTable {
            file,
            factory,
            columns,
            target,
            chunk_rows: 0,
            group_rows: 0,
            groups: 0,
            rows: 0,
        })
    }

    /// Appends rows. Their order is the order of the calls.
    pub fn write(&mut self, rows: &[R]) -> Result<(), OutputError> {
        self.append(rows)
            .map_err(|e| self.target.encoding_failed(e))
    }

    /// Writes what is left and the footer, and gives the file its name.
    pub fn finish(mut self) -> Result<TableSummary, OutputError> {
        let rows = self.rows;
        let target = self.target.clone();
        let end = move || -> ParquetResult<PendingFile> {
            if self.group_rows > 0 {
                self.step(&[], true)?;
            }
            self.file.into_inner()
        };
        let pending = end().map_err(|e| target.encoding_failed(e))?;
        let bytes = pending.written();
        pending.commit()?;
        Ok(TableSummary { rows, bytes })
    }

    fn append(&mut self, mut rows: &[R]) -> ParquetResult<()> {
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(CHUNK_ROWS - self.chunk_rows));
            self.chunk_rows += now.len();
            self.group_rows += now.len();
            self.rows += now.len() as u64;
            self.step(now, self.group_rows == ROW_GROUP_ROWS)?;
            rows = later;
        }
        Ok(())
    }

    /// Gives each column its part of `rows`, encodes the chunk if it is full, and writes the row
    /// group if that is to end.
    fn step(&mut self, rows: &[R], end_group: bool) -> ParquetResult<()> {
        if self.columns.iter().any(|column| column.encoder.is_none()) {
            let encoders = self.factory.create_column_writers(self.groups)?;
            for (column, encoder) in self.columns.iter_mut().zip(encoders) {
                column.encoder = Some(encoder);
            }
        }
        let encode = end_group || self.chunk_rows == CHUNK_ROWS;
        let work = |column: &mut ColumnState<R>| column.step(rows, encode, end_group);
        let closed: Vec<Option<ArrowColumnChunk>> = if encode || rows.len() >= PARALLEL_ROWS {
            self.columns
                .par_iter_mut()
                .map(work)
                .collect::<ParquetResult<_>>()?
        } else {
            self.columns
                .iter_mut()
                .map(work)
                .collect::<ParquetResult<_>>()?
        };
        if encode {
            self.chunk_rows = 0;
        }
        if end_group {
            let mut group = self.file.next_row_group()?;
            for chunk in closed.into_iter().flatten() {
                chunk.append_to_row_group(&mut group)?;
            }
            group.close()?;
            self.groups += 1;
            self.group_rows = 0;
        }
        Ok(())
    }
}

impl<R> ColumnState<R> {
    fn step(
        &mut self,
        rows: &[R],
        encode: bool,
        close: bool,
    ) -> ParquetResult<Option<ArrowColumnChunk>> {
        self.builder.append(rows)?;
        let missing = || ParquetError::General("a column has no encoder".to_owned());
        if encode {
            let array = self.builder.finish();
            let encoder = self.encoder.as_mut().ok_or_else(missing)?;
            for leaf in compute_leaves(&self.field, &array)? {
                encoder.write(&leaf)?;
            }
        }
        if close {
            let encoder = self.encoder.take().ok_or_else(missing)?;
            return encoder.close().map(Some);
        }
        Ok(None)
    }
}

fn properties<R>(columns: &[Column<R>], footer: &FooterFacts) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // Per page: with it comes the page index, by which readers skip pages.
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(footer.key_values()));
    for column in columns {
        let path = || ColumnPath::from(column.name.as_str());
        properties = match column.layout {
            Layout::Dictionary => properties,
            Layout::Delta => properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED),
            Layout::Plain => properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_encoding(path(), Encoding::PLAIN),
        };
        if column.bloom {
            properties = properties
                .set_column_bloom_filter_max_ndv(path(), ROW_GROUP_ROWS as u64)
                .set_column_bloom_filter_fpp(path(), BLOOM_FALSE_POSITIVES);
        }
    }
    properties.build()
}
