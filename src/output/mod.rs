//! Payload, tables and the manifest.
//!
//! A table is a list of [`Column`]s: name, type and what it takes from a row stand in one entry,
//! which Parquet and CSV both read. A file is written under a temporary name and renamed when it is
//! whole; the manifest comes last, so its presence means that the run completed. Before it appears, the
//! file system is synced once, so that this holds after a power failure, too.

pub mod accounting;
mod builder;
mod capture_format;
pub mod community_id;
pub mod conflicts_table;
pub mod csv_table;
pub mod descriptors;
pub mod digests;
pub mod directory;
mod earlier_run;
pub mod error;
mod file_cache;
pub mod flow_captures;
pub mod flow_table;
pub mod gaps_table;
pub mod manifest;
mod minimum;
pub mod parquet_table;
pub mod payload;
pub mod payload_files;
mod payload_part;
mod payload_rows;
pub mod pending_file;
pub mod schema;
pub mod segments_table;
pub mod stream_path;
pub mod text;

pub use accounting::{Accounting, AccountingError};
pub use conflicts_table::ConflictTableWriter;
pub use csv_table::CsvTableWriter;
pub use descriptors::DescriptorBudget;
pub use directory::{OutputDir, Taking};
pub use error::OutputError;
pub use file_cache::FileTotals;
pub use flow_captures::FlowCaptureWriter;
pub use flow_table::{FlowCsvWriter, FlowRow, FlowTableWriter};
pub use gaps_table::GapTableWriter;
pub use manifest::Manifest;
pub use parquet_table::{CHUNK_ROWS, FooterFacts, TableSummary};
pub use payload::{PayloadOutput, PayloadTotals};
pub use schema::Column;
pub use segments_table::SegmentTableWriter;
pub use stream_path::stream_path;

/// Version of the tables' columns and of the manifest. It changes with the meaning or the type of
/// anything in them, not when something is added.
pub const SCHEMA_VERSION: u32 = 1;

#[cfg(test)]
mod payload_files_tests;
#[cfg(test)]
mod payload_tests;
#[cfg(test)]
mod table_tests;
