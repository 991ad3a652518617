use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;

use super::schema;
use crate::DataError;

/// A Parquet file in memory and the name to use in messages.
#[derive(Debug, Clone)]
pub struct Shard {
    /// File name.
    pub name: String,
    /// The whole file.
    pub bytes: Bytes,
}

/// Reads one shard: ours, or any Parquet file with an `image` column (a struct
/// with `bytes`, or plain binary) and, optionally, a `label` column of integers.
#[derive(Debug)]
pub struct ShardReader {
    shard: Shard,
    metadata: ArrowReaderMetadata,
    /// Class names, where the file has them.
    pub classes: Vec<String>,
    /// Rows in the file.
    pub n_rows: usize,
    /// Whether there is a label column.
    pub labelled: bool,
}

impl ShardReader {
    /// Reads the footer and verifies the checksums of the rows.
    ///
    /// # Errors
    ///
    /// If the file is cut or damaged, or has no column of pictures.
    pub fn open(shard: Shard) -> Result<Self, DataError> {
        let damaged = |why: String| DataError::Damaged { shard: shard.name.clone(), why };
        // Types as Parquet has them: arrow's own variants (large, view,
        // dictionary) need no cases of their own.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&shard.bytes, options)
            .map_err(|e| damaged(format!("no Parquet footer can be read ({e})")))?;
        verify_crc(&shard, metadata.metadata())?;
        let layout = |why: String| DataError::Layout { shard: shard.name.clone(), why };
        let columns = metadata.schema().fields();
        let names = columns.iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        let image = columns
            .iter()
            .find(|f| f.name() == "image")
            .ok_or_else(|| layout(format!("no column `image`, only: {names}")))?;
        match image.data_type() {
            DataType::Binary => {}
            DataType::Struct(fields)
                if fields.iter().any(|f| f.name() == "bytes" && *f.data_type() == DataType::Binary) => {}
            other => {
                return Err(layout(format!(
                    "column `image` is {other}, expected binary or a struct with binary `bytes`"
                )));
            }
        }
        let label = columns.iter().find(|f| f.name() == "label");
        if let Some(field) = label.filter(|f| !f.data_type().is_integer() && *f.data_type() != DataType::Null)
        {
            return Err(layout(format!("column `label` is {}, expected integers", field.data_type())));
        }
        let classes = feature_text(&shard, &metadata)
            .and_then(|text| schema::classes_from_features(&text))
            .unwrap_or_default();
        let n_rows = metadata.metadata().file_metadata().num_rows();
        let n_rows = usize::try_from(n_rows).map_err(|_| damaged(format!("{n_rows} rows")))?;
        let labelled = label.is_some();
        Ok(Self { shard, metadata, classes, n_rows, labelled })
    }

    /// Calls `row` with each row's encoded picture, path and label, in order.
    ///
    /// # Errors
    ///
    /// If a page is damaged or a row has no picture, or as `row` does.
    pub fn for_each(
        &self,
        mut row: impl FnMut(&[u8], &str, Option<i64>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let damaged = |why: String| DataError::Damaged { shard: self.shard.name.clone(), why };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.shard.bytes.clone(),
            self.metadata.clone(),
        )
        .with_batch_size(256)
        .build()
        .map_err(|e| damaged(e.to_string()))?;
        let mut at = 0;
        for batch in reader {
            let batch = batch.map_err(|e| damaged(format!("row {at} and following: {e}")))?;
            let (bytes, paths) = pictures(&batch).ok_or_else(|| damaged("column `image`".into()))?;
            for i in 0..batch.num_rows() {
                if bytes.is_null(i) || bytes.value(i).is_empty() {
                    let path = paths.filter(|p| p.is_valid(i)).map_or("", |p| p.value(i));
                    return Err(DataError::Layout {
                        shard: self.shard.name.clone(),
                        why: format!("row {at} ({path}) has no picture bytes"),
                    });
                }
                let path = paths.filter(|p| p.is_valid(i)).map_or("", |p| p.value(i));
                row(bytes.value(i), path, label(&batch, i))?;
                at += 1;
            }
        }
        Ok(())
    }
}

fn pictures(batch: &RecordBatch) -> Option<(&BinaryArray, Option<&StringArray>)> {
    let column = batch.column_by_name("image")?;
    if let Some(image) = column.as_struct_opt() {
        let bytes = image.column_by_name("bytes")?.as_binary_opt()?;
        Some((bytes, image.column_by_name("path").and_then(|p| p.as_string_opt())))
    } else {
        Some((column.as_binary_opt()?, None))
    }
}

fn label(batch: &RecordBatch, i: usize) -> Option<i64> {
    let column = batch.column_by_name("label")?;
    if column.is_null(i) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().value(i).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(i).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(i).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(i),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(i).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(i).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(i).into(),
        _ => return None,
    })
}

/// The feature description stands in the footer, or inside arrow's own schema.
fn feature_text(shard: &Shard, metadata: &ArrowReaderMetadata) -> Option<String> {
    let in_footer = metadata
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|kv| kv.key == schema::FEATURES_KEY))
        .and_then(|kv| kv.value.clone());
    in_footer.or_else(|| {
        let whole = ArrowReaderMetadata::load(&shard.bytes, ArrowReaderOptions::new()).ok()?;
        whole.schema().metadata().get(schema::FEATURES_KEY).cloned()
    })
}

/// Compares each row group's bytes with the CRC-32 that our writer recorded.
fn verify_crc(shard: &Shard, metadata: &ParquetMetaData) -> Result<(), DataError> {
    let Some(text) = metadata
        .file_metadata()
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|kv| kv.key == schema::CRC_KEY))
        .and_then(|kv| kv.value.as_deref())
    else {
        return Ok(()); // somebody else's file
    };
    let damaged = |why: String| DataError::Damaged { shard: shard.name.clone(), why };
    let sums: Vec<u32> = serde_json::from_str(text).map_err(|_| damaged("unreadable checksums".into()))?;
    if sums.len() != metadata.num_row_groups() {
        return Err(damaged(format!(
            "{} checksums for {} row groups",
            sums.len(),
            metadata.num_row_groups()
        )));
    }
    for (i, (group, expected)) in metadata.row_groups().iter().zip(sums).enumerate() {
        let ranges = group.columns().iter().map(|column| column.byte_range());
        let (start, end) = ranges.fold((u64::MAX, 0u64), |(start, end), (from, length)| {
            (start.min(from), end.max(from.saturating_add(length)))
        });
        let bytes = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| shard.bytes.get(start..end))
            .ok_or_else(|| damaged(format!("row group {i} lies outside of the file")))?;
        if crc32fast::hash(bytes) != expected {
            return Err(damaged(format!("row group {i} does not match its checksum")));
        }
    }
    Ok(())
}
