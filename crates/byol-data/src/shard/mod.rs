//! One Parquet file of pictures.

mod reader;
mod schema;
mod writer;

pub use reader::{Shard, ShardReader};
pub use writer::ShardWriter;
