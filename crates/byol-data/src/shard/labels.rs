//! Labels as they come: whole numbers of any width, truth values, floats that are whole,
//! texts.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, StringArray};
use arrow_schema::DataType;

/// The label column of a batch, if there is one.
pub(super) struct Values<'a>(Option<&'a dyn Array>);

impl<'a> Values<'a> {
    pub(super) fn of(column: Option<&'a dyn Array>) -> Self {
        Self(column)
    }

    fn valid(&self, row: usize) -> Option<&'a dyn Array> {
        self.0.filter(|column| column.is_valid(row))
    }

    /// The text of a row, if it is one.
    pub(super) fn text(&self, row: usize) -> Option<&'a str> {
        let texts: &StringArray = self.valid(row)?.as_string_opt()?;
        Some(texts.value(row))
    }

    /// The whole number of a row, if it is one.
    pub(super) fn number(&self, row: usize) -> Option<i64> {
        // pandas makes floats of whole numbers with gaps.
        let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64);
        let column = self.valid(row)?;
        match column.data_type() {
            DataType::Boolean => Some(column.as_boolean().value(row).into()),
            DataType::Int8 => Some(column.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int16 => Some(column.as_primitive::<Int16Type>().value(row).into()),
            DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row)),
            DataType::UInt8 => Some(column.as_primitive::<UInt8Type>().value(row).into()),
            DataType::UInt16 => Some(column.as_primitive::<UInt16Type>().value(row).into()),
            DataType::UInt32 => Some(column.as_primitive::<UInt32Type>().value(row).into()),
            DataType::UInt64 => i64::try_from(column.as_primitive::<UInt64Type>().value(row)).ok(),
            DataType::Float32 => whole(column.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => whole(column.as_primitive::<Float64Type>().value(row)),
            _ => None,
        }
    }
}
