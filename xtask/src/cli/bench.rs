//! Flags of the benchmarks.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};

use crate::device::Choice;

/// Measure how fast a part is.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  cargo xtask bench augment --photos photos
  cargo xtask bench augment --photos photos --size 28 --gray --json
  cargo xtask bench data --data photos --size 224
  cargo xtask bench train --profile
  cargo xtask bench --write-docs --python venv/bin/python"
)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
    /// Measures the training step on three networks and writes docs/performance.md, in a checkout;
    /// some minutes, on a machine that does nothing else.
    #[arg(long)]
    pub write_docs: bool,
    /// A Python with torch, torchvision and lightly: its step beside ours.
    #[arg(long, value_name = "PYTHON", requires = "write_docs")]
    pub python: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    Augment(BenchAugmentArgs),
    Data(BenchDataArgs),
    Train(BenchTrainArgs),
    Eval(BenchEvalArgs),
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

/// Pictures out of shards into batches: read, decoded, resized (bilinear, antialiased), by the
/// loader, beside the same work on pictures in memory without it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (photos: a folder of pictures):
  cargo xtask bench data --data photos-set --size 224 --threads 2
  cargo xtask bench data --data photos --size 0 --json")]
pub struct BenchDataArgs {
    /// A folder of shards, or of pictures [default: the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Side of the pictures in a batch; 0 keeps their size.
    #[arg(long, value_name = "N", default_value_t = 224, value_parser = clap::value_parser!(u16).range(0..=4096).map(usize::from))]
    pub size: usize,
    /// Threads of the loader.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
    /// Pictures in a batch.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: u32,
    /// Pictures of a repeat, at least; the median of five counts.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub pictures: u64,
    /// Reads piece by piece even what would fit into memory.
    #[arg(long)]
    pub stream: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// One training step (two views of every picture, both ways, SGD, moving average) on random
/// views, and the encoder's forward pass alone in evaluation mode.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench train --batch 64
  cargo xtask bench train --width 16 --channels 1 --size 28 --batch 256 --hidden 512 --proj 128
  cargo xtask bench train --encoder resnet50 --stem imagenet --size 224 --batch 8 --profile
  cargo xtask bench train --precision bf16")]
pub struct BenchTrainArgs {
    /// resnet18, resnet34, resnet50, resnet101, resnet152 or resnet200, with _v2 or not.
    #[arg(long, value_name = "NAME", default_value = "resnet18")]
    pub encoder: String,
    /// First layers: imagenet, small or small_stride2.
    #[arg(long, default_value = "small", value_parser = ["imagenet", "small", "small_stride2"])]
    pub stem: String,
    /// Channels of the first stage.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub width: usize,
    /// Channels of a picture.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub channels: usize,
    /// Side of a view in pixels.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub size: usize,
    /// Pictures in a step.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=65536).map(|n| n as usize))]
    pub batch: usize,
    /// Units of the heads' hidden layer.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=65536).map(|n| n as usize))]
    pub hidden: usize,
    /// Length of projection and prediction.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536).map(|n| n as usize))]
    pub proj: usize,
    /// What convolutions multiply in the step; the forward pass alone is timed with it, too.
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16", "f16"])]
    pub precision: String,
    /// Where to compute: cpu, wgpu, vulkan or cuda, with a number if you like, or auto.
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    pub device: Choice,
    /// Timed steps, after two to warm up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10000).map(usize::from))]
    pub steps: usize,
    /// Threads that compute [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// The instructions of the kernels [default: the fastest of this processor].
    #[arg(long, value_parser = ["portable", "avx2", "avx512", "avx512_bf16"])]
    pub path: Option<String>,
    /// The step's parts one by one.
    #[arg(long)]
    pub profile: bool,
    /// One JSON object on stdout; of a profile, `stages` and their `floors` in seconds a picture.
    #[arg(long)]
    pub json: bool,
}

/// The sweep of 45 penalties and the search for neighbours, on a file of embeddings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask embed --out embeddings.parquet):
  cargo xtask bench eval --embeddings embeddings.parquet
  cargo xtask bench eval --embeddings embeddings.parquet --threads 1 --json")]
pub struct BenchEvalArgs {
    /// Parquet as `embed` writes it; rows of the split `test` ask for neighbours among all others.
    #[arg(long, value_name = "FILE")]
    pub embeddings: PathBuf,
    /// Share of the objective that may be left to gain, as the fit estimates it.
    #[arg(long, value_name = "X", default_value_t = 1e-8)]
    pub tolerance: f64,
    /// Neighbours.
    #[arg(long, value_name = "K", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub k: u32,
    /// Threads that compute [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
