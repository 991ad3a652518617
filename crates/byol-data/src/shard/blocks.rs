//! Row groups as blocks in memory, for sets.

use std::ops::Range;
use std::sync::Arc;

use super::labels::Values;
use super::pages;
use super::reader::{ShardReader, Want};
use super::schema::Content;
use crate::block::{Block, Spare};
use crate::range_read::Region;
use crate::{DataError, Labels};

impl ShardReader {
    pub(crate) fn name(&self) -> &str {
        &self.shard.name
    }

    pub(crate) fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }

    /// For sets that are not read to the end when they are opened: footer and length.
    pub(crate) fn layout_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for group in self.metadata.metadata().row_groups() {
            hash.update(group.num_rows().to_le_bytes());
            for column in group.columns() {
                let (from, length) = column.byte_range();
                hash.update([from, length].map(u64::to_le_bytes).concat());
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The labels of all rows; texts by their place in `names`.
    pub(crate) fn all_labels(&self, names: &[String], into: &mut Vec<Option<i64>>) -> Result<(), DataError> {
        if self.columns.label.is_none() {
            into.resize(into.len() + self.n_rows, None);
            return Ok(());
        }
        let ranges = self.shard.ranges()?;
        self.read(ranges, None, Want::Labels, 4096, &mut |batch| {
            let values = Values::of(self.column(batch, self.columns.label_name.as_deref()));
            for row in 0..batch.num_rows() {
                into.push(self.label(&values, row, names)?);
            }
            Ok(())
        })
    }

    /// Whether its labels are texts, if it has any, as those of the shards before it.
    pub(crate) fn same_kind(&self, are_texts: &mut Option<bool>) -> Result<(), DataError> {
        if *self.labels() == Labels::None {
            return Ok(());
        }
        if *are_texts.get_or_insert(self.has_texts()) == self.has_texts() {
            return Ok(());
        }
        let why = "labels are texts in one file and numbers in another".into();
        Err(DataError::Disagree { shard: self.shard.name.clone(), why })
    }

    /// One row group, its checksum verified where the file has one. Refused if its pictures
    /// are more than `limit` bytes. Memory comes from `spare`, if there is one.
    pub(crate) fn block(
        &self,
        group: usize,
        names: &[String],
        limit: u64,
        spare: Option<&Arc<Spare>>,
    ) -> Result<Block, DataError> {
        let (n_rows, size) = self.group_size(group);
        let room = |length| spare.map_or_else(|| Vec::with_capacity(length), |spare| spare.take(length));
        let Some(region) = self.region(group, limit, room)? else { return Ok(Block::default()) };
        let places = self.places(group, &region);
        let block = match places {
            Some(places) => {
                let mut block = Block::of(places, spare.cloned());
                self.read(region.clone(), Some(group), Want::NoBytes, 1024, &mut |batch| {
                    self.rows_of(batch, group, names, &mut |_, path, label, _| {
                        block.describe(path, label);
                        Ok(())
                    })
                })?;
                block.fill(region.bytes.into()); // not copied: nobody else has it
                block
            }
            None => {
                // Both are what the file says: room is made for so much and no more.
                let mut block = Block::default();
                block.reserve(usize::try_from(size).unwrap_or_default().min(64 << 20), n_rows.min(1 << 16));
                let mut total = 0;
                self.rows(region, group, names, &mut |bytes, path, label, at| {
                    let bytes = self.there(bytes, path, at)?;
                    total += (bytes.len() + path.len()) as u64;
                    if total > limit {
                        return Err(DataError::group_too_large(&self.shard.name, group, total, limit)); // pages repeat a dictionary's entries
                    }
                    block.push(bytes, path, label);
                    Ok(())
                })?;
                block
            }
        };
        if block.len() != n_rows {
            let why = format!("row group {group} has {} rows of {n_rows}", block.len());
            return Err(DataError::Damaged { shard: self.shard.name.clone(), why });
        }
        Ok(block)
    }

    /// Where the pictures of a row group of ours lie in it, so that they need not be copied.
    fn places(&self, group: usize, region: &Region) -> Option<Vec<Range<usize>>> {
        self.sums.as_ref()?;
        let about = self.metadata.metadata().row_group(group);
        let column = about.columns().iter().find(|c| c.column_path().parts() == ["image", "bytes"])?;
        let (from, length) = column.byte_range();
        let from = usize::try_from(from.checked_sub(region.start)?).ok()?;
        let chunk = region.bytes.get(from..from.checked_add(usize::try_from(length).ok()?)?)?;
        let places = pages::plain_values(chunk, usize::try_from(about.num_rows()).ok()?)?;
        // A picture has bytes.
        places
            .iter()
            .all(|p| !p.is_empty())
            .then(|| places.into_iter().map(|p| p.start + from..p.end + from).collect())
    }
}
