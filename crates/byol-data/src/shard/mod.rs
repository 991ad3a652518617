//! One Parquet file of pictures.

#[cfg(feature = "dataset")]
mod blocks;
mod columns;
mod file;
mod footer;
mod labels;
mod pages;
mod reader;
mod schema;
mod thrift;
#[cfg(feature = "dataset")]
mod writer;

pub use columns::Columns;
pub use file::Shard;
pub use reader::ShardReader;
pub use schema::Labels;
#[cfg(feature = "dataset")]
pub use writer::{ROW_GROUP_BYTES, ShardWriter};
