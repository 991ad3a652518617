//! `bench`: how fast a part is, measured as its peers are (one file a part).

pub mod augment;
pub mod data;
pub mod docs;
pub mod eval;
mod stages;
pub mod train;
