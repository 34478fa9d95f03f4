//! What a column is: one definition that every format of a table reads.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};

/// How a column of rows `R` takes its values. The variant decides the column's type in Parquet and
/// its text in CSV; `Opt` variants are nullable, where null means *not known*.
///
/// The functions take no environment, so a table is a constant list and its columns may be built
/// on several threads.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Cell<R> {
    I64(fn(&R) -> i64),
    OptI64(fn(&R) -> Option<i64>),
    I32(fn(&R) -> i32),
    OptU32(fn(&R) -> Option<u32>),
    U16(fn(&R) -> u16),
    OptU16(fn(&R) -> Option<u16>),
    U8(fn(&R) -> u8),
    OptU8(fn(&R) -> Option<u8>),
    Bool(fn(&R) -> bool),
    OptBool(fn(&R) -> Option<bool>),
    /// Microseconds since the Unix epoch, UTC.
    OptTime(fn(&R) -> Option<i64>),
    /// Appends the text.
    Text(fn(&R, &mut String)),
    /// Appends the text, or answers false and appends nothing.
    OptText(fn(&R, &mut String) -> bool),
    /// One of a few names.
    Name(fn(&R) -> &'static str),
    /// Bytes from the wire; as text in hexadecimal.
    Bytes(fn(&R) -> &[u8]),
}

// Function pointers are `Copy` whatever `R` is; a derive would ask it of `R` as well.
impl<R> Clone for Cell<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Cell<R> {}

impl<R> Cell<R> {
    /// The Arrow type, and whether it is nullable.
    fn data_type(&self) -> (DataType, bool) {
        match self {
            Cell::I64(_) => (DataType::Int64, false),
            Cell::OptI64(_) => (DataType::Int64, true),
            Cell::I32(_) => (DataType::Int32, false),
            Cell::OptU32(_) => (DataType::UInt32, true),
            Cell::U16(_) => (DataType::UInt16, false),
            Cell::OptU16(_) => (DataType::UInt16, true),
            Cell::U8(_) => (DataType::UInt8, false),
            Cell::OptU8(_) => (DataType::UInt8, true),
            Cell::Bool(_) => (DataType::Boolean, false),
            Cell::OptBool(_) => (DataType::Boolean, true),
            Cell::OptTime(_) => (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                true,
            ),
            Cell::Text(_) => (DataType::Utf8, false),
            Cell::OptText(_) => (DataType::Utf8, true),
            Cell::Bytes(_) => (DataType::Binary, false),
            Cell::Name(_) => (
                DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
                false,
            ),
        }
    }
}

/// How a column's values are laid out in Parquet. It changes size and speed, not what readers see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Each value once, and indices: for values that repeat.
    Dictionary,
    /// Differences of neighbours, in as few bits as they need: for numbers. (A dictionary of them takes
    /// three times the work and hardly less room.)
    Delta,
    /// As they are: for values that are all different.
    Plain,
}

/// One column: name, type, source, layout.
#[derive(Clone, Debug)]
pub struct Column<R> {
    /// Its name, in `snake_case`, with the unit at its end where there is one.
    pub name: String,
    /// Its type and where its values come from.
    pub cell: Cell<R>,
    /// How Parquet keeps it.
    pub layout: Layout,
    /// Whether Parquet keeps a bloom filter of it, for queries that ask for one value.
    pub bloom: bool,
}

impl<R> Column<R> {
    /// A column without a bloom filter: integers as differences, everything else as a dictionary.
    pub fn new(name: impl Into<String>, cell: Cell<R>) -> Column<R> {
        let layout = match cell {
            Cell::I64(_) | Cell::OptI64(_) | Cell::I32(_) | Cell::OptU32(_) => Layout::Delta,
            _ => Layout::Dictionary,
        };
        Column {
            name: name.into(),
            cell,
            layout,
            bloom: false,
        }
    }

    /// The same kept as differences.
    #[must_use]
    pub fn delta(self) -> Column<R> {
        Column {
            layout: Layout::Delta,
            ..self
        }
    }

    /// The same kept as it is.
    #[must_use]
    pub fn plain(self) -> Column<R> {
        Column {
            layout: Layout::Plain,
            ..self
        }
    }

    /// The same with a bloom filter.
    #[must_use]
    pub fn with_bloom_filter(self) -> Column<R> {
        Column {
            bloom: true,
            ..self
        }
    }
}

/// The Arrow schema of a list of columns.
pub fn arrow_schema<R>(columns: &[Column<R>]) -> Arc<Schema> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| {
            let (data_type, nullable) = column.cell.data_type();
            Field::new(column.name.clone(), data_type, nullable)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// A model counter as a column's value; what does not fit (no real count) becomes the greatest.
pub fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
