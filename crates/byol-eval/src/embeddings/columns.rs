//! Columns of embeddings and what they belong to, as anybody writes them.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// What was read so far.
#[derive(Default)]
pub(super) struct Columns {
    pub dim: usize,
    pub values: Vec<f32>,
    pub paths: Vec<Option<String>>,
    pub splits: Vec<Option<String>>,
    pub labels: Vec<Option<i64>>,
    pub names: Vec<Option<String>>,
}

impl Columns {
    pub(super) fn add(&mut self, batch: &RecordBatch, which: usize) -> Result<(), String> {
        self.add_embeddings(batch.column(which))?;
        texts(batch, "path", &mut self.paths);
        if !texts(batch, "split", &mut self.splits)
            && let Some(split) = batch.column_by_name("split")
        {
            return Err(format!(
                "column `split` is {}, expected texts: train, test, validation",
                split.data_type()
            ));
        }
        if let Some(label) = batch.column_by_name("label")
            && !texts(batch, "label", &mut self.names)
        {
            let numbers = whole_numbers(label)?;
            if let Some(bad) = numbers.iter().flatten().find(|label| **label < 0) {
                return Err(format!("label {bad}: classes count from 0, and unknown ones are null"));
            }
            self.labels.extend(numbers);
        }
        Ok(())
    }

    fn add_embeddings(&mut self, column: &ArrayRef) -> Result<(), String> {
        for row in 0..column.len() {
            let at = self.values.len() / self.dim.max(1);
            if column.is_null(row) {
                return Err(format!("row {at}: there is no embedding"));
            }
            let list = match column.data_type() {
                DataType::List(_) => column.as_list::<i32>().value(row),
                DataType::LargeList(_) => column.as_list::<i64>().value(row),
                _ => column.as_fixed_size_list().value(row),
            };
            if self.dim == 0 {
                self.dim = list.len();
            }
            if list.len() != self.dim || list.null_count() > 0 || list.is_empty() {
                return Err(format!(
                    "row {at}: an embedding of {} values, of which {} are missing; the first has {}",
                    list.len(),
                    list.null_count(),
                    self.dim
                ));
            }
            if let Some(values) = list.as_primitive_opt::<Float32Type>() {
                self.values.extend_from_slice(values.values());
            } else if let Some(values) = list.as_primitive_opt::<Float64Type>() {
                self.values.extend(values.values().iter().map(|x| *x as f32));
            } else if let Some(values) = list.as_primitive_opt::<Float16Type>() {
                self.values.extend(values.values().iter().map(|x| f32::from(*x)));
            }
        }
        Ok(())
    }
}

/// Adds a column of texts; whether it is one.
fn texts(batch: &RecordBatch, name: &str, to: &mut Vec<Option<String>>) -> bool {
    let texts = batch.column_by_name(name).and_then(|column| text_values(column));
    let is_one = texts.is_some();
    to.extend(texts.into_iter().flatten());
    is_one
}

fn text_values(column: &dyn Array) -> Option<Vec<Option<String>>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().iter().map(owned).collect()),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().iter().map(owned).collect()),
        DataType::Utf8View => Some(column.as_string_view().iter().map(owned).collect()),
        DataType::Dictionary(..) => {
            let values = text_values(column.as_any_dictionary_opt()?.values())?;
            Some(looked_up(column, &values))
        }
        _ => None,
    }
}

/// What the keys of a dictionary stand for.
fn looked_up<T: Clone>(column: &dyn Array, values: &[Option<T>]) -> Vec<Option<T>> {
    let Some(dictionary) = column.as_any_dictionary_opt() else { return Vec::new() }; // whoever calls has seen it
    if values.is_empty() {
        return vec![None; column.len()]; // all of them are null
    }
    let keys = dictionary.normalized_keys();
    let of = |row: usize| if column.is_null(row) { None } else { values.get(keys[row]).cloned().flatten() };
    (0..column.len()).map(of).collect()
}

/// Labels of any type that holds whole numbers; pandas makes floats of a column with gaps, and
/// their NaN is one.
fn whole_numbers(column: &dyn Array) -> Result<Vec<Option<i64>>, String> {
    use arrow_array::types::{Int8Type, Int16Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
    macro_rules! read {
        ($($kind:ty),*) => {
            $(if let Some(numbers) = column.as_primitive_opt::<$kind>() {
                let number = |n: Option<_>| n.map(i64::try_from).transpose();
                return numbers.iter().map(number).collect::<Result<_, _>>().map_err(|_| {
                    "a label beyond 9e18".to_owned()
                });
            })*
        };
    }
    read!(Int64Type, Int8Type, Int16Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
    macro_rules! read_floats {
        ($($kind:ty),*) => {
            $(if let Some(numbers) = column.as_primitive_opt::<$kind>() {
                return numbers.iter().map(|n| whole(n.map(f64::from))).collect();
            })*
        };
    }
    read_floats!(Float64Type, Float32Type, Float16Type);
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        return Ok(looked_up(column, &whole_numbers(dictionary.values())?));
    }
    Err(format!("column `label` is {}, expected whole numbers or texts", column.data_type()))
}

fn whole(number: Option<f64>) -> Result<Option<i64>, String> {
    match number {
        None => Ok(None),
        Some(x) if x.is_nan() => Ok(None),
        Some(x) if x.fract() == 0.0 && x.abs() < 9e15 => Ok(Some(x as i64)),
        Some(x) => Err(format!("label {x}: expected whole numbers or texts")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{FixedSizeListBuilder, PrimitiveBuilder};
    use arrow_array::types::{ArrowPrimitiveType, Int8Type};
    use arrow_array::{DictionaryArray, Float64Array, Int64Array, LargeStringArray};

    use super::*;

    fn columns<T: ArrowPrimitiveType>(values: &[T::Native], label: ArrayRef) -> Result<Columns, String> {
        let mut list = FixedSizeListBuilder::new(PrimitiveBuilder::<T>::new(), 2);
        for pair in values.chunks(2) {
            list.values().append_slice(pair);
            list.append(true);
        }
        let batch = RecordBatch::try_from_iter([
            ("embedding", Arc::new(list.finish()) as ArrayRef),
            ("label", label),
        ])
        .unwrap();
        let mut columns = Columns::default();
        columns.add(&batch, 0).map(|()| columns)
    }

    #[test]
    fn labels_and_values_are_read_as_others_write_them() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![2.0, f64::NAN]));
        let read = columns::<Float32Type>(&[1.0, 2.0, 3.0, 4.0], floats).unwrap();
        assert_eq!((read.values, read.labels), (vec![1.0, 2.0, 3.0, 4.0], vec![Some(2), None]));
        let half = [0.5, -1.0, 2.0, 0.0].map(<Float16Type as ArrowPrimitiveType>::Native::from_f32);
        let keys = arrow_array::PrimitiveArray::<Int8Type>::from(vec![Some(1), None]);
        let numbers = DictionaryArray::new(keys.clone(), Arc::new(Int64Array::from(vec![7, 9])));
        let read = columns::<Float16Type>(&half, Arc::new(numbers)).unwrap();
        assert_eq!((read.values, read.labels), (vec![0.5, -1.0, 2.0, 0.0], vec![Some(9), None]));
        let names = DictionaryArray::new(keys, Arc::new(LargeStringArray::from(vec!["cat", "dog"])));
        let read = columns::<Float64Type>(&[1.0; 4], Arc::new(names)).unwrap();
        assert_eq!((read.names, read.labels), (vec![Some("dog".to_owned()), None], vec![]));
        let nulls = DictionaryArray::new(
            arrow_array::PrimitiveArray::<Int8Type>::from(vec![None, None]),
            Arc::new(Int64Array::from(Vec::<i64>::new())),
        );
        assert_eq!(columns::<Float32Type>(&[1.0; 4], Arc::new(nulls)).unwrap().labels, [None, None]);
        for (wrong, says) in [(1.5, "label 1.5"), (f64::INFINITY, "label inf"), (-1.0, "label -1")] {
            let label: ArrayRef = Arc::new(Float64Array::from(vec![0.0, wrong]));
            let error = columns::<Float32Type>(&[1.0; 4], label).err().unwrap();
            assert!(error.contains(says), "{error}");
        }
    }
}
