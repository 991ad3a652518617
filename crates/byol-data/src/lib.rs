//! Pictures in Parquet shards: written, read, shuffled and streamed in an order
//! that is a pure function of seed and epoch.
//!
//! * [`ShardWriter`] writes the Hugging Face image layout
//!   (`image: struct<bytes, path>`, `label: int64`); the same pictures give the
//!   same bytes. [`ShardReader`] reads ours and others' and verifies checksums.
//! * [`ImageDataset`] is one split of a folder of shards, in memory as encoded
//!   pictures, with class names and a fingerprint of its content.
//! * [`EpochPlan`] says which samples make which batch; [`Cursor`] is a place in
//!   that order, two integers; [`Partition`] shares it among replicas.
//! * [`Loader`] runs a closure per sample on a thread pool of its own, ahead of
//!   the consumer, into the slots of a batch.
//! * [`decode`] turns encoded bytes into 8-bit pixels under [`Limits`].
//!
//! The crate knows neither augmentation nor any tensor library, and no network.
//!
//! ```
//! use byol_data::{NewSample, Shard, ShardWriter, ImageDataset};
//!
//! let mut writer = ShardWriter::new(&["cat".into(), "dog".into()]);
//! writer.push(NewSample { bytes: b"...png...", path: "a.png", label: Some(1) })?;
//! let shard = Shard { name: "train-00000-of-00001.parquet".into(), bytes: writer.finish()?.into() };
//! let set = ImageDataset::from_shards("train", vec![shard])?;
//! assert_eq!((set.len(), set.sample(0).label), (1, Some(1)));
//! # Ok::<(), byol_data::DataError>(())
//! ```

mod atomic;
mod dataset;
#[cfg(feature = "decode")]
mod decode;
mod error;
#[cfg(feature = "ingest")]
pub mod ingest;
mod loader;
mod plan;
mod sample;
mod shard;

pub use atomic::write_atomic;
pub use dataset::{ImageDataset, split_names};
#[cfg(feature = "decode")]
pub use decode::{Decoded, Limits, decode, probe};
pub use error::DataError;
pub use loader::{Batch, Loader, LoaderConfig};
pub use plan::{Cursor, EpochPlan, Partition};
pub use sample::{NewSample, Sample, SampleId};
pub use shard::{Shard, ShardReader, ShardWriter};
