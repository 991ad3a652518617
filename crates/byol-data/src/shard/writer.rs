use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::schema;
use crate::{DataError, NewSample};

/// Rows in a row group: small enough to read one without its neighbours' weight.
const ROWS_PER_GROUP: usize = 1024;
/// Bytes in a page of pictures.
const PAGE_BYTES: usize = 64 * 1024;

/// Writes one shard, in memory. The same samples give the same bytes.
#[derive(Debug)]
pub struct ShardWriter {
    classes: Vec<String>,
    bytes: BinaryBuilder,
    paths: StringBuilder,
    labels: Int64Builder,
    labelled: bool,
    n_rows: usize,
}

impl ShardWriter {
    /// A shard whose labels are indices into `classes`. With no classes, labels
    /// are plain numbers, and without any label there is no label column.
    pub fn new(classes: &[String]) -> Self {
        Self {
            classes: classes.to_vec(),
            bytes: BinaryBuilder::new(),
            paths: StringBuilder::new(),
            labels: Int64Builder::new(),
            labelled: !classes.is_empty(),
            n_rows: 0,
        }
    }

    /// Adds a picture.
    ///
    /// # Errors
    ///
    /// If its label is not a class.
    pub fn push(&mut self, sample: NewSample<'_>) -> Result<(), DataError> {
        if let Some(label) = sample.label {
            let known = usize::try_from(label).is_ok_and(|l| l < self.classes.len());
            if !self.classes.is_empty() && !known {
                return Err(DataError::Layout {
                    shard: sample.path.to_owned(),
                    why: format!("label {label}, but there are {} classes", self.classes.len()),
                });
            }
            self.labelled = true;
        }
        self.bytes.append_value(sample.bytes);
        self.paths.append_value(sample.path);
        self.labels.append_option(sample.label);
        self.n_rows += 1;
        Ok(())
    }

    /// Pictures so far.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// The bytes of the Parquet file.
    ///
    /// # Errors
    ///
    /// If the pictures together pass what a Parquet column can hold.
    pub fn finish(mut self) -> Result<Vec<u8>, DataError> {
        let schema = schema::schema(self.labelled, &self.classes);
        let image = StructArray::new(
            schema::image_fields(),
            vec![Arc::new(self.bytes.finish()) as ArrayRef, Arc::new(self.paths.finish())],
            None,
        );
        let mut columns: Vec<ArrayRef> = vec![Arc::new(image)];
        if self.labelled {
            columns.push(Arc::new(self.labels.finish()));
        }
        let failed = |e: String| DataError::Layout { shard: "new shard".into(), why: e };
        let rows = RecordBatch::try_new(schema.clone(), columns).map_err(|e| failed(e.to_string()))?;
        let features = schema::features_json(self.labelled, &self.classes);
        let pictures = ColumnPath::from(vec!["image".to_owned(), "bytes".to_owned()]);
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by("byol-data".to_owned())
            .set_compression(Compression::UNCOMPRESSED)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_write_batch_size(16)
            .set_column_dictionary_enabled(pictures.clone(), false)
            .set_column_statistics_enabled(pictures, EnabledStatistics::None)
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
            .set_key_value_metadata(Some(vec![KeyValue::new(schema::FEATURES_KEY.to_owned(), features)]))
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(|e| failed(e.to_string()))?;
        writer.sync().map_err(|e| failed(e.to_string()))?;
        let (mut sums, mut start) = (Vec::new(), writer.inner().len());
        for from in (0..rows.num_rows()).step_by(ROWS_PER_GROUP) {
            let group = rows.slice(from, ROWS_PER_GROUP.min(rows.num_rows() - from));
            writer.write(&group).and_then(|()| writer.flush()).map_err(|e| failed(e.to_string()))?;
            writer.sync().map_err(|e| failed(e.to_string()))?;
            let end = writer.inner().len();
            sums.push(crc32fast::hash(&writer.inner()[start..end]));
            start = end;
        }
        // A list of numbers cannot fail to become JSON.
        let sums = serde_json::to_string(&sums).unwrap_or_default();
        writer.append_key_value_metadata(KeyValue::new(schema::CRC_KEY.to_owned(), sums));
        writer.into_inner().map_err(|e| failed(e.to_string()))
    }
}
