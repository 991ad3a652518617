use std::sync::Arc;

use crate::block::Block;

/// A picture's number within its split, counted over all shards in order. It
/// stays the same when the split is written as more or fewer shards.
pub type SampleId = u64;

/// A picture of a set, still encoded. Holds the memory that it lies in, which is shared
/// with its neighbours.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Number within the split.
    pub id: SampleId,
    pub(crate) block: Arc<Block>,
    pub(crate) row: usize,
}

impl Sample {
    /// The encoded picture (PNG, JPEG …).
    pub fn bytes(&self) -> &[u8] {
        self.block.bytes(self.row)
    }

    /// The path that was recorded with it; may be empty.
    pub fn path(&self) -> &str {
        self.block.path(self.row)
    }

    /// The class, where known.
    pub fn label(&self) -> Option<i64> {
        self.block.label(self.row)
    }
}

/// A picture to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSample<'a> {
    /// The encoded picture.
    pub bytes: &'a [u8],
    /// A name to record with it.
    pub path: &'a str,
    /// The class, where known.
    pub label: Option<i64>,
}
