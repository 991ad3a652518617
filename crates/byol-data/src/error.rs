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
    /// More encoded bytes than the set may hold in memory.
    #[error(
        "{}: {bytes} bytes of encoded pictures, more than the {limit} that are held in memory; \
         use fewer or smaller pictures",
        path.display()
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// Bytes found so far.
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
    /// The closure that makes a batch failed.
    #[error("{0}")]
    Sample(String),
    /// A thread could not be started.
    #[error("starting loader threads: {0}")]
    Threads(String),
}

impl DataError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| DataError::Io { action, path, source }
    }
}
