//! Builds Arrow arrays of a column, a slice of rows at a time.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, PrimitiveBuilder,
    StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder, UInt8Builder,
    UInt16Builder, UInt32Builder,
};
use arrow_array::types::Int8Type;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::ArrowError;

use super::schema::Cell;

/// A typed builder and the cell that fills it.
pub(super) struct ColumnBuilder<R> {
    cell: Cell<R>,
    values: Values,
    /// Reused for each text.
    scratch: String,
}

enum Values {
    I64(Int64Builder),
    I32(Int32Builder),
    U32(UInt32Builder),
    U16(UInt16Builder),
    U8(UInt8Builder),
    Bool(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Name(StringDictionaryBuilder<Int8Type>),
    Bytes(BinaryBuilder),
}

impl<R> ColumnBuilder<R> {
    pub(super) fn new(cell: Cell<R>) -> ColumnBuilder<R> {
        let values = match cell {
            Cell::I64(_) | Cell::OptI64(_) => Values::I64(Int64Builder::new()),
            Cell::I32(_) => Values::I32(Int32Builder::new()),
            Cell::OptU32(_) => Values::U32(UInt32Builder::new()),
            Cell::U16(_) | Cell::OptU16(_) => Values::U16(UInt16Builder::new()),
            Cell::U8(_) | Cell::OptU8(_) => Values::U8(UInt8Builder::new()),
            Cell::Bool(_) | Cell::OptBool(_) => Values::Bool(BooleanBuilder::new()),
            Cell::OptTime(_) => {
                Values::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Cell::Text(_) | Cell::OptText(_) => Values::Text(StringBuilder::new()),
            Cell::Name(_) => Values::Name(StringDictionaryBuilder::new()),
            Cell::Bytes(_) => Values::Bytes(BinaryBuilder::new()),
        };
        ColumnBuilder {
            cell,
            values,
            scratch: String::new(),
        }
    }

    /// Appends a value for each row. Fails where a name column has more than 127 names.
    pub(super) fn append(&mut self, rows: &[R]) -> Result<(), ArrowError> {
        match (&self.cell, &mut self.values) {
            (Cell::I64(f), Values::I64(b)) => rows.iter().for_each(|r| b.append_value(f(r))),
            (Cell::OptI64(f), Values::I64(b)) => rows.iter().for_each(|r| b.append_option(f(r))),
            (Cell::I32(f), Values::I32(b)) => rows.iter().for_each(|r| b.append_value(f(r))),
            (Cell::OptU32(f), Values::U32(b)) => rows.iter().for_each(|r| b.append_option(f(r))),
            (Cell::U16(f), Values::U16(b)) => rows.iter().for_each(|r| b.append_value(f(r))),
            (Cell::OptU16(f), Values::U16(b)) => rows.iter().for_each(|r| b.append_option(f(r))),
            (Cell::U8(f), Values::U8(b)) => rows.iter().for_each(|r| b.append_value(f(r))),
            (Cell::OptU8(f), Values::U8(b)) => rows.iter().for_each(|r| b.append_option(f(r))),
            (Cell::Bool(f), Values::Bool(b)) => rows.iter().for_each(|r| b.append_value(f(r))),
            (Cell::OptBool(f), Values::Bool(b)) => rows.iter().for_each(|r| b.append_option(f(r))),
            (Cell::OptTime(f), Values::Time(b)) => rows.iter().for_each(|r| b.append_option(f(r))),
            (Cell::Text(f), Values::Text(b)) => {
                for row in rows {
                    self.scratch.clear();
                    f(row, &mut self.scratch);
                    b.append_value(&self.scratch);
                }
            }
            (Cell::OptText(f), Values::Text(b)) => {
                for row in rows {
                    self.scratch.clear();
                    let known = f(row, &mut self.scratch);
                    b.append_option(known.then_some(&self.scratch));
                }
            }
            (Cell::Name(f), Values::Name(b)) => {
                for row in rows {
                    b.append(f(row))?;
                }
            }
            (Cell::Bytes(f), Values::Bytes(b)) => rows.iter().for_each(|r| b.append_value(f(r))),
            _ => unreachable!("the builder was made for its cell"),
        }
        Ok(())
    }

    /// The values so far; the builder is empty then, with room for as many.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::I64(b) => finish(b),
            Values::I32(b) => finish(b),
            Values::U32(b) => finish(b),
            Values::U16(b) => finish(b),
            Values::U8(b) => finish(b),
            Values::Bool(b) => Arc::new(b.finish()),
            Values::Time(b) => finish(b),
            Values::Text(b) => {
                let array = b.finish();
                *b = StringBuilder::with_capacity(array.len(), array.value_data().len());
                Arc::new(array)
            }
            Values::Name(b) => ArrayBuilder::finish(b),
            Values::Bytes(b) => Arc::new(b.finish()),
        }
    }
}

fn finish<T: ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>) -> ArrayRef {
    let array = builder.finish();
    let next = PrimitiveBuilder::with_capacity(array.len());
    *builder = next.with_data_type(array.data_type().clone());
    Arc::new(array)
}
