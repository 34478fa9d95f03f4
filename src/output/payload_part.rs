//! One part of the payload table: the rows of one shard as a Parquet file.
//!
//! A row group is known by reference before it is written, so its columns go to the file one after
//! the other, and the memory it takes is that of the page under way.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, DataType as ParquetType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;

use super::directory::{OutputDir, PAYLOAD_DIR};
use super::error::OutputError;
use super::parquet_table::{FooterFacts, TableSummary};
use super::payload::read_all;
use super::payload_rows::{Group, Row};
use super::pending_file::{PendingFile, Target, intended_name};
use super::schema::count;
use super::text::push_unsigned;
use crate::model::{Direction, Payload, PayloadSource};

/// Payload bytes that are handed to the encoder together: about a page.
const PAGE_BYTES: usize = 1 << 20;

/// Rows that are handed to the encoder together, where they are small.
const PAGE_ROWS: usize = 4_096;

/// The columns, in order.
pub(super) fn payload_schema() -> Schema {
    let name = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    Schema::new(vec![
        Field::new("flow_id", DataType::Int64, false),
        Field::new("direction", name, false),
        Field::new("stream_offset", DataType::Int64, false),
        Field::new("data", DataType::Binary, false),
    ])
}

/// Appends the path of a shard's part, relative to the output directory: `payload/part-NN.parquet`.
pub(super) fn push_part_path(out: &mut String, shard: u8) {
    out.push_str(PAYLOAD_DIR);
    out.push_str("/part-");
    if shard < 10 {
        out.push('0');
    }
    push_unsigned(out, shard.into());
    out.push_str(".parquet");
}

/// The path of a shard's part.
pub(super) fn part_path(shard: u8) -> String {
    let mut path = String::new();
    push_part_path(&mut path, shard);
    path
}

/// Whether a file below [`PAYLOAD_DIR`] can be a part, or one that was not finished, judged by its
/// name.
pub(super) fn is_part_file(name: &str) -> bool {
    intended_name(name)
        .unwrap_or(name)
        .strip_prefix("part-")
        .and_then(|rest| rest.strip_suffix(".parquet"))
        .is_some_and(|number| number.len() >= 2 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Writes one part. The file is begun with its first row, so a shard without payload has none.
pub(super) struct PartWriter {
    dir: Arc<OutputDir>,
    name: String,
    footer: Arc<FooterFacts>,
    file: Option<(SerializedFileWriter<PendingFile>, Target)>,
    rows: u64,
    payload_bytes: u64,
}

impl PartWriter {
    pub(super) fn new(dir: Arc<OutputDir>, shard: u8, footer: Arc<FooterFacts>) -> PartWriter {
        PartWriter {
            dir,
            name: part_path(shard),
            footer,
            file: None,
            rows: 0,
            payload_bytes: 0,
        }
    }

    /// Payload bytes written so far.
    pub(super) const fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Writes a row group. Fails where the file system refuses, or where `source` no longer gives
    /// the bytes.
    pub(super) fn write(
        &mut self,
        group: &Group,
        source: &dyn PayloadSource,
    ) -> Result<(), OutputError> {
        let (file, target) = match &mut self.file {
            Some(file) => file,
            none => none.insert(begin(&self.dir, &self.name, &self.footer)?),
        };
        let failed = |e| target.encoding_failed(e);
        let mut columns = file.next_row_group().map_err(failed)?;
        small_columns(&mut columns, &group.rows).map_err(failed)?;
        let mut column = columns.next_column().and_then(present).map_err(failed)?;
        let data = column.typed::<ByteArrayType>();
        let (mut rows, mut pieces) = (&group.rows[..], &group.pieces[..]);
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows_of_a_page(rows));
            let (own, others) = pieces.split_at(now.iter().map(|row| row.pieces as usize).sum());
            let values = values(now, own, source)?;
            data.write_batch(&values, None, None).map_err(failed)?;
            (rows, pieces) = (later, others);
        }
        column.close().map_err(failed)?;
        columns.close().map_err(failed)?;
        self.rows += group.rows.len() as u64;
        self.payload_bytes += group.rows.iter().map(|row| u64::from(row.len)).sum::<u64>();
        Ok(())
    }

    /// Completes the file and gives it its name. `None` where there was no row.
    pub(super) fn finish(&mut self) -> Result<Option<(String, TableSummary)>, OutputError> {
        let Some((file, target)) = self.file.take() else {
            return Ok(None);
        };
        let pending = file.into_inner().map_err(|e| target.encoding_failed(e))?;
        let summary = TableSummary {
            rows: self.rows,
            bytes: pending.written(),
        };
        pending.commit()?;
        Ok(Some((self.name.clone(), summary)))
    }
}

fn begin(
    dir: &OutputDir,
    name: &str,
    footer: &FooterFacts,
) -> Result<(SerializedFileWriter<PendingFile>, Target), OutputError> {
    dir.make_directory(PAYLOAD_DIR)?;
    let pending = dir.pending_file(name)?;
    let target = pending.target().clone();
    let schema = Arc::new(payload_schema());
    ArrowWriter::try_new(pending, schema, Some(properties(footer)))
        .and_then(ArrowWriter::into_serialized_writer)
        .map(|(file, _)| (file, target.clone()))
        .map_err(|e| target.encoding_failed(e))
}

fn properties(footer: &FooterFacts) -> WriterProperties {
    let data = || ColumnPath::from("data");
    let flow_id = || ColumnPath::from("flow_id");
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_column_dictionary_enabled(flow_id(), false)
        .set_column_encoding(flow_id(), Encoding::DELTA_BINARY_PACKED)
        // Payload is mostly compressed or encrypted already, and no two rows are equal.
        .set_column_compression(data(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(data(), false)
        .set_column_encoding(data(), Encoding::PLAIN)
        .set_column_statistics_enabled(data(), EnabledStatistics::None)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_key_value_metadata(Some(footer.key_values()))
        .build()
}

/// All columns but the last.
fn small_columns(
    columns: &mut SerializedRowGroupWriter<'_, PendingFile>,
    rows: &[Row],
) -> ParquetResult<()> {
    let flow_ids: Vec<i64> = rows.iter().map(|row| count(row.flow_id)).collect();
    let names = Direction::BOTH.map(|direction| ByteArray::from(direction.name()));
    let directions: Vec<ByteArray> = rows
        .iter()
        .map(|row| names[row.direction.index()].clone())
        .collect();
    let offsets: Vec<i64> = rows.iter().map(|row| count(row.offset)).collect();
    whole_column::<Int64Type>(columns, &flow_ids)?;
    whole_column::<ByteArrayType>(columns, &directions)?;
    whole_column::<Int64Type>(columns, &offsets)
}

fn whole_column<T: ParquetType>(
    columns: &mut SerializedRowGroupWriter<'_, PendingFile>,
    values: &[T::T],
) -> ParquetResult<()> {
    let mut column = columns.next_column().and_then(present)?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

fn present<T>(column: Option<T>) -> ParquetResult<T> {
    column.ok_or_else(|| ParquetError::General("the file has fewer columns".to_owned()))
}

/// How many of the rows make a page; at least one.
fn rows_of_a_page(rows: &[Row]) -> usize {
    let mut bytes = 0;
    rows.iter()
        .take(PAGE_ROWS)
        .take_while(|row| {
            let room = bytes < PAGE_BYTES;
            bytes += row.len as usize;
            room
        })
        .count()
}

/// The bytes of rows, all of them in one buffer.
fn values(
    rows: &[Row],
    pieces: &[Payload],
    source: &dyn PayloadSource,
) -> Result<Vec<ByteArray>, OutputError> {
    let mut bytes = Vec::with_capacity(rows.iter().map(|row| row.len as usize).sum());
    for piece in pieces {
        bytes.extend_from_slice(&read_all(piece, source)?);
    }
    let bytes = ByteArray::from(bytes);
    let mut start = 0;
    Ok(rows
        .iter()
        .map(|row| {
            let value = bytes.slice(start, row.len as usize);
            start += row.len as usize;
            value
        })
        .collect())
}
