//! One Parquet file of pictures.

mod columns;
mod file;
mod footer;
mod labels;
mod pages;
mod reader;
mod schema;
mod thrift;
mod writer;

pub use columns::Columns;
pub use file::Shard;
pub use reader::ShardReader;
pub use schema::Labels;
pub use writer::{ROW_GROUP_BYTES, ShardWriter};
