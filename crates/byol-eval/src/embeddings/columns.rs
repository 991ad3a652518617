//! Columns of embeddings and what they belong to, as anybody writes them.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
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
        if let Some(label) = batch.column_by_name("label") {
            match label.data_type() {
                kind if kind.is_integer() => {
                    let numbers = whole_numbers(label)?;
                    if let Some(bad) = numbers.iter().flatten().find(|label| **label < 0) {
                        return Err(format!("label {bad}: classes count from 0, and unknown ones are null"));
                    }
                    self.labels.extend(numbers);
                }
                _ if texts(batch, "label", &mut self.names) => {}
                kind => {
                    return Err(format!("column `label` is {kind}, expected whole numbers or texts"));
                }
            }
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
            }
        }
        Ok(())
    }
}

/// Adds a column of texts; whether it is one.
fn texts(batch: &RecordBatch, name: &str, to: &mut Vec<Option<String>>) -> bool {
    let Some(column) = batch.column_by_name(name) else { return false };
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match column.data_type() {
        DataType::Utf8 => to.extend(column.as_string::<i32>().iter().map(owned)),
        DataType::LargeUtf8 => to.extend(column.as_string::<i64>().iter().map(owned)),
        DataType::Utf8View => to.extend(column.as_string_view().iter().map(owned)),
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => {
            let Some(dictionary) = column.as_any_dictionary_opt() else { return false };
            let values = dictionary.values().as_string::<i32>();
            let keys = dictionary.normalized_keys();
            let text = |row: usize| (!column.is_null(row)).then(|| values.value(keys[row]).to_owned());
            to.extend((0..column.len()).map(text));
        }
        _ => return false,
    }
    true
}

fn whole_numbers(column: &ArrayRef) -> Result<Vec<Option<i64>>, String> {
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
    Err(format!("column `label` is {}", column.data_type()))
}
