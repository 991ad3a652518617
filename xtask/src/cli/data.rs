//! Flags of the commands that handle data.

use std::path::PathBuf;

use clap::Args;

/// List the known data sets.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask datasets
  cargo xtask datasets cifar10
  cargo xtask datasets --json")]
pub struct DatasetsArgs {
    /// Only this one, in full.
    pub name: Option<String>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Fetch a data set and turn it into shards.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (Debian and Ubuntu: apt install dataset-fashion-mnist):
  cargo xtask download cifar10
  cargo xtask download imagenette-160 --to imagenette
  cargo xtask download hf:uoft-cs/cifar10
  cargo xtask download fashion-mnist --from /usr/share/datasets/fashion-mnist
  cargo xtask download imagenet --from /data/ILSVRC2012 --max-side 256")]
pub struct DownloadArgs {
    /// The data set (`datasets` lists them); or hf:OWNER/NAME for the Parquet files of one on the
    /// Hugging Face Hub (HF_ENDPOINT and HF_TOKEN are honoured); or a manifest of your own
    /// (FILE.toml, as those under datasets/).
    pub name: String,
    /// A folder with the original files, instead of the network.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Where the shards go [default: datasets/NAME].
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// An address that the files are taken from, instead of those of the catalogue: URL/FILE.
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    pub mirror: Option<String>,
    /// Which configuration of a set on the Hub.
    #[arg(long, value_name = "NAME")]
    pub config: Option<String>,
    /// Keep the fetched files, in the target's .download.
    #[arg(long)]
    pub keep: bool,
    /// Shrink pictures whose longer side is longer.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub max_side: Option<u32>,
    /// At most so many pictures of each split, the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
    /// Only the part that ships inside the program too (fashion-mnist: the first 10,000 training
    /// pictures and the test set), fetched all the same.
    #[arg(long)]
    pub mini: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Turn pictures as they come into shards.
#[derive(Debug, Args)]
#[command(after_help = "\
A source is a folder of pictures (sub-folders are classes; train, val and test are splits; a flat
folder has no labels), a CSV or TSV file with a column of paths (from its own folder on, or
absolute), a tar or zip archive or a folder of tars (WebDataset, or folders within), Parquet files with a column of pictures, or the files of
MNIST, CIFAR, STL-10 or SVHN. Pictures are JPEG, PNG, WebP, GIF (the first), BMP, TIFF, PNM, or
NumPy's .npy (height x width x channels, 8 or 16 bits, any number of channels). They are kept as
they are unless a flag says otherwise; 16 bits become 8.

Examples:
  cargo xtask ingest photos --to photos-set
  cargo xtask ingest photos --to photos-set --max-side 512 --val 0.1 --dedup
  cargo xtask ingest pictures.csv --to set --image-column file --label-column species
  cargo xtask ingest shards --format archive --to set
  cargo xtask ingest scans --to set --range-16 0..4095 --grey")]
pub struct IngestArgs {
    /// A folder or a file.
    pub source: PathBuf,
    /// The folder of the set; what is there already is replaced when the new set is whole.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// What the source is [default: recognised].
    #[arg(long, value_name = "KIND",
          value_parser = ["folder", "table", "idx", "cifar", "stl10", "svhn", "archive", "parquet"])]
    pub format: Option<String>,
    /// The column of pictures (Parquet) or paths (tables).
    #[arg(long, value_name = "NAME")]
    pub image_column: Option<String>,
    /// The column of classes: numbers or texts.
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Shrink pictures whose longer side is longer.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub max_side: Option<u32>,
    /// Make all pictures grey.
    #[arg(long)]
    pub grey: bool,
    /// Hold out this share of `train` as `validation`, chosen by what the pictures show: copies
    /// of one picture are never on both sides.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0, allow_negative_numbers = true)]
    pub val: f64,
    /// Leave out pictures that have been there before, pixel for pixel.
    #[arg(long)]
    pub dedup: bool,
    /// Give up when more files than this cannot be read [default: never].
    #[arg(long, value_name = "N")]
    pub max_faults: Option<u64>,
    /// At most so many pictures of each split, the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
    /// What is behind transparent pixels: RRGGBB.
    #[arg(long, value_name = "COLOUR", default_value = "ffffff")]
    pub background: String,
    /// The values of 16-bit pictures that become black and white.
    #[arg(long, value_name = "LOW..HIGH", default_value = "0..65535")]
    pub range_16: String,
    /// Megabytes (2^20) of pictures in a shard.
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub shard_size: u64,
    /// Longest side of a picture that is read.
    #[arg(long, value_name = "PIXELS", default_value_t = 65_535, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit_side: u32,
    /// Megapixels (10^6) of a picture that is read.
    #[arg(long, value_name = "N", default_value_t = 178)]
    pub limit_megapixels: u64,
    /// Megabytes of memory that decoding a picture may take.
    #[arg(long, value_name = "MB", default_value_t = 1024)]
    pub limit_memory: u64,
    /// Megabytes of a file that is read.
    #[arg(long, value_name = "MB", default_value_t = 256)]
    pub limit_file: u64,
    /// Threads [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Look at a set: counts, classes, sizes, channels, faults, duplicates, and a sheet of
/// pictures of each class.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask inspect
  cargo xtask inspect photos-set
  cargo xtask inspect photos-set --split train --no-sheets --json")]
pub struct InspectArgs {
    /// A folder of shards [default: the set that ships].
    pub data: Option<PathBuf>,
    /// Only this split [default: all].
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Where the sheets go, a PNG for each class (of more than 1,000, the first).
    #[arg(long, value_name = "DIR", default_value = "contact-sheets")]
    pub sheets: PathBuf,
    /// Draw none.
    #[arg(long, conflicts_with = "sheets")]
    pub no_sheets: bool,
    /// The column of pictures, where it is not found.
    #[arg(long, value_name = "NAME")]
    pub image_column: Option<String>,
    /// The column of classes, where it is not found.
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Threads [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
