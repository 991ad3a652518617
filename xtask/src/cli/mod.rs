//! Flags. What they mean is in the commands.

mod bench;
mod data;
mod encoder;
mod eval;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::device::Choice;

pub use bench::{BenchArgs, BenchAugmentArgs, BenchCommand, BenchDataArgs, BenchEvalArgs, BenchTrainArgs};
pub use data::{DatasetsArgs, DownloadArgs, IngestArgs, InspectArgs};
pub use encoder::{DevicesArgs, ExportArgs, ExportFormat, ModelsArgs, WeightsArgs, stem};
pub use eval::{
    EmbedArgs, EvalArgs, FinetuneArgs, KnnArgs, LabelsShown, LinearArgs, LinearProtocol, NeighborsArgs,
    ReportArgs, RunColumn, RunsArgs, TransferArgs, TransferProtocol,
};

/// Bootstrap Your Own Latent: encoders from unlabelled pictures.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  cargo xtask pretrain
  cargo xtask linear-eval"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Datasets(DatasetsArgs),
    Download(DownloadArgs),
    Ingest(IngestArgs),
    Inspect(InspectArgs),
    Preview(PreviewArgs),
    Presets(PresetsArgs),
    Pretrain(PretrainArgs),
    LinearEval(LinearArgs),
    Knn(KnnArgs),
    Finetune(FinetuneArgs),
    Transfer(TransferArgs),
    Embed(EmbedArgs),
    Neighbors(NeighborsArgs),
    Export(ExportArgs),
    Models(ModelsArgs),
    Devices(DevicesArgs),
    Runs(RunsArgs),
    Report(ReportArgs),
    Bench(BenchArgs),
    Dev(DevArgs),
}

/// A recipe: a preset, then a file, then single values.
#[derive(Debug, Clone, Args)]
pub struct RecipeArgs {
    /// Where to start from; `presets` lists them.
    #[arg(long, default_value = "quick")]
    pub preset: String,
    /// TOML with keys of the recipe, or a run.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One value, for instance policy.ops.solarize.p=0.1; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Of initialisation, order and views [default: the preset's].
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(0..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

/// Draw a grid of pictures and their two views, with what was drawn beneath.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask preview
  cargo xtask preview --op contrast --rows 4 --out contrast.png
  cargo xtask preview --policy grey --out grey.png
  cargo xtask preview --rows 12 --seed 1 --set policy.crop.area=[0.1,0.5] --out small-crops.png")]
pub struct PreviewArgs {
    /// A folder of shards [default: the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// A policy that ships, in place of the recipe's: byol, byol-torchvision, simclr, weak,
    /// small, grey, multispectral or microscopy.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// One operation over its range (brightness, blur, rotate …) in place of views.
    #[arg(long, value_name = "NAME")]
    pub op: Option<String>,
    /// Pictures.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub rows: u32,
    /// The PNG file.
    #[arg(long, value_name = "FILE", default_value = "views.png", value_parser = png)]
    pub out: PathBuf,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// List the recipes, or print one as TOML.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask presets
  cargo xtask presets paper-1000
  cargo xtask presets --policy microscopy")]
pub struct PresetsArgs {
    /// Print this one.
    pub name: Option<String>,
    /// Print a policy of views that ships (byol, simclr, microscopy …), every value with its
    /// source; a recipe's `policy.base` names one.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub policy: Option<String>,
    /// One JSON object on stdout: a recipe resolved, or the list.
    #[arg(long)]
    pub json: bool,
}

/// Train an encoder on unlabelled pictures.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask pretrain
  cargo xtask pretrain --epochs 1 --batch 128 --seed 1
  cargo xtask pretrain --data photos --preset photographs --minutes 30
  cargo xtask pretrain --set length.steps=50 --set warmup.steps=5 --set optimizer.kind=lars
  cargo xtask pretrain --batch 256 --set accumulation=4
  cargo xtask pretrain --resume runs/20260101-120000-quick")]
pub struct PretrainArgs {
    /// A folder of shards [default: the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The split to train on, for instance STL-10's `unlabeled` [default: train].
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Weights that the encoder starts from: a file, or hf:OWNER/NAME.
    #[arg(long, value_name = "WEIGHTS")]
    pub init: Option<String>,
    /// Passes over the set [default: the preset's length].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<f64>,
    /// Train for so long by the clock: how many steps that is, is measured on the way, and the
    /// schedules end when the time does.
    #[arg(long, value_name = "M", allow_negative_numbers = true, conflicts_with = "epochs")]
    pub minutes: Option<f64>,
    /// Pictures in a step [default: the preset's].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Threads that compute [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Threads that make views [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub loader_threads: Option<u16>,
    /// Where to compute: cpu, wgpu, vulkan or cuda, the last three with a number if you like
    /// (cuda:1), or the best that this build has and finds; `devices` lists them.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: Choice,
    /// Take the pictures of a step in micro-batches as large as memory allows: chooses the recipe's
    /// `accumulation`.
    #[arg(long, conflicts_with = "resume")]
    pub fit: bool,
    /// The run folder [default: runs/DATE-TIME-PRESET].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with a run where it stopped, to the bit.
    #[arg(long, value_name = "RUN",
          conflicts_with_all = ["preset", "config", "set", "seed", "init", "epochs", "minutes", "batch", "out", "split"])]
    pub resume: Option<PathBuf>,
    /// With --resume: the checkpoint of this step in place of the last.
    #[arg(long, value_name = "STEP", requires = "resume")]
    pub checkpoint: Option<u64>,
    /// With --resume: go on though the pictures or run.toml have changed. With --device: though the
    /// device computes something else than the CPU.
    #[arg(long)]
    pub force: bool,
    /// What to do about a run whose representation collapses. A loss or a parameter that is no
    /// number ends it in any case.
    /// [default: stop]
    #[arg(long, value_enum)]
    pub guard: Option<GuardChoice>,
    /// Leave out the nearest-neighbour score on training pictures, which labelled sets have about
    /// once in 66,000 pictures trained on, and at the end of a run that is not by the clock. A short
    /// run looks at fewer pictures, and has none if they would be fewer than 40.
    #[arg(long)]
    pub no_knn: bool,
    /// Train a linear classifier beside the encoder on its representations, to watch; the encoder
    /// learns nothing of the labels.
    #[arg(long)]
    pub probe: bool,
    /// Read losses from a GPU, and write them down, in every N-th step alone: in between it need not be
    /// waited for [default: 10; on the CPU 1, and of several processes always].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub metrics_every: Option<u64>,
    /// Write no TensorBoard events.
    #[arg(long)]
    pub no_tensorboard: bool,
    /// A checkpoint after every N steps.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_steps: Option<u64>,
    /// A checkpoint after so many minutes; 0 for none but by steps [default: 2, or 0 with
    /// --checkpoint-steps].
    #[arg(long, value_name = "M", value_parser = minutes)]
    pub checkpoint_minutes: Option<f64>,
    /// Checkpoints that stay: the last N [default: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_last: Option<u16>,
    /// Checkpoints that stay besides: of steps that N divides.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_every: Option<u64>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GuardChoice {
    /// Say it and go on.
    Warn,
    /// Say it and stop.
    Stop,
    /// Do not look.
    Off,
}

/// The name of a PNG file: another ending would promise another format.
fn png(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(ending) if !ending.eq_ignore_ascii_case("png") => {
            Err(format!("a PNG is written, and .{} is another format", ending.display()))
        }
        _ => Ok(path),
    }
}

/// A length of time in minutes.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    if (0.0..=1e6).contains(&minutes) { Ok(minutes) } else { Err("expected 0 to a million minutes".into()) }
}

/// For those who work on this repository.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask dev tidy
  cargo xtask dev ci")]
pub struct DevArgs {
    #[command(subcommand)]
    pub command: DevCommand,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum DevCommand {
    /// Everything that CI checks, cheapest first.
    #[command(after_help = "Examples:\n  cargo xtask dev ci")]
    Ci,
    /// The house's own rules.
    #[command(after_help = "Examples:\n  cargo xtask dev tidy")]
    Tidy,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples_that_parse() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                help.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask ")).collect();
            assert!(!examples.is_empty(), "{} shows no example", command.get_name());
            for example in examples {
                let words = std::iter::once("xtask").chain(example.split_whitespace());
                Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{example}: {e}"));
            }
            command.get_subcommands().filter(|c| c.get_name() != "help").for_each(check);
        }
        check(&Cli::command());
    }
}
