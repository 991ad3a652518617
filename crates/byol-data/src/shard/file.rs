use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::range_read::{LocalFile, Ranges};
use crate::{DataError, RangeRead};

/// A Parquet file and the name to use in messages.
#[derive(Clone)]
pub struct Shard {
    /// File name.
    pub name: String,
    source: Arc<dyn RangeRead>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shard {
    /// A file on this machine.
    pub fn local(path: &Path) -> Self {
        Self { name: path.display().to_string(), source: Arc::new(LocalFile(path.into())) }
    }

    /// A file in memory.
    pub fn in_memory(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), source: Arc::new(Bytes::from(bytes.into())) }
    }

    /// A file in the program itself.
    pub fn built_in(name: &str, bytes: &'static [u8]) -> Self {
        Self { name: name.to_owned(), source: Arc::new(Bytes::from_static(bytes)) }
    }

    /// A file that lies wherever `source` reads it from.
    pub fn remote(name: &str, source: Arc<dyn RangeRead>) -> Self {
        Self { name: name.to_owned(), source }
    }

    pub(super) fn ranges(&self) -> Result<Ranges, DataError> {
        Ranges::new(self.source.clone()).map_err(DataError::io("reading", &self.name))
    }
}
