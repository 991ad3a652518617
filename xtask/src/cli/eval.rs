//! Flags of commands that say how good an encoder is.

use std::path::PathBuf;

use clap::Args;
use clap::builder::TypedValueParser;

use super::WeightsArgs;
use crate::device::Choice;

/// How a command goes about it.
#[derive(Debug, Clone, Args)]
pub struct HowArgs {
    /// Neither look for representations in the cache nor keep them there.
    #[arg(long)]
    pub no_cache: bool,
    /// Where the encoder computes: cpu, wgpu, vulkan or cuda, the last three with a number if you like,
    /// or the best that this build has and finds; `devices` lists them.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: Choice,
    /// Threads that compute [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// What is scored, and on what.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub encoder: WeightsArgs,
    /// A folder of labelled shards [default: what the run was trained on, or the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Score these embeddings in place of an encoder's: Parquet with the columns `embedding`
    /// (lists of floats), `label` (numbers or texts) and, if train and test are in one file,
    /// `split`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "weights", "data"])]
    pub embeddings: Option<PathBuf>,
    /// With --embeddings: the test rows, where they are in a file of their own.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    pub test_embeddings: Option<PathBuf>,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Score a frozen encoder by a linear classifier on its representations.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask linear-eval
  cargo xtask linear-eval --json
  cargo xtask linear-eval --protocol paper
  cargo xtask linear-eval --weights resnet50.pth --data DIR
  cargo xtask linear-eval --weights hf:timm/resnet50.a1_in1k --data DIR
  cargo xtask linear-eval --embeddings embeddings.parquet")]
pub struct LinearArgs {
    #[command(flatten)]
    pub eval: EvalArgs,
    /// How the classifier learns.
    #[arg(long, value_enum, default_value = "lbfgs")]
    pub protocol: LinearProtocol,
    /// With --protocol paper: passes over the training pictures [default: 80].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub epochs: Option<usize>,
    /// With --protocol paper: pictures in a step [default: 1024].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536).map(|n| n as usize))]
    pub batch: Option<usize>,
    /// With --protocol paper: without random crops and flips, on representations computed once.
    #[arg(long)]
    pub no_augment: bool,
    /// With --protocol paper: of the order and the crops.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LinearProtocol {
    /// The exact optimum of logistic regression: 45 penalties, chosen on held-out training
    /// pictures (the paper's transfer protocol, D.2). Fast, and nothing is random.
    Lbfgs,
    /// The paper's linear evaluation (C.1): random crops and flips, SGD with Nesterov momentum,
    /// five learning rates, chosen on held-out training pictures.
    Paper,
}

/// Score a frozen encoder by the nearest neighbours of its representations.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask knn
  cargo xtask knn --k 1,5,20,200 --temperature 0.1
  cargo xtask knn --embeddings embeddings.parquet")]
pub struct KnnArgs {
    #[command(flatten)]
    pub eval: EvalArgs,
    /// Neighbours; several are scored at once, the first is what other commands show.
    #[arg(long, value_name = "K,…", default_value = "20", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..))]
    pub k: Vec<u32>,
    /// T in the votes' weight exp(similarity / T).
    #[arg(long, default_value_t = 0.07)]
    pub temperature: f64,
}

/// Train all of an encoder on few labels, beside the same network from scratch.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask finetune
  cargo xtask finetune --labels 1%,10%,all --seed 1
  cargo xtask finetune --labels 10% --rates 0.02,0.05 --epochs 50
  cargo xtask finetune --weights resnet50.pth --data DIR --labels 1percent.txt")]
pub struct FinetuneArgs {
    #[command(flatten)]
    pub encoder: WeightsArgs,
    /// A folder of labelled shards [default: what the run was trained on, or the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How many labels it may see: a share of the training pictures (of each class as many, at least
    /// one, and no more than it has), `all`, or a file that lists pictures: one that this command wrote, or a name a line.
    #[arg(long, value_name = "SHARE,…", default_value = "1%,10%", value_delimiter = ',')]
    pub labels: Vec<LabelsShown>,
    /// Where to write which pictures these were [default: the folder `labels` of the run; of
    /// --weights nowhere].
    #[arg(long, value_name = "DIR")]
    pub labels_to: Option<PathBuf>,
    /// Learning rates to choose from [default: the paper's five].
    #[arg(
        long,
        value_name = "X,…",
        value_delimiter = ',',
        default_value = "0.005,0.01,0.02,0.05,0.1",
        allow_negative_numbers = true
    )]
    pub rates: Vec<f64>,
    /// Passes over the labelled pictures to choose from [default: the paper's two].
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "30,50",
          value_parser = clap::value_parser!(u16).range(1..).map(usize::from))]
    pub epochs: Vec<usize>,
    /// Pictures in a step at most; no more than a tenth of the labelled ones, but at least 16.
    #[arg(long, value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(2..=65536).map(|n| n as usize))]
    pub batch: usize,
    /// Of the shares, the order and the crops.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Leave out the same network from scratch, which takes as long again.
    #[arg(long)]
    pub no_scratch: bool,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Labels that a network may learn from.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelsShown {
    All,
    /// Above 0 to 100.
    Percent(f64),
    File(PathBuf),
}

impl std::str::FromStr for LabelsShown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("expected a share such as 1%, all, or a file".into());
        }
        if text == "all" {
            return Ok(Self::All);
        }
        let Some(number) = text.strip_suffix('%') else {
            if text.parse::<f64>().is_ok() {
                return Err(format!("expected a share such as {text}%, all, or a file"));
            }
            return Ok(Self::File(text.into()));
        };
        match number.trim().parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percent(percent)),
            _ => Err("expected a share above 0% to 100%".into()),
        }
    }
}

/// Score a frozen encoder on several data sets, each by the measure that the paper has for it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain, and cargo xtask download of each set):
  cargo xtask transfer cifar10 cifar100 dtd flowers102 pets
  cargo xtask transfer --weights resnet50.pth food101 photos
  cargo xtask transfer cifar10 --protocol knn --json")]
pub struct TransferArgs {
    /// Data sets: names that `datasets` lists, for those that `download` has put under datasets/, NAME=DIR for those elsewhere, or
    /// folders of labelled shards.
    #[arg(value_name = "NAME or DIR", required = true)]
    pub sets: Vec<String>,
    #[command(flatten)]
    pub encoder: WeightsArgs,
    /// The classifier.
    #[arg(long, value_enum, default_value = "lbfgs")]
    pub protocol: TransferProtocol,
    /// Leave out the same encoder at random initialisation.
    #[arg(long)]
    pub no_random: bool,
    #[command(flatten)]
    pub how: HowArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TransferProtocol {
    /// Logistic regression at its optimum, 45 penalties, chosen on validation pictures and fitted
    /// again with them: the paper's (D.2).
    Lbfgs,
    /// 20 nearest neighbours.
    Knn,
}

/// Write representations as Parquet, for use elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask embed --out embeddings.parquet
  cargo xtask embed --weights resnet50.pth --data DIR --out embeddings.parquet
  cargo xtask embed --untrained --out random.parquet
  cargo xtask embed --data DIR --partition 3/8 --out part-3.parquet")]
pub struct EmbedArgs {
    #[command(flatten)]
    pub encoder: WeightsArgs,
    /// A folder of shards [default: what the run was trained on, or the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Only these splits [default: all].
    #[arg(long, value_name = "NAME")]
    pub split: Vec<String>,
    /// Only the i-th of n equal parts, so that several machines share a large set.
    #[arg(long, value_name = "I/N", value_parser = partition)]
    pub partition: Option<(u64, u64)>,
    /// Those of the same encoder at random initialisation, by the run's seed.
    #[arg(long)]
    pub untrained: bool,
    /// The file.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where the encoder computes: cpu, wgpu, vulkan or cuda, the last three with a number if you like,
    /// or the best that this build has and finds; `devices` lists them.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: Choice,
    /// Threads that compute [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// `3/8`.
fn partition(text: &str) -> Result<(u64, u64), String> {
    let expected = || "expected I/N with I from 1 to N, for instance 3/8".to_owned();
    let (i, n) = text.split_once('/').ok_or_else(expected)?;
    let (i, n): (u64, u64) = (i.parse().map_err(|_| expected())?, n.parse().map_err(|_| expected())?);
    if (1..=n).contains(&i) && n <= 1 << 32 { Ok((i, n)) } else { Err(expected()) }
}

/// Draw pictures beside those that the encoder takes for the most similar.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask neighbors
  cargo xtask neighbors --rows 12 --k 10 --out neighbors.png
  cargo xtask neighbors --split test --seed 3")]
pub struct NeighborsArgs {
    #[command(flatten)]
    pub encoder: WeightsArgs,
    /// A folder of shards [default: what the run was trained on, or the set that ships].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Whose pictures ask; neighbours are of `train` [default: test or validation, if there is
    /// one, else train].
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Pictures that ask.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rows: u32,
    /// Neighbours of each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub k: u32,
    /// Which pictures ask.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The PNG file.
    #[arg(long, value_name = "FILE", default_value = "neighbors.png", value_parser = super::png)]
    pub out: PathBuf,
    #[command(flatten)]
    pub how: HowArgs,
}

/// Write a page about a run: curves, scores, views, neighbours, a map of pictures.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask report
  cargo xtask report --run runs/a --run runs/b --out compared.html")]
pub struct ReportArgs {
    /// The run, or several to compare [default: the last one finished under runs/].
    #[arg(long, value_name = "DIR")]
    pub run: Vec<PathBuf>,
    /// The HTML file [default: report.html in the run's folder; of several runs, here].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Pictures in the map.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub points: u32,
    #[command(flatten)]
    pub how: HowArgs,
}

/// List the runs with their scores.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask runs
  cargo xtask runs --sort linear
  cargo xtask runs --dir elsewhere/runs --json")]
pub struct RunsArgs {
    /// The folder of run folders.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
    /// By which column; scores and steps fall, all else rises.
    #[arg(long, value_enum, default_value = "name")]
    pub sort: RunColumn,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RunColumn {
    Name,
    Preset,
    Data,
    Steps,
    Loss,
    Knn,
    Linear,
}
