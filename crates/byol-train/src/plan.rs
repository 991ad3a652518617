//! What will happen: a recipe resolved against a set of pictures.

use byol_augment::ResolvedPolicy;
use byol_data::{EpochPlan, ImageDataset};
use byol_model::ResNetConfig;
use serde::{Deserialize, Serialize};

use crate::schedule::REFERENCE_BATCH;
use crate::{Length, OptimizerKind, RunSpec, StepShape, TrainError};

/// What a run must know of its pictures, and remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Where they are.
    pub path: String,
    /// The split.
    pub split: String,
    /// SHA-256 of the content.
    pub fingerprint: String,
    /// Pictures.
    pub samples: usize,
    /// 1 or 3.
    pub channels: usize,
}

/// The weights that an encoder starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitFacts {
    /// Where they are.
    pub weights: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Everything resolved; written to the run folder as `run.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// Version of byol-train.
    pub version: String,
    /// Full batches in an epoch.
    pub steps_per_epoch: u64,
    /// Optimiser steps, K.
    pub total_steps: u64,
    /// Steps of them in which the learning rate rises.
    pub warmup_steps: u64,
    /// `base_lr` · batch / 256.
    pub peak_lr: f64,
    /// What was left out of the policies for these pictures, and why.
    pub omitted: Vec<String>,
    /// The pictures.
    pub data: DataFacts,
    /// The weights that the encoder starts from; none for a start at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitFacts>,
    /// What was asked.
    pub spec: RunSpec,
}

impl RunPlan {
    /// Resolves a recipe. Nothing is written.
    ///
    /// # Errors
    ///
    /// Any value out of range, a batch that does not fit the set, a predictor that
    /// does not end where the projector does.
    pub fn new(spec: RunSpec, set: &ImageDataset, path: &str, channels: usize) -> Result<Self, TrainError> {
        check(&spec)?;
        let steps_per_epoch = EpochPlan::new(0, 0, set.len(), spec.batch)?.n_batches();
        let steps = |length: Length| match length {
            Length::Epochs(epochs) => (epochs * steps_per_epoch as f64).round() as u64,
            Length::Steps(steps) => steps,
        };
        let (total_steps, warmup_steps) = (steps(spec.length), steps(spec.warmup));
        let bad = |key, value: String, expected: String| Err(TrainError::Spec { key, value, expected });
        if total_steps == 0 {
            return bad("length", format!("{:?}", spec.length), "at least one step".into());
        }
        if warmup_steps >= total_steps {
            return bad(
                "warmup",
                format!("{warmup_steps} steps"),
                format!("less than the run's {total_steps} steps (--set warmup.steps=N)"),
            );
        }
        let resolved = spec.policy.resolve(channels)?;
        encoder_config(&spec, channels).dim()?;
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").into(),
            steps_per_epoch,
            total_steps,
            warmup_steps,
            peak_lr: spec.base_lr * spec.batch as f64 / REFERENCE_BATCH,
            omitted: resolved.omitted.iter().map(ToString::to_string).collect(),
            data: DataFacts {
                path: path.into(),
                split: set.split().into(),
                fingerprint: set.fingerprint().into(),
                samples: set.len(),
                channels,
            },
            init: None,
            spec,
        })
    }

    /// T, T′ and the evaluation transform.
    ///
    /// # Errors
    ///
    /// If the plan was edited into something impossible.
    pub fn policy(&self) -> Result<ResolvedPolicy, TrainError> {
        Ok(self.spec.policy.resolve(self.data.channels)?)
    }

    /// Pictures that go through the networks at a time, and that batch normalisation sees.
    pub fn micro_batch(&self) -> usize {
        self.spec.batch / self.spec.accumulation.max(1)
    }

    /// What a step's memory follows from.
    pub fn step_shape(&self, prefetch: usize) -> StepShape {
        StepShape {
            encoder: self.encoder(),
            projector: self.spec.projector,
            predictor: self.spec.predictor,
            size: self.spec.policy.size,
            batch: self.micro_batch(),
            prefetch,
        }
    }

    /// The encoder.
    pub fn encoder(&self) -> ResNetConfig {
        encoder_config(&self.spec, self.data.channels)
    }
}

fn encoder_config(spec: &RunSpec, in_channels: usize) -> ResNetConfig {
    let crate::EncoderSpec { depth, width, stem, zero_gamma, version } = spec.encoder;
    ResNetConfig { depth, width, in_channels, stem, zero_gamma, version }
}

fn check(spec: &RunSpec) -> Result<(), TrainError> {
    let bad =
        |key, value: String, expected: &str| Err(TrainError::Spec { key, value, expected: expected.into() });
    if spec.batch < 2 {
        return bad("batch", spec.batch.to_string(), "at least 2 (batch normalisation)");
    }
    if spec.accumulation == 0
        || !spec.batch.is_multiple_of(spec.accumulation)
        || spec.batch / spec.accumulation < 2
    {
        let expected = "a divisor of the batch that leaves at least 2 pictures";
        return bad("accumulation", spec.accumulation.to_string(), expected);
    }
    if !(spec.base_lr >= 0.0 && spec.base_lr.is_finite()) {
        return bad("base_lr", spec.base_lr.to_string(), "a number from 0");
    }
    if !(0.0..=1.0).contains(&spec.tau_base) {
        return bad("tau_base", spec.tau_base.to_string(), "a number from 0 to 1");
    }
    for (key, length) in [("length", spec.length), ("warmup", spec.warmup)] {
        if let Length::Epochs(epochs) = length
            && !(0.0..=1e6).contains(&epochs)
        {
            return bad(key, epochs.to_string(), "a number of epochs from 0 to a million");
        }
        if let Length::Steps(steps) = length
            && steps > 1_000_000_000_000
        {
            return bad(key, steps.to_string(), "at most 10^12 steps");
        }
    }
    for (key, multiplier) in [
        ("lr_multipliers.projector", spec.lr_multipliers.projector),
        ("lr_multipliers.predictor", spec.lr_multipliers.predictor),
    ] {
        if !(multiplier >= 0.0 && multiplier.is_finite()) {
            return bad(key, multiplier.to_string(), "a number from 0");
        }
    }
    let heads = [
        ("projector.hidden", spec.projector.hidden),
        ("projector.output", spec.projector.output),
        ("predictor.hidden", spec.predictor.hidden),
        ("predictor.output", spec.predictor.output),
    ];
    for (key, units) in heads {
        if !(1..=65_536).contains(&units) {
            return bad(key, units.to_string(), "1 to 65536 units");
        }
    }
    for (key, layers) in
        [("projector.layers", spec.projector.layers), ("predictor.layers", spec.predictor.layers)]
    {
        if !(1..=8).contains(&layers) {
            return bad(key, layers.to_string(), "1 to 8 linear maps (the paper's 2)");
        }
    }
    if spec.predictor.output != spec.projector.output {
        return bad(
            "predictor.output",
            spec.predictor.output.to_string(),
            "the projector's output, which it predicts",
        );
    }
    let optimizer = &spec.optimizer;
    if !(0.0..1.0).contains(&optimizer.momentum) {
        return bad("optimizer.momentum", optimizer.momentum.to_string(), "a number from 0, below 1");
    }
    if !(optimizer.weight_decay >= 0.0 && optimizer.weight_decay.is_finite()) {
        return bad("optimizer.weight_decay", optimizer.weight_decay.to_string(), "a number from 0");
    }
    if !(optimizer.trust > 0.0 && optimizer.trust.is_finite()) {
        return bad("optimizer.trust", optimizer.trust.to_string(), "a positive number");
    }
    if optimizer.nesterov && optimizer.kind == OptimizerKind::Lars {
        return bad("optimizer.nesterov", "true".into(), "false with LARS, whose momentum is plain");
    }
    Ok(())
}
