//! Pictures in Parquet shards: written, read, shuffled and streamed in an order
//! that is a pure function of seed and epoch.
//!
//! * [`ShardWriter`] writes the Hugging Face image layout
//!   (`image: struct<bytes, path>`, `label: int64`); the same pictures give the
//!   same bytes. [`ShardReader`] reads ours and others' and verifies checksums, from
//!   local files or through [`RangeRead`] from wherever they lie.
//! * [`ImageDataset`] is one split of a folder of shards with class names and a
//!   fingerprint of its content: in memory if it is small, else read piece by piece.
//! * [`EpochPlan`] says which samples make which batch; [`Cursor`] is a place in
//!   that order, two integers; [`Partition`] shares it among replicas.
//! * [`Loader`] runs a closure per sample on a thread pool of its own, ahead of
//!   the consumer, into the slots of a batch.
//! * [`decode`] turns encoded bytes into 8-bit pixels under [`Limits`].
//! * [`ingest`] makes shards of pictures as they come: folders, archives, tables.
//! * [`Summary`] is what `inspect` says of a set.
//!
//! The crate knows neither augmentation nor any tensor library, and no network.
//!
//! ```
//! use byol_data::{ImageDataset, Labels, NewSample, Shard, ShardWriter};
//!
//! let mut writer = ShardWriter::in_memory(Labels::Classes(vec!["cat".into(), "dog".into()]))?;
//! writer.push(NewSample { bytes: b"...png...", path: "a.png", label: Some(1) })?;
//! let shard = Shard::in_memory("train-00000-of-00001.parquet", writer.finish()?);
//! let set = ImageDataset::from_shards("train", vec![shard])?;
//! assert_eq!((set.len(), set.sample(0)?.label()), (1, Some(1)));
//! # Ok::<(), byol_data::DataError>(())
//! ```

#[cfg(feature = "dataset")]
mod atomic;
#[cfg(feature = "dataset")]
mod block;
#[cfg(feature = "dataset")]
mod dataset;
#[cfg(feature = "decode")]
mod decode;
mod error;
#[cfg(feature = "dataset")]
mod fingerprint;
mod guard;
#[cfg(feature = "ingest")]
pub mod ingest;
#[cfg(feature = "loader")]
mod loader;
#[cfg(feature = "dataset")]
mod plan;
mod range_read;
#[cfg(feature = "dataset")]
mod sample;
mod shard;
#[cfg(all(feature = "decode", feature = "loader"))]
mod summary;

#[cfg(feature = "dataset")]
pub use atomic::write_atomic;
#[cfg(feature = "dataset")]
pub use dataset::{ImageDataset, OpenOptions, split_names, split_of_file};
#[cfg(feature = "decode")]
pub use decode::{Decoded, Header, Limits, Rules, decode, decode_native, is_picture, probe};
pub use error::DataError;
pub use guard::{guarded, is_guarded};
#[cfg(feature = "loader")]
pub use loader::{Batch, Loader, LoaderConfig};
#[cfg(feature = "dataset")]
pub use plan::{Cursor, EpochPlan, Partition};
pub use range_read::{LocalFile, RangeRead};
#[cfg(feature = "dataset")]
pub use sample::{NewSample, Sample, SampleId};
pub use shard::{Columns, Labels, Shard, ShardReader};
#[cfg(feature = "dataset")]
pub use shard::{ROW_GROUP_BYTES, ShardWriter};
#[cfg(all(feature = "decode", feature = "loader"))]
pub use summary::Summary;
