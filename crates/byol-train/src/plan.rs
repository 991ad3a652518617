//! What will happen: a recipe resolved against a set of pictures.

use byol_augment::ResolvedPolicy;
use byol_data::{EpochPlan, ImageDataset};
use byol_model::ResNetConfig;
use serde::{Deserialize, Serialize};

use crate::schedule::REFERENCE_BATCH;
use crate::{GuardMode, Length, OptimizerKind, RunSpec, StepShape, TrainError};

/// What a run must know of its pictures, and remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A stretch of a run by the clock: from `step` on, the schedules go evenly from `progress`
/// to their end at `total_steps`, until the next leg.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(u64, f64, u64, f64)", into = "(u64, f64, u64, f64)")]
pub struct Leg {
    /// The optimiser step that it begins with.
    pub step: u64,
    /// How far the schedules are then, 0 to 1.
    pub progress: f64,
    /// The step at which the time was expected to be over.
    pub total_steps: u64,
    /// Time spent until then, in seconds.
    pub seconds: f64,
}

impl From<(u64, f64, u64, f64)> for Leg {
    fn from((step, progress, total_steps, seconds): (u64, f64, u64, f64)) -> Self {
        Self { step, progress, total_steps, seconds }
    }
}

impl From<Leg> for (u64, f64, u64, f64) {
    fn from(leg: Leg) -> Self {
        (leg.step, leg.progress, leg.total_steps, leg.seconds)
    }
}

/// What is done beside the steps: it changes no network, and a run that goes on goes on
/// doing it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// A checkpoint after every so many steps; 0 is never.
    pub checkpoint_steps: u64,
    /// A checkpoint after so many minutes; 0 is never.
    pub checkpoint_minutes: f64,
    /// Checkpoints that stay: the last ones.
    pub keep_last: u64,
    /// Checkpoints that stay besides: of steps that this divides; 0 is none.
    pub keep_every: u64,
    /// What is done about a collapse.
    pub guard: GuardMode,
    /// Whether nearest neighbours are scored.
    pub knn: bool,
    /// Whether a linear probe learns beside the encoder.
    pub probe: bool,
    /// Whether events for TensorBoard are written.
    pub tensorboard: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            checkpoint_steps: 0,
            checkpoint_minutes: 2.0,
            keep_last: 2,
            keep_every: 0,
            guard: GuardMode::Stop,
            knn: true,
            probe: false,
            tensorboard: true,
        }
    }
}

/// Everything resolved; written to the run folder as `run.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// Version of byol-train.
    pub version: String,
    /// Full batches in an epoch.
    pub steps_per_epoch: u64,
    /// Optimiser steps, K; an estimate until a run by the clock has ended.
    pub total_steps: u64,
    /// Steps of them in which the learning rate rises.
    pub warmup_steps: u64,
    /// Of a run by the clock: (step, progress, total steps, seconds) of each stretch. Whoever
    /// begins with a complete record follows it, and the clock no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legs: Vec<Leg>,
    /// `base_lr` · batch / 256.
    pub peak_lr: f64,
    /// What was left out of the policies for these pictures, and why.
    pub omitted: Vec<String>,
    /// The pictures.
    pub data: DataFacts,
    /// The weights that the encoder starts from; none for a start at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitFacts>,
    /// What is done beside the steps.
    #[serde(default)]
    pub options: RunOptions,
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
        let data = DataFacts {
            path: path.into(),
            split: set.split().into(),
            fingerprint: set.fingerprint().into(),
            samples: set.len(),
            channels,
        };
        Self::of(spec, data)
    }

    /// The same for pictures from wherever, of which this is known.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of(spec: RunSpec, data: DataFacts) -> Result<Self, TrainError> {
        check(&spec)?;
        let steps_per_epoch = EpochPlan::new(0, 0, data.samples, spec.batch)?.n_batches();
        let (total_steps, warmup_steps) =
            (steps(spec.length, steps_per_epoch), steps(spec.warmup, steps_per_epoch));
        let bad = |key, value: String, expected: String| Err(TrainError::Spec { key, value, expected });
        if total_steps == 0 {
            return bad("length", spec.length.to_string(), "at least one step".into());
        }
        if warmup_steps >= total_steps {
            return bad(
                "warmup",
                format!("{warmup_steps} steps"),
                format!("less than the run's {total_steps} steps (--set warmup.steps=N)"),
            );
        }
        let resolved = spec.policy.resolve(data.channels)?;
        let dim = encoder_config(&spec, data.channels).dim()?;
        if spec.projector.layers == 0 && spec.projector.output != dim {
            let expected = format!("{dim}, the encoder's output, where there is no projector (layers = 0)");
            return bad("projector.output", spec.projector.output.to_string(), expected);
        }
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").into(),
            steps_per_epoch,
            total_steps,
            warmup_steps,
            legs: Vec::new(),
            peak_lr: spec.base_lr * spec.batch as f64 / REFERENCE_BATCH,
            omitted: resolved.omitted.iter().map(ToString::to_string).collect(),
            data,
            init: None,
            options: RunOptions::default(),
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

    /// Pictures that go through the networks at a time, of all processes, and that batch normalisation
    /// sees where it is synchronised.
    pub fn micro_batch(&self) -> usize {
        self.spec.batch / self.spec.accumulation.max(1)
    }

    /// How far the schedules are at optimiser step `k`, 0 to 1.
    pub fn progress(&self, k: u64) -> f64 {
        let share = |done: u64, of: u64| (done as f64 / of.max(1) as f64).min(1.0);
        match self.legs.iter().rev().find(|leg| leg.step <= k) {
            None => share(k, self.total_steps),
            Some(leg) => {
                let rest = leg.total_steps.saturating_sub(leg.step);
                leg.progress + (1.0 - leg.progress) * share(k - leg.step, rest)
            }
        }
    }

    /// Of a run by the clock that has ended: in how many steps the learning rate rose.
    pub(crate) fn settle(&mut self) {
        let (mut rising, mut risen) = (0, self.total_steps);
        while rising < risen {
            let middle = rising + (risen - rising) / 2;
            if self.progress(middle) < self.warmup_share() { rising = middle + 1 } else { risen = middle }
        }
        self.warmup_steps = risen;
    }

    /// The share of the run in which the learning rate rises.
    pub(crate) fn warmup_share(&self) -> f64 {
        let [warmup, length] = [self.spec.warmup, self.spec.length].map(|l| steps(l, self.steps_per_epoch));
        warmup as f64 / length.max(1) as f64
    }

    /// What a step's memory follows from, in one of `world` processes.
    pub fn step_shape(&self, prefetch: usize, world: usize) -> StepShape {
        StepShape {
            encoder: self.encoder(),
            projector: self.spec.projector,
            predictor: self.spec.predictor,
            size: self.spec.policy.size,
            batch: self.micro_batch().div_ceil(world.max(1)),
            prefetch,
        }
    }

    /// The encoder.
    pub fn encoder(&self) -> ResNetConfig {
        encoder_config(&self.spec, self.data.channels)
    }
}

fn steps(length: Length, steps_per_epoch: u64) -> u64 {
    match length {
        Length::Epochs(epochs) => (epochs * steps_per_epoch as f64).round() as u64,
        Length::Steps(steps) => steps,
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
    if !spec.precision.is_available() {
        return bad("precision", spec.precision.to_string(), "f32: this build has no kernels for bf16");
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
    if let Some(minutes) = spec.minutes
        && !(minutes > 0.0 && minutes <= 1e6)
    {
        return bad("minutes", minutes.to_string(), "more than 0, at most a million");
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
        if layers > 8 {
            return bad(key, layers.to_string(), "at most 8 linear maps (the paper's 2; 0 for none at all)");
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
    if !(0.0..1.0).contains(&optimizer.beta2) {
        return bad("optimizer.beta2", optimizer.beta2.to_string(), "a number from 0, below 1");
    }
    if !(optimizer.epsilon > 0.0 && optimizer.epsilon.is_finite()) {
        return bad("optimizer.epsilon", optimizer.epsilon.to_string(), "a positive number");
    }
    if optimizer.nesterov && optimizer.kind != OptimizerKind::Sgd {
        return bad("optimizer.nesterov", "true".into(), "false but with SGD, the others' momentum is plain");
    }
    Ok(())
}
