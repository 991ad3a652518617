//! What a Parquet footer says, and whether it can be true.

use parquet::file::metadata::ParquetMetaData;

use super::file::Shard;
use super::thrift::Compact;
use crate::range_read::Ranges;
use crate::{DataError, guard};

/// Checks that no list of the footer claims to be longer than the footer, and no column of the
/// schema to have more children than there are columns.
pub(super) fn check_claims(ranges: &Ranges) -> Result<(), String> {
    let unreadable = || "no Parquet footer can be read".to_owned();
    let end = ranges.size.checked_sub(8).ok_or_else(unreadable)?;
    let tail = ranges.bytes(end, 8).map_err(|e| e.to_string())?;
    if tail[4..] != *b"PAR1" {
        return Ok(()); // the Parquet crate says what it is
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = end.checked_sub(length).ok_or_else(unreadable)?;
    let footer = ranges.bytes(start, length).map_err(|e| e.to_string())?;
    claims(&footer).ok_or_else(|| "its Parquet footer contradicts itself".to_owned())
}

fn claims(footer: &[u8]) -> Option<()> {
    let mut reader = Compact::at(footer, 0);
    let mut last = 0;
    while let Some((number, kind)) = reader.field(&mut last)? {
        if (number, kind) != (2, 9) {
            reader.skip(kind)?;
            continue;
        }
        let (n_columns, kind) = reader.list()?;
        if kind != 12 {
            return None;
        }
        for _ in 0..n_columns {
            let mut last = 0;
            while let Some((number, kind)) = reader.field(&mut last)? {
                if (number, kind) == (5, 5) {
                    let n_children = u64::try_from(reader.signed()?).ok()?;
                    (n_children <= n_columns).then_some(())?;
                } else {
                    reader.skip(kind)?;
                }
            }
        }
    }
    Some(())
}

/// Reads by the Parquet crate.
pub(super) fn guarded<T>(shard: &Shard, read: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    guard::guarded(read).unwrap_or_else(|| {
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
