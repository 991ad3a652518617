//! What was asked.

use byol_augment::TwoViewPolicy;
use byol_model::{HeadConfig, Precision, Stem, TargetInit, Version};
use serde::{Deserialize, Serialize};

/// A recipe. It holds no derived value and has no defaults: everything comes from
/// a preset, a file or an override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The preset that the recipe started from.
    pub preset: String,
    /// Of initialisation, order and views.
    pub seed: u64,
    /// Pictures in an optimiser step.
    pub batch: usize,
    /// Micro-batches that a step's pictures go through one by one, their gradients averaged:
    /// less memory, the same schedules, statistics of batch normalisation by micro-batch.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// What convolutions multiply in training: `f32`, `bf16` or, on GPUs, `f16` (see [`Precision`]).
    #[serde(default)]
    pub precision: Precision,
    /// Whether batch normalisation sees the pictures of all processes of a run (the paper's cross-replica
    /// one), or of each its own, as micro-batches do. No matter in a run of one process.
    #[serde(default = "yes")]
    pub sync_batch_norm: bool,
    /// Views are made on the device that trains, out of decoded pictures, by [`DeviceViews`](crate::DeviceViews): the
    /// same parameters, and the CPU's views to within rounding.
    #[serde(default)]
    pub device_views: bool,
    /// How long to train.
    pub length: Length,
    /// How long to train by the clock, in minutes: in place of `length`, of which `warmup`
    /// remains the same share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// How long the learning rate rises, linearly from 0.
    pub warmup: Length,
    /// Peak learning rate for a batch of 256; scales with the batch.
    pub base_lr: f64,
    /// τ at the first step.
    pub tau_base: f64,
    /// How τ goes on.
    pub tau_schedule: TauSchedule,
    /// Where the target starts.
    pub target_init: TargetInit,
    /// f.
    pub encoder: EncoderSpec,
    /// g.
    pub projector: HeadConfig,
    /// q.
    pub predictor: HeadConfig,
    /// What the learning rate is multiplied by in the heads.
    #[serde(default)]
    pub lr_multipliers: LrMultipliers,
    /// How parameters move.
    pub optimizer: OptimizerSpec,
    /// T and T′.
    pub policy: TwoViewPolicy,
}

/// Of plans that are older than the key.
fn one() -> usize {
    1
}

/// Of plans that are older than the key.
fn yes() -> bool {
    true
}

/// Rates of the heads as multiples of the encoder's. With τ = 0 a predictor that learns ten
/// times as fast recovers most of what the moving average gives (the paper's ablation of a
/// near-optimal predictor); 0 keeps a head as it was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrMultipliers {
    /// Of g.
    pub projector: f64,
    /// Of q.
    pub predictor: f64,
}

/// Of plans that are older than the key, and of whoever does not ask.
impl Default for LrMultipliers {
    fn default() -> Self {
        Self { projector: 1.0, predictor: 1.0 }
    }
}

/// A length of training: `{ epochs = 100 }` or `{ steps = 2000 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Passes over the set; may be a fraction.
    Epochs(f64),
    /// Optimiser steps.
    Steps(u64),
}

impl std::fmt::Display for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Epochs(epochs) => write!(f, "{epochs} epochs"),
            Self::Steps(steps) => write!(f, "{steps} steps"),
        }
    }
}

/// How τ depends on the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TauSchedule {
    /// From `tau_base` to 1 by half a cosine (the paper).
    Cosine,
    /// Always `tau_base` (the paper's ablations).
    Constant,
}

/// Which ResNet; the pictures decide its input channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// 18, 34, 50, 101, 152 or 200.
    pub depth: usize,
    /// Channels of the first stage; 64 is 1×.
    pub width: usize,
    /// First layers.
    pub stem: Stem,
    /// Whether the last γ of each block starts at 0.
    pub zero_gamma: bool,
    /// Order of layers in a block: `v1`, or `v2` (pre-activation).
    pub version: Version,
}

/// Which optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    /// LARS, SGD or AdamW.
    pub kind: OptimizerKind,
    /// Of the momentum buffer; AdamW's first beta.
    pub momentum: f64,
    /// Nesterov's form (SGD only).
    pub nesterov: bool,
    /// Added to the gradient of weights, before LARS' ratio; AdamW shrinks weights by
    /// `lr` times it instead. Never of biases or norms.
    pub weight_decay: f64,
    /// LARS' trust coefficient.
    pub trust: f64,
    /// AdamW's second beta.
    #[serde(default = "beta2")]
    pub beta2: f64,
    /// AdamW's, added to the root of the second moment.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

/// Of plans that are older than the key; Kingma and Ba's value.
fn beta2() -> f64 {
    0.999
}

/// Of plans that are older than the key; Kingma and Ba's value.
fn epsilon() -> f64 {
    1e-8
}

/// See [`OptimizerSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Layer-wise adaptive rates (You et al. 2017), as in DeepMind's code.
    Lars,
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decay apart from the gradient (Loshchilov and Hutter 2019).
    Adamw,
}
