//! `bench`: how fast a part is, measured as its peers are (one file a part).

pub mod augment;
pub mod data;
pub mod eval;
pub mod train;
