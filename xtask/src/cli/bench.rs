//! Flags of the benchmarks.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};

/// Measure how fast a part is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench augment --photos photos
  cargo xtask bench augment --photos photos --size 28 --gray --json")]
pub struct BenchArgs {
    #[command(subcommand)]
    pub command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    Augment(BenchAugmentArgs),
}

/// Two views of each picture: JPEG to 224 pixels, or small arrays (--size 32).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (photos: a folder with .jpg files):
  cargo xtask bench augment --photos photos
  cargo xtask bench augment --photos photos --size 32 --threads 2")]
pub struct BenchAugmentArgs {
    /// A folder of JPEG files, looked through with its sub-folders.
    #[arg(long, value_name = "DIR")]
    pub photos: PathBuf,
    /// Side of a view; up to 64 the pictures are arrays of that size, and views have no blur.
    #[arg(long, value_name = "N", default_value_t = 224, value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub size: usize,
    /// Arrays of one channel.
    #[arg(long)]
    pub gray: bool,
    /// Threads, each with pictures of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
    /// Seconds for each figure, five repeats together.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// The portable code too.
    #[arg(long)]
    pub portable: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
