//! Embeddings as Parquet, which any reader of it can join, filter and search.

mod columns;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use byol_data::guarded;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use self::columns::Columns;
use crate::{EvalError, Features};

/// Rows in a row group: 16 MiB of 512 features.
const ROW_GROUP_ROWS: usize = 8192;
/// Footer key of the names of classes, as the `datasets` library has it.
const FEATURES_KEY: &str = "huggingface";

/// What a row is beside its embedding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowInfo {
    /// Where its picture was.
    pub path: Option<String>,
    /// Its class, where it is known.
    pub label: Option<i64>,
    /// The split it belongs to.
    pub split: Option<String>,
}

/// Writes embeddings: the columns `path`, `label` (null where unknown), `split` and
/// `embedding` (a fixed-size list of `f32`).
#[derive(Debug)]
pub struct EmbeddingsWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    dim: usize,
}

impl<W: Write + Send> EmbeddingsWriter<W> {
    /// Rows of `dim` values to `out`; `classes` are names of labels (none, and labels are
    /// numbers), `about` goes to the footer.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written, or `dim` is 0 or beyond what Parquet can hold.
    pub fn new(
        out: W,
        dim: usize,
        classes: &[String],
        about: &BTreeMap<String, String>,
    ) -> Result<Self, EvalError> {
        let width = i32::try_from(dim).ok().filter(|dim| *dim > 0);
        let width = width.ok_or(EvalError::Shape { dim, values: 0 })?;
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let mut about = about.clone();
        if !classes.is_empty() {
            about.insert(FEATURES_KEY.to_owned(), named_classes(classes, dim));
        }
        let footer: Vec<KeyValue> =
            about.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        let fields = vec![
            Field::new("path", DataType::Utf8, true),
            Field::new("label", DataType::Int64, true),
            Field::new("split", DataType::Utf8, true),
            Field::new("embedding", DataType::FixedSizeList(item, width), false),
        ];
        let metadata: HashMap<String, String> = about.into_iter().collect();
        let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
        let properties = WriterProperties::builder()
            .set_created_by("byol-eval".into())
            .set_compression(Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled("embedding.list.item".into(), false)
            .set_column_statistics_enabled("embedding.list.item".into(), EnabledStatistics::None)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata(Some(footer))
            .build();
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(writing)?;
        Ok(Self { writer, schema, dim })
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// If there is not an info for each row of `features`, or they cannot be written.
    pub fn push(&mut self, infos: &[RowInfo], features: &Features) -> Result<(), EvalError> {
        if infos.len() != features.len() || features.dim() != self.dim {
            let (n, dim) = (features.len(), features.dim());
            return Err(EvalError::Disagree(format!("{} infos for {n} rows of {dim}", infos.len())));
        }
        let (mut paths, mut labels, mut splits) =
            (StringBuilder::new(), Int64Builder::new(), StringBuilder::new());
        for info in infos {
            paths.append_option(info.path.as_deref());
            labels.append_option(info.label);
            splits.append_option(info.split.as_deref());
        }
        let values: ArrayRef = Arc::new(Float32Array::from(features.values().to_vec()));
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        // Cannot fail: dim was found to fit when the writer was made.
        let width = i32::try_from(self.dim).unwrap_or(i32::MAX);
        let embeddings = FixedSizeListArray::try_new(item, width, values, None).map_err(writing)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(paths.finish()),
            Arc::new(labels.finish()),
            Arc::new(splits.finish()),
            Arc::new(embeddings),
        ];
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(writing)?;
        self.writer.write(&batch).map_err(writing)
    }

    /// Writes the footer and gives `out` back.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(self) -> Result<W, EvalError> {
        self.writer.into_inner().map_err(writing)
    }
}

fn writing(error: impl std::fmt::Display) -> EvalError {
    EvalError::Embeddings { what: "writing embeddings".into(), why: error.to_string() }
}

/// The description of columns that the `datasets` library reads.
fn named_classes(classes: &[String], dim: usize) -> String {
    let value = |dtype: &str| serde_json::json!({ "dtype": dtype, "_type": "Value" });
    serde_json::json!({ "info": { "features": {
        "path": value("string"),
        "label": { "names": classes, "_type": "ClassLabel" },
        "split": value("string"),
        "embedding": { "feature": value("float32"), "length": dim, "_type": "List" },
    } } })
    .to_string()
}

/// A file of embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// The rows.
    pub features: Features,
    /// What they are; labels count from 0.
    pub infos: Vec<RowInfo>,
    /// Names of the classes; none where labels are numbers without names.
    pub classes: Vec<String>,
    /// What the footer says besides.
    pub about: BTreeMap<String, String>,
}

impl Embeddings {
    /// Reads a Parquet file of anybody: the column `embedding` (or the only one that is a list of
    /// numbers) holds lists of 16, 32 or 64-bit floats, all of one length. `label` may be whole
    /// numbers (as floats too) or texts, which become classes in the order of the alphabet; `split` and `path` are
    /// texts. Only `embedding` must be there.
    ///
    /// # Errors
    ///
    /// Naming file, column and row: if it is no such file, or a value is missing or no number.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let failed = |why: String| EvalError::Embeddings { what: format!("reading {}", path.display()), why };
        let file = File::open(path).map_err(|e| failed(e.to_string()))?;
        let read = guarded(|| read(file)).ok_or_else(|| "the file is damaged".to_owned());
        read.and_then(|read| read).map_err(failed)
    }
}

fn read(file: File) -> Result<Embeddings, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| e.to_string())?;
    let schema = builder.schema().clone();
    let which = embedding_column(&schema)?;
    let footer = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let mut about: BTreeMap<String, String> =
        footer.into_iter().filter_map(|entry| Some((entry.key, entry.value?))).collect();
    about.remove("ARROW:schema");
    let mut classes = about.remove(FEATURES_KEY).map_or_else(Vec::new, |json| classes_of(&json));
    let mut columns = Columns::default();
    for batch in builder.build().map_err(|e| e.to_string())? {
        columns.add(&batch.map_err(|e| e.to_string())?, which)?;
    }
    let n = columns.values.len().checked_div(columns.dim).unwrap_or(0);
    if n == 0 {
        return Err("there are no rows".into());
    }
    if columns.names.iter().any(Option::is_some) {
        classes = columns.names.iter().flatten().cloned().collect();
        classes.sort_unstable();
        classes.dedup();
        let number = |name: &Option<String>| {
            let found = classes.binary_search(name.as_ref()?).ok()?;
            i64::try_from(found).ok()
        };
        columns.labels = columns.names.iter().map(number).collect();
    }
    let text = |texts: &mut Vec<Option<String>>, row: usize| texts.get_mut(row).and_then(Option::take);
    let infos = (0..n).map(|row| RowInfo {
        path: text(&mut columns.paths, row),
        label: columns.labels.get(row).copied().flatten(),
        split: text(&mut columns.splits, row),
    });
    let infos = infos.collect();
    let features = Features::new(columns.dim, columns.values).map_err(|e| e.to_string())?;
    Ok(Embeddings { features, infos, classes, about })
}

/// `embedding`, or the only list of floats.
fn embedding_column(schema: &Schema) -> Result<usize, String> {
    let is_list = |field: &Field| match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            matches!(item.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64)
        }
        _ => false,
    };
    let fields = || schema.fields().iter().enumerate();
    if let Some((which, field)) = fields().find(|(_, field)| field.name() == "embedding") {
        return if is_list(field) {
            Ok(which)
        } else {
            Err(format!(
                "column `embedding` is {}, expected lists of 16, 32 or 64-bit floats",
                field.data_type()
            ))
        };
    }
    let lists: Vec<usize> = fields().filter(|(_, field)| is_list(field)).map(|(which, _)| which).collect();
    match lists.as_slice() {
        [one] => Ok(*one),
        _ => {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Err(format!(
                "which column holds the embeddings? Expected `embedding`, or one that is a list of floats; \
                 there are {names:?}"
            ))
        }
    }
}

/// Names of classes in the `datasets` library's description.
fn classes_of(json: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let names = json["info"]["features"]["label"]["names"].as_array();
    names.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(path: &str, label: Option<i64>, split: &str) -> RowInfo {
        RowInfo { path: Some(path.into()), label, split: Some(split.into()) }
    }

    fn written(bytes: &[u8]) -> Result<Embeddings, EvalError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Embeddings::read(file.path())
    }

    #[test]
    fn what_is_written_is_read() {
        let classes = ["bag".to_owned(), "boot".to_owned()];
        let about = BTreeMap::from([("byol.weights".to_owned(), "abc".to_owned())]);
        let mut writer = EmbeddingsWriter::new(Vec::new(), 2, &classes, &about).unwrap();
        let infos = [info("a.png", Some(1), "train"), info("b.png", None, "test"), RowInfo::default()];
        let features = Features::new(2, vec![1.0, 2.0, 3.0, 4.0, -5.0, 6.5]).unwrap();
        writer.push(&infos, &features).unwrap();
        assert!(writer.push(&infos[1..], &features).is_err());
        let bytes = writer.finish().unwrap();
        let read = written(&bytes).unwrap();
        assert_eq!(read, Embeddings { features, infos: infos.into(), classes: classes.into(), about });
        for cut in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            assert!(written(&bytes[..cut]).is_err(), "the first {cut} bytes");
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = written(&damaged); // a result or an error, and no panic
        }
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let error = Embeddings::read(Path::new("/no/such.parquet")).unwrap_err().to_string();
        assert!(error.contains("/no/such.parquet"), "{error}");
    }
}
