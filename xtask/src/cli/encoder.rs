//! Flags of commands about an encoder.

use std::path::{Path, PathBuf};

use byol_model::Stem;
use clap::Args;
use clap::builder::TypedValueParser;

use crate::device::Choice;

/// Which encoder.
#[derive(Debug, Clone, Args)]
pub struct WeightsArgs {
    /// The run [default: the last one finished under runs/].
    #[arg(long, value_name = "DIR", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// A file in place of a run: encoder.safetensors, a ResNet of torchvision's or timm's (.pth or
    /// .safetensors), a checkpoint of byol-pytorch, lightly or solo-learn; or hf:OWNER/NAME, from
    /// the Hugging Face Hub.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<String>,
    /// With --weights: side of the encoder's input in pixels [default: the file's, or 224].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub size: Option<usize>,
    /// With --weights: the first layers, where the file does not say and its 3x3 convolution may
    /// have either stride: small or small_stride2 [default: the file's, or small].
    #[arg(long, value_parser = ["imagenet", "small", "small_stride2"])]
    pub stem: Option<String>,
    /// With --weights: mean of each channel, for instance 0.5,0.5,0.5 [default: the file's, or
    /// ImageNet's].
    #[arg(long, value_name = "X,…", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Option<Vec<f64>>,
    /// With --weights: standard deviation of each channel [default: the file's, or ImageNet's].
    #[arg(long, value_name = "X,…", value_delimiter = ',')]
    pub std: Option<Vec<f64>>,
}

/// The stem of that name.
pub fn stem(name: &str) -> Stem {
    match name {
        "small" => Stem::Small,
        "small_stride2" => Stem::SmallStride2,
        _ => Stem::Imagenet,
    }
}

impl WeightsArgs {
    /// The run of that folder.
    pub fn of_run(run: &Path) -> Self {
        Self { run: Some(run.into()), weights: None, size: None, stem: None, mean: None, std: None }
    }

    /// A flag of preprocessing that was given.
    pub fn preprocessing_flag(&self) -> Option<&'static str> {
        let given = [
            ("--size", self.size.is_some()),
            ("--stem", self.stem.is_some()),
            ("--mean", self.mean.is_some()),
            ("--std", self.std.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}

/// Write an encoder for use elsewhere: safetensors under torchvision's names, or ONNX.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples (after cargo xtask pretrain):
  cargo xtask export --format safetensors --out encoder.safetensors
  cargo xtask export --format onnx --out encoder.onnx
  cargo xtask export --weights resnet50.pth --format onnx --out resnet50.onnx")]
pub struct ExportArgs {
    #[command(flatten)]
    pub encoder: WeightsArgs,
    /// The format.
    #[arg(long, value_enum, default_value = "safetensors")]
    pub format: ExportFormat,
    /// The file.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    Safetensors,
    Onnx,
}

/// Encoders with parameters, FLOPs, and memory for training.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask models
  cargo xtask models --size 32 --stem small --batch 256
  cargo xtask models resnet18 resnet50 --size 64 --batch 8 --measure")]
pub struct ModelsArgs {
    /// Only these: resnet18, resnet50_2x, resnet18_w16, resnet50_v2 …
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Side of a view in pixels.
    #[arg(long, value_name = "N", default_value_t = 224, value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub size: usize,
    /// Pictures in a step.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=65536).map(|n| n as usize))]
    pub batch: usize,
    /// Channels of a picture.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=4096).map(usize::from))]
    pub channels: usize,
    /// First layers, where a name does not say: imagenet, small or small_stride2.
    #[arg(long, default_value = "imagenet", value_parser = ["imagenet", "small", "small_stride2"])]
    pub stem: String,
    /// Units of the heads' hidden layer.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=65536).map(|n| n as usize))]
    pub hidden: usize,
    /// Length of projection and prediction.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536).map(|n| n as usize))]
    pub proj: usize,
    /// Measure memory where the machine has enough, by two steps in a process of their own.
    #[arg(long)]
    pub measure: bool,
    /// That process: takes the steps and says what they took.
    #[arg(long, hide = true)]
    pub here: bool,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// The GPUs that this build can reach, with memory and precisions.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask devices
  cargo xtask-wgpu devices --check
  cargo xtask-wgpu devices --check --encoder resnet50 --size 64 --batch 8")]
pub struct DevicesArgs {
    /// Compare what a training step is made of with the CPU, forward and backward. Every command does so before
    /// it first uses a GPU.
    #[arg(long)]
    pub check: bool,
    /// Only this one: wgpu, vulkan or cuda, with a number if you like.
    #[arg(long, value_name = "NAME")]
    pub device: Option<Choice>,
    /// Whose shapes are compared: resnet18, resnet50_2x, resnet18_w16_small …
    #[arg(long, value_name = "NAME", default_value = "resnet18_w16_small", requires = "check")]
    pub encoder: String,
    /// Side of a view in pixels.
    #[arg(long, value_name = "N", default_value_t = 32, requires = "check", value_parser = clap::value_parser!(u16).range(8..=1024).map(usize::from))]
    pub size: usize,
    /// Pictures, at most; fewer where the CPU would take long.
    #[arg(long, value_name = "N", default_value_t = 32, requires = "check", value_parser = clap::value_parser!(u16).range(2..=4096).map(usize::from))]
    pub batch: usize,
    /// What convolutions multiply.
    #[arg(long, default_value = "f32", requires = "check", value_parser = ["f32", "bf16", "f16"])]
    pub precision: String,
    /// The process that compares: shapes as JSON.
    #[arg(long, hide = true, requires = "check")]
    pub here: Option<String>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
