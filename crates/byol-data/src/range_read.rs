//! Bytes of a range: the seam behind which files may lie anywhere.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// Something whose bytes can be read by range: a local file, an object in a store.
///
/// Reading must give the same bytes each time; reads come from several threads at once.
pub trait RangeRead: Send + Sync {
    /// How many bytes there are.
    ///
    /// # Errors
    ///
    /// What the system or the server says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// What the system or the server says; [`ErrorKind::UnexpectedEof`] if there are fewer.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A file of this machine, opened for each read: as many shards as one likes cost no
/// file handles.
#[derive(Debug, Clone)]
pub struct LocalFile(pub PathBuf);

impl RangeRead for LocalFile {
    fn size(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(&self.0)?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = File::open(&self.0)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        file.read_exact(into)
    }
}

impl RangeRead for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let range = usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(into.len())?));
        let found = range.and_then(|range| self.get(range));
        into.copy_from_slice(found.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}

/// A range reader as the Parquet crate wants it.
#[derive(Clone)]
pub(crate) struct Ranges {
    pub(crate) inner: Arc<dyn RangeRead>,
    pub(crate) size: u64,
}

impl Ranges {
    pub(crate) fn new(inner: Arc<dyn RangeRead>) -> io::Result<Self> {
        Ok(Self { size: inner.size()?, inner })
    }

    /// Bytes of a range that lies within.
    pub(crate) fn bytes(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        Ok(self.read(offset, length, Vec::with_capacity)?.into())
    }

    /// The same into an empty buffer that `room` finds for so many bytes.
    pub(crate) fn read(
        &self,
        offset: u64,
        length: u64,
        room: impl FnOnce(usize) -> Vec<u8>,
    ) -> io::Result<Vec<u8>> {
        let within = offset.checked_add(length).is_some_and(|end| end <= self.size);
        let length = usize::try_from(length).ok().filter(|_| within);
        let length = length.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
        let mut bytes = room(length);
        bytes.resize(length, 0);
        self.inner.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.size
    }
}

/// Reads on from a place, a piece at a time.
pub(crate) struct Sequential {
    ranges: Ranges,
    at: u64,
    piece: Bytes,
}

/// Bytes read ahead.
const PIECE: u64 = 128 << 10;

impl Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let length = PIECE.min(self.ranges.size.saturating_sub(self.at));
            self.piece = self.ranges.bytes(self.at, length)?;
            self.at += length;
        }
        let n = into.len().min(self.piece.len());
        into[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

impl ChunkReader for Ranges {
    type T = Sequential;

    fn get_read(&self, start: u64) -> Result<Sequential, ParquetError> {
        Ok(Sequential { ranges: self.clone(), at: start, piece: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.bytes(start, length as u64).map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// A part of a file that is in memory, under its place in the file.
#[derive(Clone)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
}

impl Length for Region {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Region {
    type T = io::Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let length = self.len().saturating_sub(start);
        Ok(io::Cursor::new(self.get_bytes(start, usize::try_from(length).unwrap_or(usize::MAX))?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.and_then(|from| Some(from..from.checked_add(length)?));
        match range.filter(|range| range.end <= self.bytes.len()) {
            Some(range) => Ok(self.bytes.slice(range)),
            None => Err(ParquetError::EOF(format!("{length} bytes from {start} are not in the row group"))),
        }
    }
}
