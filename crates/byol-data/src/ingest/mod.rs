//! Making shards out of other formats.

pub mod idx;
mod png;

pub use png::smallest_grey_png;
