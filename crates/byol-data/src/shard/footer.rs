//! What a Parquet footer says, and whether it can be true.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::file::metadata::ParquetMetaData;

use super::file::Shard;
use crate::DataError;

/// The Parquet crate is careful and not proof: bytes that make it panic are damaged bytes.
pub(super) fn guarded<T>(shard: &Shard, read: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let why = "its pages contradict each other (the Parquet reader stopped)".into();
        Err(DataError::Damaged { shard: shard.name.clone(), why })
    })
}

pub(super) fn check_places(metadata: &ParquetMetaData, size: u64) -> Result<(), String> {
    for (i, group) in metadata.row_groups().iter().enumerate() {
        for column in group.columns() {
            // `byte_range` asserts that neither is negative.
            let (from, length) = (column.dictionary_page_offset(), column.compressed_size());
            let from = from.unwrap_or_else(|| column.data_page_offset());
            let end = u64::try_from(from).ok().zip(u64::try_from(length).ok());
            if end.and_then(|(from, length)| from.checked_add(length)).is_none_or(|end| end > size) {
                return Err(format!("row group {i}, {} lies outside of the file", column.column_path()));
            }
        }
        if group.num_rows() < 0 || group.columns().iter().any(|c| c.uncompressed_size() < 0) {
            return Err(format!("row group {i} of {} rows", group.num_rows()));
        }
    }
    Ok(())
}

pub(super) fn footer_text(metadata: &ParquetMetaData, key: &str) -> Option<String> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.clone()
}

/// What stands under a key as JSON; nothing where the key is not there.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(
    metadata: &ParquetMetaData,
    key: &str,
) -> Result<Option<T>, ()> {
    footer_text(metadata, key).map(|text| serde_json::from_str(&text).map_err(|_| ())).transpose()
}
