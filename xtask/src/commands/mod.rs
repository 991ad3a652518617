//! One file a command.

pub mod bench;
pub mod datasets;
pub mod devices;
pub mod download;
pub mod embed;
pub mod evaluate;
pub mod export;
pub mod ingest;
pub mod inspect;
pub mod models;
pub mod neighbors;
pub mod presets;
pub mod pretrain;
pub mod preview;
pub mod report;
pub mod runs;
