//! Making shards of pictures as they come.
//!
//! [`ingest`] reads a source (a folder, a table of paths, an archive, Parquet of any
//! layout, the files of MNIST, CIFAR or STL-10), looks at every picture, and writes shards.
//! The same source gives the same bytes, whatever the number of threads and however often
//! it was killed and begun again.

mod archive;
mod cifar;
mod folder;
pub mod idx;
mod journal;
pub mod mat;
mod output;
mod parquet;
mod place;
mod png;
mod prepare;
mod source;
mod stl;
mod table;
mod tar_names;
mod unpack;
mod work;

pub use place::Assignment;
pub use png::smallest_grey_png;
pub use source::Format;
pub use unpack::{extract, members};
pub use work::{Fault, IngestReport, check, ingest};

use std::collections::BTreeMap;

use crate::{Columns, Limits, Rules};

/// What is to be made of a source.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// What the source is; recognised where nothing is said.
    pub format: Option<Format>,
    /// Names of the columns of tables and Parquet files, where they are unusual.
    pub columns: Columns,
    /// Longest side; larger pictures are shrunk (Lanczos, three lobes).
    pub max_side: Option<u32>,
    /// Makes all pictures grey (Rec. 601 luma).
    pub grey: bool,
    /// The share of `train` that becomes `validation`, chosen by what the pictures show, so
    /// that copies of one picture go the same way.
    pub val: f64,
    /// Leaves out pictures whose pixels have been there before.
    pub dedup: bool,
    /// Gives up when more files than this cannot be read.
    pub max_faults: Option<u64>,
    /// Bytes of pictures at which a shard is closed.
    pub shard_bytes: u64,
    /// What a picture may cost.
    pub limits: Limits,
    /// What becomes of 16 bits and of transparency.
    pub rules: Rules,
    /// At most so many pictures of each split: the first.
    pub first: Option<u64>,
    /// Other names for classes.
    pub rename: BTreeMap<String, String>,
    /// Where the source's own layout does not say it: split and class of each path. What is
    /// not named is left out.
    pub assignment: Option<Assignment>,
}

impl IngestOptions {
    /// Everything kept as it is, in shards of 256 MiB.
    pub const STANDARD: Self = Self {
        format: None,
        columns: Columns { image: None, label: None },
        max_side: None,
        grey: false,
        val: 0.0,
        dedup: false,
        max_faults: None,
        shard_bytes: 256 << 20,
        limits: Limits::STANDARD,
        rules: Rules::STANDARD,
        first: None,
        rename: BTreeMap::new(),
        assignment: None,
    };

    /// All that the result depends on besides the source, as a text.
    fn signature(&self) -> String {
        let Self { format, columns, max_side, grey, val, dedup, shard_bytes, limits, rules, .. } = self;
        let Self { first, rename, assignment, .. } = self;
        let assigned = assignment.as_ref().map(Assignment::signature);
        format!(
            "{format:?} {columns:?} {max_side:?} {grey} {val} {dedup} {shard_bytes} {limits:?} {rules:?} {first:?} \
             {rename:?} {assigned:?}"
        )
    }
}
