use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::ChunkReader;

use super::columns::{self, Columns, Found};
use super::file::Shard;
use super::footer::{check_claims, check_places, footer_text, guarded};
use super::labels::Values;
use super::pages;
use super::schema::{self, Content, Labels};
use crate::DataError;
use crate::range_read::Region;

/// Rows that are made at a time.
const ROWS: u64 = 64;
/// Bytes of them where each may be a dictionary's largest entry.
const MAX_REPEATED: u64 = 64 << 20;

/// What is done with a row: its picture if it has one, path, label, number.
type Row<'a> = dyn FnMut(Option<&[u8]>, &str, Option<i64>, usize) -> Result<(), DataError> + 'a;

/// Which columns are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    All,
    /// Paths and labels.
    #[cfg(feature = "dataset")]
    NoBytes,
    Labels,
}

/// Bytes of a row group that is read whole when a shard is read from first to last; one
/// that is larger is read a page at a time.
const WHOLE_GROUP: u64 = 256 << 20;

/// Reads one shard: ours, or any Parquet file with a column of pictures (a struct with
/// `bytes`, or plain binary) and, optionally, one of labels (whole numbers or texts).
#[derive(Debug)]
pub struct ShardReader {
    pub(super) shard: Shard,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) columns: Found,
    pub(super) sums: Option<Vec<u32>>,
    #[cfg_attr(not(feature = "dataset"), expect(dead_code, reason = "sets look at it"))]
    pub(super) content: Option<Content>,
    labels: Labels,
    pub(super) n_rows: usize,
}

impl ShardReader {
    /// Reads the footer; the columns by their usual names.
    ///
    /// # Errors
    ///
    /// If the file is cut or damaged, or has no column of pictures.
    pub fn open(shard: Shard) -> Result<Self, DataError> {
        Self::open_with(shard, &Columns::default())
    }

    /// The same with columns by name.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(shard: Shard, asked: &Columns) -> Result<Self, DataError> {
        let damaged = |why: String| DataError::Damaged { shard: shard.name.clone(), why };
        let ranges = shard.ranges()?;
        check_claims(&ranges).map_err(damaged)?;
        // Types as Parquet has them: arrow's own variants (large, view, dictionary) need no
        // cases of their own.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(&shard, || Ok(ArrowReaderMetadata::load(&ranges, options)))?
            .map_err(|e| damaged(format!("no Parquet footer can be read ({e})")))?;
        check_places(metadata.metadata(), ranges.size).map_err(damaged)?;
        let features = footer_text(metadata.metadata(), schema::FEATURES_KEY).or_else(|| {
            // Or inside arrow's own schema.
            let whole = guarded(&shard, || Ok(ArrowReaderMetadata::load(&ranges, ArrowReaderOptions::new())));
            whole.ok()?.ok()?.schema().metadata().get(schema::FEATURES_KEY).cloned()
        });
        let columns = columns::find(metadata.schema().fields(), asked, features.as_deref())
            .map_err(|why| DataError::Layout { shard: shard.name.clone(), why })?;
        let classes = columns
            .label_name
            .as_ref()
            .and_then(|column| schema::classes_from_features(features.as_deref()?, column));
        let labels = match (&columns.label, classes) {
            (None, _) => Labels::None,
            (Some(_), Some(names)) if !columns.texts => Labels::Classes(names),
            (Some(_), _) => Labels::Numbers,
        };
        let n_rows = metadata.metadata().file_metadata().num_rows();
        let n_rows = usize::try_from(n_rows).map_err(|_| damaged(format!("{n_rows} rows")))?;
        let counted: i64 = metadata.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).sum();
        if usize::try_from(counted) != Ok(n_rows) {
            return Err(damaged(format!("{n_rows} rows, and {counted} in its row groups")));
        }
        let sums = footer_text(metadata.metadata(), schema::CRC_KEY);
        let sums = sums.map(|text| serde_json::from_str::<Vec<u32>>(&text)).transpose();
        let sums = sums.map_err(|_| damaged("unreadable checksums".into()))?;
        if let Some(sums) = &sums
            && sums.len() != metadata.metadata().num_row_groups()
        {
            let groups = metadata.metadata().num_row_groups();
            return Err(damaged(format!("{} checksums for {groups} row groups", sums.len())));
        }
        let content = footer_text(metadata.metadata(), schema::CONTENT_KEY)
            .and_then(|text| Content::from_json(&text))
            .filter(|content| content.rows == n_rows as u64);
        let ours = metadata.metadata().file_metadata().created_by() == Some(schema::CREATED_BY);
        if ours && (sums.is_none() || content.is_none()) {
            return Err(damaged("its footer has lost its checksums".into()));
        }
        Ok(Self { shard, metadata, columns, sums, content, labels, n_rows })
    }

    /// Rows in the file.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// What its labels are. Texts are [`Labels::Numbers`] here until their names are
    /// collected over all shards.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Whether its labels are texts.
    pub fn has_texts(&self) -> bool {
        self.columns.texts
    }

    pub(crate) fn n_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of a row group, and the bytes of its pictures, decompressed.
    pub(crate) fn group_size(&self, group: usize) -> (usize, u64) {
        let group = self.metadata.metadata().row_group(group);
        let bytes = self.leaves(group).map(|i| group.column(i).uncompressed_size()).sum::<i64>();
        (usize::try_from(group.num_rows()).unwrap_or_default(), bytes.unsigned_abs())
    }

    /// The distinct texts of the label column, into `names`; the classes of a set are those
    /// of all its shards, sorted.
    ///
    /// # Errors
    ///
    /// If there are more than `limit`, or the column cannot be read.
    pub fn collect_texts(&self, names: &mut BTreeSet<String>, limit: usize) -> Result<(), DataError> {
        let ranges = self.shard.ranges()?;
        self.read(ranges, None, Want::Labels, 4096, &mut |batch| {
            let values = Values::of(self.column(batch, self.columns.label_name.as_deref()));
            for row in 0..batch.num_rows() {
                if let Some(text) = values.text(row)
                    && !names.contains(text)
                {
                    if names.len() >= limit {
                        let why = format!("more than {limit} different labels: are they classes?");
                        return Err(self.layout(why));
                    }
                    names.insert(text.to_owned());
                }
            }
            Ok(())
        })
    }

    /// Reads a row group whole and verifies it; nothing if it has no columns.
    pub(super) fn region(
        &self,
        group: usize,
        limit: u64,
        room: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Region>, DataError> {
        let (_, size) = self.group_size(group);
        if size > limit {
            return Err(DataError::group_too_large(&self.shard.name, group, size, limit));
        }
        let about = self.metadata.metadata().row_group(group);
        // Ours are summed whole; of others, only the columns that are read.
        let leaves: Vec<usize> = match self.sums {
            Some(_) => (0..about.num_columns()).collect(),
            None => self.leaves(about).collect(),
        };
        let (start, end) = leaves
            .iter()
            .map(|&i| about.column(i).byte_range())
            .fold((u64::MAX, 0), |(start, end), (from, length)| {
                (start.min(from), end.max(from.saturating_add(length)))
            });
        let damaged = |why: String| DataError::Damaged { shard: self.shard.name.clone(), why };
        if start > end {
            return Ok(None);
        }
        // Columns that lie in between are read with them.
        if self.sums.is_none() && end - start > limit.saturating_mul(2) {
            return Err(DataError::group_too_large(&self.shard.name, group, end - start, limit));
        }
        let bytes = self.shard.ranges()?.read(start, end - start, room);
        let bytes = Bytes::from(bytes.map_err(DataError::io("reading", &self.shard.name))?);
        if let Some(sums) = &self.sums
            && crc32fast::hash(&bytes) != sums[group]
        {
            return Err(damaged(format!("row group {group} does not match its checksum")));
        }
        if self.sums.is_none() {
            for &leaf in &leaves {
                let column = about.column(leaf);
                let (from, length) = column.byte_range();
                let at = usize::try_from(from - start).unwrap_or(usize::MAX);
                let chunk = bytes.slice(at..at + usize::try_from(length).unwrap_or_default());
                pages::check(&chunk, column.compression(), column.num_values(), limit)
                    .map_err(|why| damaged(format!("row group {group}, {}: {why}", column.column_path())))?;
            }
        }
        Ok(Some(Region { start, bytes }))
    }

    /// Calls `row` with each row's encoded picture, path and label, in order. Texts that are
    /// labels become their place in `names`.
    ///
    /// # Errors
    ///
    /// If a page is damaged or a row has no picture, or as `row` does.
    pub fn for_each(
        &self,
        names: &[String],
        mut row: impl FnMut(&[u8], &str, Option<i64>) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        self.for_each_or_fault(names, |bytes, path, label, at| row(self.there(bytes, path, at)?, path, label))
    }

    /// The same, where a row without a picture is no error: `row` is told of nothing. Its
    /// last argument is the row's number.
    pub(crate) fn for_each_or_fault(
        &self,
        names: &[String],
        mut row: impl FnMut(Option<&[u8]>, &str, Option<i64>, usize) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        for group in 0..self.n_groups() {
            if self.group_size(group).1 <= WHOLE_GROUP {
                if let Some(region) = self.region(group, WHOLE_GROUP, Vec::with_capacity)? {
                    self.rows(region, group, names, &mut row)?;
                }
            } else {
                self.rows(self.shard.ranges()?, group, names, &mut row)?;
            }
        }
        Ok(())
    }

    pub(super) fn there<'a>(
        &self,
        bytes: Option<&'a [u8]>,
        path: &str,
        at: usize,
    ) -> Result<&'a [u8], DataError> {
        let only = if path.is_empty() { "" } else { "; only its path is recorded" };
        bytes.ok_or_else(|| {
            self.layout(format!(
                "row {at} ({path}) has no picture bytes{only}; `ingest` leaves such rows out"
            ))
        })
    }

    pub(super) fn rows(
        &self,
        source: impl ChunkReader + 'static,
        group: usize,
        names: &[String],
        row: &mut Row<'_>,
    ) -> Result<(), DataError> {
        let before: i64 =
            self.metadata.metadata().row_groups()[..group].iter().map(RowGroupMetaData::num_rows).sum();
        let mut first = usize::try_from(before).unwrap_or_default();
        // A batch of rows is whole in memory, and rows may repeat an entry of a dictionary.
        let about = self.metadata.metadata().row_group(group);
        let repeats = self.leaves(about).any(|i| about.column(i).dictionary_page_offset().is_some());
        let most = if repeats { MAX_REPEATED / self.group_size(group).1.max(1) } else { ROWS };
        let n_rows = most.clamp(1, ROWS) as usize;
        self.read(source, Some(group), Want::All, n_rows, &mut |batch| {
            self.rows_of(batch, first, names, row)?;
            first += batch.num_rows();
            Ok(())
        })
    }

    /// The rows of a batch, whose first has the number `first`.
    pub(super) fn rows_of(
        &self,
        batch: &RecordBatch,
        first: usize,
        names: &[String],
        row: &mut Row<'_>,
    ) -> Result<(), DataError> {
        let damaged = |why: String| DataError::Damaged { shard: self.shard.name.clone(), why };
        let image = self.column(batch, Some(&self.columns.image_name));
        let image = image.and_then(pictures).ok_or_else(|| damaged("its column of pictures".into()))?;
        let (bytes, paths) = image;
        let labels = Values::of(self.column(batch, self.columns.label_name.as_deref()));
        for i in 0..batch.num_rows() {
            let path = paths.filter(|p| p.is_valid(i)).map_or("", |p| p.value(i));
            let bytes = bytes.filter(|b| b.is_valid(i) && !b.value(i).is_empty()).map(|b| b.value(i));
            row(bytes, path, self.label(&labels, i, names)?, first + i)?;
        }
        Ok(())
    }

    pub(super) fn read(
        &self,
        source: impl ChunkReader + 'static,
        group: Option<usize>,
        want: Want,
        n_rows: usize,
        take: &mut dyn FnMut(&RecordBatch) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let damaged = |why: String| DataError::Damaged { shard: self.shard.name.clone(), why };
        guarded(&self.shard, || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, self.metadata.clone());
            let schema = self.metadata.parquet_schema();
            let wanted = |leaf: &usize| {
                let root = schema.get_column_root_idx(*leaf);
                Some(root) == self.columns.label
                    || root == self.columns.image
                        && match want {
                            Want::All => true,
                            #[cfg(feature = "dataset")]
                            Want::NoBytes => {
                                schema.column(*leaf).path().parts().last().is_none_or(|name| name != "bytes")
                            }
                            Want::Labels => false,
                        }
            };
            let mask = ProjectionMask::leaves(schema, (0..schema.num_columns()).filter(wanted));
            let mut builder = builder.with_batch_size(n_rows).with_projection(mask);
            if let Some(group) = group {
                builder = builder.with_row_groups(vec![group]);
            }
            for batch in builder.build().map_err(|e| damaged(e.to_string()))? {
                take(&batch.map_err(|e| damaged(e.to_string()))?)?;
            }
            Ok(())
        })
    }

    pub(super) fn column<'a>(&self, batch: &'a RecordBatch, name: Option<&str>) -> Option<&'a dyn Array> {
        let position = batch.schema_ref().fields().iter().position(|f| Some(f.name().as_str()) == name);
        Some(batch.column(position?).as_ref())
    }

    pub(super) fn label(
        &self,
        values: &Values<'_>,
        row: usize,
        names: &[String],
    ) -> Result<Option<i64>, DataError> {
        if let Some(text) = values.text(row) {
            // All were collected when the set was opened.
            return Ok(names.binary_search_by(|name| name.as_str().cmp(text)).ok().map(|i| i as i64));
        }
        let label = values.number(row).filter(|&label| label >= 0); // −1 is unknown in the Hub's sets
        if let (Some(label), Labels::Classes(classes)) = (label, &self.labels)
            && usize::try_from(label).is_ok_and(|label| label >= classes.len())
        {
            return Err(self.layout(format!("label {label}, but only {} class names", classes.len())));
        }
        Ok(label)
    }

    pub(super) fn layout(&self, why: String) -> DataError {
        DataError::Layout { shard: self.shard.name.clone(), why }
    }

    /// Numbers of the leaf columns that are read.
    pub(super) fn leaves<'a>(&'a self, group: &'a RowGroupMetaData) -> impl Iterator<Item = usize> + 'a {
        let schema = group.schema_descr();
        (0..group.num_columns()).filter(move |&leaf| {
            let root = schema.get_column_root_idx(leaf);
            root == self.columns.image || Some(root) == self.columns.label
        })
    }
}

/// The arrays of pictures and paths, those of them that were read.
fn pictures(column: &dyn Array) -> Option<(Option<&BinaryArray>, Option<&StringArray>)> {
    if let Some(image) = column.as_struct_opt() {
        let bytes = image.column_by_name("bytes").and_then(|b| b.as_binary_opt());
        Some((bytes, image.column_by_name("path").and_then(|p| p.as_string_opt())))
    } else {
        Some((Some(column.as_binary_opt()?), None))
    }
}
