use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::schema::{self, Content, Labels};
use crate::fingerprint::Fingerprint;
use crate::{DataError, NewSample};

/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 1024;
/// Bytes of pictures in a row group, which is what streaming reads at once: a megabyte
/// costs a disk no more than a seek, and windows of many hold pictures from many places.
pub const ROW_GROUP_BYTES: usize = 1 << 20;
/// Bytes in a page of pictures.
const PAGE_BYTES: usize = 64 * 1024;

/// Writes one shard, a row group at a time. The same samples give the same bytes.
#[derive(Debug)]
pub struct ShardWriter<W: Write + Send> {
    writer: ArrowWriter<Tracked<W>>,
    name: String,
    labels: Labels,
    group: Group,
    sums: Vec<u32>,
    fingerprint: Fingerprint,
    channels: Option<usize>,
    n_bytes: u64,
    failure: Failure,
}

#[derive(Debug, Default)]
struct Group {
    bytes: BinaryBuilder,
    paths: StringBuilder,
    labels: Int64Builder,
    n_rows: usize,
    n_bytes: usize,
}

impl ShardWriter<Vec<u8>> {
    /// A shard in memory.
    ///
    /// # Errors
    ///
    /// None that are known of.
    pub fn in_memory(labels: Labels) -> Result<Self, DataError> {
        Self::new(Vec::new(), "a shard in memory", labels)
    }
}

impl<W: Write + Send> ShardWriter<W> {
    /// A shard that goes to `out`; `name` is for messages.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn new(out: W, name: &str, labels: Labels) -> Result<Self, DataError> {
        let column =
            |parts: &[&str]| ColumnPath::from(parts.iter().map(ToString::to_string).collect::<Vec<_>>());
        let pictures = column(&["image", "bytes"]);
        let features = schema::features_json(&labels);
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_created_by(schema::CREATED_BY.to_owned())
            .set_compression(Compression::UNCOMPRESSED)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_write_batch_size(16)
            .set_column_dictionary_enabled(pictures.clone(), false)
            .set_column_dictionary_enabled(column(&["image", "path"]), false)
            .set_column_statistics_enabled(pictures, EnabledStatistics::None)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata(Some(vec![KeyValue::new(schema::FEATURES_KEY.to_owned(), features)]))
            .build();
        let failure = Failure::default();
        let tracked = Tracked { out, crc: crc32fast::Hasher::new(), failure: failure.clone() };
        let mut writer = ArrowWriter::try_new(tracked, schema::schema(&labels), Some(properties))
            .and_then(|mut writer| Ok(writer.sync().map(|()| writer)?))
            .map_err(|e| DataError::Layout { shard: name.to_owned(), why: e.to_string() })?;
        let _ = writer.inner_mut().take_crc(); // of the magic number
        Ok(Self {
            writer,
            name: name.to_owned(),
            labels,
            group: Group::default(),
            sums: Vec::new(),
            fingerprint: Fingerprint::default(),
            channels: None,
            n_bytes: 0,
            failure,
        })
    }

    /// Adds a picture.
    ///
    /// # Errors
    ///
    /// If its label is not a class, or the shard cannot be written.
    pub fn push(&mut self, sample: NewSample<'_>) -> Result<(), DataError> {
        if let Some(label) = sample.label {
            let refused = |why| DataError::Layout { shard: sample.path.to_owned(), why };
            match &self.labels {
                Labels::None => return Err(refused(format!("label {label} in a set without labels"))),
                Labels::Numbers => {}
                Labels::Classes(names) if usize::try_from(label).is_ok_and(|l| l < names.len()) => {}
                Labels::Classes(names) => {
                    return Err(refused(format!("label {label}, but there are {} classes", names.len())));
                }
            }
        }
        let full = self.group.n_rows == ROW_GROUP_ROWS
            || self.group.n_bytes + sample.bytes.len() > ROW_GROUP_BYTES && self.group.n_rows > 0;
        if full {
            self.flush()?;
        }
        self.group.bytes.append_value(sample.bytes);
        self.group.paths.append_value(sample.path);
        self.group.labels.append_option(sample.label);
        self.group.n_rows += 1;
        self.group.n_bytes += sample.bytes.len();
        self.n_bytes += sample.bytes.len() as u64;
        self.fingerprint.push(sample.bytes, sample.label);
        Ok(())
    }

    /// Records that the pictures have been looked at and none has more channels than this.
    pub fn set_channels(&mut self, channels: usize) {
        self.channels = Some(channels);
    }

    /// Pictures so far.
    pub fn len(&self) -> usize {
        self.fingerprint.n() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of pictures so far.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Writes what is left and the footer, and gives back what was written to.
    ///
    /// # Errors
    ///
    /// If the shard cannot be written.
    pub fn finish(mut self) -> Result<W, DataError> {
        self.flush()?;
        let content = Content {
            fingerprint: self.fingerprint.hex(),
            rows: self.fingerprint.n(),
            channels: self.channels,
        };
        let content = content.to_json();
        let sums = serde_json::to_string(&self.sums).unwrap_or_default(); // numbers always can
        self.writer.append_key_value_metadata(KeyValue::new(schema::CRC_KEY.to_owned(), sums));
        self.writer.append_key_value_metadata(KeyValue::new(schema::CONTENT_KEY.to_owned(), content));
        let failure = self.failure.clone();
        match self.writer.into_inner() {
            Ok(tracked) => Ok(tracked.out),
            Err(error) => Err(failed(&failure, &self.name, &error)),
        }
    }

    fn flush(&mut self) -> Result<(), DataError> {
        if self.group.n_rows == 0 {
            return Ok(());
        }
        let mut group = std::mem::take(&mut self.group);
        let image = StructArray::new(
            schema::image_fields(),
            vec![Arc::new(group.bytes.finish()) as ArrayRef, Arc::new(group.paths.finish())],
            None,
        );
        let mut columns: Vec<ArrayRef> = vec![Arc::new(image)];
        if self.labels != Labels::None {
            columns.push(Arc::new(group.labels.finish()));
        }
        let written = RecordBatch::try_new(schema::schema(&self.labels), columns)
            .map_err(ParquetError::from)
            .and_then(|rows| self.writer.write(&rows))
            .and_then(|()| self.writer.flush())
            .and_then(|()| Ok(self.writer.sync()?));
        if let Err(error) = written {
            return Err(failed(&self.failure, &self.name, &error));
        }
        self.sums.push(self.writer.inner_mut().take_crc());
        Ok(())
    }
}

/// Where the system's error is kept while the Parquet crate passes its own on.
type Failure = Arc<Mutex<Option<io::Error>>>;

/// What the system said, rather than how the Parquet crate puts it.
fn failed(failure: &Failure, name: &str, error: &ParquetError) -> DataError {
    match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(source) => DataError::Io { action: "writing", path: name.into(), source },
        None => DataError::Layout { shard: name.to_owned(), why: error.to_string() },
    }
}

/// Sums what is written, and keeps the system's error.
#[derive(Debug)]
struct Tracked<W> {
    out: W,
    crc: crc32fast::Hasher,
    failure: Failure,
}

impl<W> Tracked<W> {
    fn take_crc(&mut self) -> u32 {
        std::mem::take(&mut self.crc).finalize()
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|e| {
            let kept = e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error);
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        })
    }
}

impl<W: Write> Write for Tracked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        let n = self.noted(written)?;
        self.crc.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.noted(flushed)
    }
}
