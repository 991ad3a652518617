use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong with a data set, sorted by whose fault it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried, for instance `reading`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A folder that was named as a data set holds none.
    #[error("{} holds no `{split}` shards: {why}", path.display())]
    NoShards {
        /// The folder.
        path: PathBuf,
        /// The split that was looked for.
        split: String,
        /// What was found instead and what to do.
        why: String,
    },
    /// A shard is damaged.
    #[error("{shard}: damaged: {why}; fetch or make this file again")]
    Damaged {
        /// The shard's file name.
        shard: String,
        /// What does not fit.
        why: String,
    },
    /// A shard is whole, but not laid out as a set of pictures.
    #[error("{shard}: {why}")]
    Layout {
        /// The shard's file name.
        shard: String,
        /// What was expected and found.
        why: String,
    },
    /// The shards of a set contradict each other.
    #[error("{shard}: {why}")]
    Disagree {
        /// The shard that differs from the first.
        shard: String,
        /// In what.
        why: String,
    },
    /// A picture cannot be decoded.
    #[error("{shard}, row {row} ({path}): {why}")]
    Picture {
        /// The shard's file name.
        shard: String,
        /// Row within the shard, from 0.
        row: usize,
        /// Path of the picture as recorded.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A picture cannot be decoded; where it came from is not known here.
    #[error("{why}")]
    Undecodable {
        /// What is wrong.
        why: String,
    },
    /// A row group is too large for a set that is read piece by piece.
    #[error(
        "{shard}: row group {group} holds {bytes} bytes, more than the {limit} that are read at once; \
         write the set anew in small row groups: cargo xtask ingest {shard} --to DIR"
    )]
    RowGroupTooLarge {
        /// The shard's file name.
        shard: String,
        /// The row group, from 0.
        group: usize,
        /// Bytes of its pictures, decompressed.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A batch cannot be made of so few samples.
    #[error("a batch of {batch} does not fit into a set of {len} pictures; use at most {len}")]
    BatchTooLarge {
        /// Samples in a global batch.
        batch: usize,
        /// Samples in the set.
        len: usize,
    },
    /// A file in a foreign format is not what it should be.
    #[error("{}: {why}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        why: String,
    },
    /// More files of a source cannot be read than is allowed.
    #[error("more than {max} files cannot be read (--max-faults); the last: {last}")]
    TooManyFaults {
        /// Files allowed.
        max: u64,
        /// The last faults.
        last: String,
    },
    /// The closure that makes a batch failed.
    #[error("{0}")]
    Sample(String),
    /// A thread could not be started.
    #[error("starting loader threads: {0}")]
    Threads(String),
    /// What a loader was asked for cannot be, or one of its threads has panicked.
    #[error("loading batches: {0}")]
    Loader(String),
}

impl DataError {
    /// Of a row group whose pictures are more than `limit` bytes.
    pub(crate) fn group_too_large(shard: &str, group: usize, bytes: u64, limit: u64) -> Self {
        Self::RowGroupTooLarge { shard: shard.to_owned(), group, bytes, limit }
    }

    /// The message with what it came from.
    pub fn full(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| DataError::Io { action, path, source }
    }
}
