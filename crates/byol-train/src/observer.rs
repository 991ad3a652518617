use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use byol_model::{Encoder, TensorValues};
use serde::Serialize;

use crate::optim::Quantiles;
use crate::{Byol, RunPlan, TrainError};

/// What one optimiser step did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// The step, from 1: how many have been done.
    pub step: u64,
    /// Epochs done, with a fraction.
    pub epoch: f64,
    /// L of the step's batch, 0 to 8: the sum of both directions.
    pub loss: f64,
    /// The learning rate it used.
    pub lr: f64,
    /// The τ it used.
    pub tau: f64,
    /// Pictures a second, over the last steps.
    pub images_per_second: f64,
    /// Share of the time spent waiting for views, over the last steps.
    pub data_wait: f64,
    /// Share of the time that observers took, over the last steps.
    pub observing: f64,
    /// ‖q̄(z) − z̄′‖² of v predicting v′, 0 to 4.
    pub loss_v: f64,
    /// The same of v′ predicting v.
    pub loss_v_prime: f64,
    /// Mean cosine of prediction and target's projection, −1 to 1.
    pub cosine: f64,
    /// The cosine that a constant prediction would reach; see
    /// [`constant_cosine`](byol_model::constant_cosine).
    pub constant_cosine: f64,
    /// √d · standard deviation of the normalised projections of v: near 1 is
    /// healthy, near 0 collapsed.
    pub z_std: f64,
    /// Steps since numbers of the networks were read last, this one counted; 0 where they were not read in
    /// this one, and are those of the last step in which they were.
    #[serde(skip)]
    pub span: u64,
    /// What is measured every so many steps ([`MEASURE_EVERY`]).
    #[serde(flatten)]
    pub measured: Option<Measured>,
    /// What observers add, by name.
    #[serde(flatten)]
    pub extra: BTreeMap<String, f64>,
}

/// Numbers that are old in a step in which none are read.
const READ: [&str; 6] = ["loss", "loss_v", "loss_v_prime", "cosine", "constant_cosine", "z_std"];

impl StepReport {
    /// As it is written down, without numbers that are not this step's. None if there is nothing new.
    pub fn news(&self) -> Option<serde_json::Value> {
        if self.span == 0 && self.extra.is_empty() {
            return None;
        }
        // Cannot fail: a report is numbers and names.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut()
            && self.span == 0
        {
            READ.iter().for_each(|name| drop(fields.remove(*name)));
        }
        Some(value)
    }
}

/// Steps from one [`Measured`] to the next.
pub const MEASURE_EVERY: u64 = 25;

/// What costs too much for every step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Effective rank of the projections of v, 1 to min(N − 1, d); see
    /// [`effective_rank`](byol_model::effective_rank).
    pub rank: f64,
    /// ‖∇θ L‖ over all parameters, before the optimiser.
    pub gradient_norm: f64,
    /// ‖θ‖ over all parameters, before the step.
    pub parameter_norm: f64,
    /// LARS' trust ratios over the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_ratio: Option<Quantiles>,
}

/// What a run is made of between two steps.
#[derive(Debug)]
pub struct TrainState<E: Encoder> {
    /// θ, ξ and the optimiser.
    pub byol: Byol<E>,
    /// Optimiser steps done.
    pub step: u64,
    /// What observers remember from step to step, by name: checkpoints hold it, so that a run
    /// that goes on is the same in this too.
    pub kept: BTreeMap<String, TensorValues>,
}

impl<E: Encoder> TrainState<E> {
    /// Before the first step.
    pub fn new(byol: Byol<E>) -> Self {
        Self { byol, step: 0, kept: BTreeMap::new() }
    }
}

/// What the networks made of a step's pictures.
#[derive(Debug, Clone)]
pub struct StepBatch {
    /// Numbers of the step's pictures in the set.
    pub samples: Vec<usize>,
    /// y of v, without a graph, `[N, D]`: of the last micro-batch, whose pictures are the last ones
    /// of `samples`.
    pub representation: Tensor<2>,
    /// z of v, without a graph, `[N, d]`, of the same pictures.
    pub projection: Tensor<2>,
}

/// A step, as observers see it.
#[derive(Debug)]
pub struct Seen<'a, E: Encoder> {
    /// The plan, as far as it is known: a run by the clock learns its length.
    pub plan: &'a RunPlan,
    /// The step. Observers behind this one see what it adds to `extra`.
    pub report: &'a mut StepReport,
    /// What became of the networks.
    pub state: &'a mut TrainState<E>,
    /// The pictures.
    pub batch: &'a StepBatch,
}

/// Something that watches a run. The loop knows no more of it than this.
pub trait Observer<E: Encoder> {
    /// Before the first step, or the first one of a run that goes on.
    ///
    /// # Errors
    ///
    /// An error ends the run.
    fn start(&mut self, _plan: &RunPlan, _state: &TrainState<E>) -> Result<(), TrainError> {
        Ok(())
    }

    /// After every step. `Break` ends the run after this step as if it were the last.
    ///
    /// # Errors
    ///
    /// An error ends the run.
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError>;

    /// After the last step.
    ///
    /// # Errors
    ///
    /// An error is passed on to the caller of the loop.
    fn finish(&mut self, _plan: &RunPlan, _state: &TrainState<E>) -> Result<(), TrainError> {
        Ok(())
    }
}

/// A closure that sees every step.
impl<E: Encoder, F: FnMut(&mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError>> Observer<E> for F {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        self(seen)
    }
}

/// An observer and the time that it takes.
#[derive(Debug)]
pub struct Timed<O> {
    /// The observer.
    pub inner: O,
    /// Its time so far.
    pub time: Duration,
}

impl<O> Timed<O> {
    /// With the time at 0.
    pub fn new(inner: O) -> Self {
        Self { inner, time: Duration::ZERO }
    }
}

impl<E: Encoder, O: Observer<E>> Observer<E> for Timed<O> {
    fn start(&mut self, plan: &RunPlan, state: &TrainState<E>) -> Result<(), TrainError> {
        let start = Instant::now();
        let result = self.inner.start(plan, state);
        self.time += start.elapsed();
        result
    }

    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        let start = Instant::now();
        let result = self.inner.step(seen);
        self.time += start.elapsed();
        result
    }

    fn finish(&mut self, plan: &RunPlan, state: &TrainState<E>) -> Result<(), TrainError> {
        let start = Instant::now();
        let result = self.inner.finish(plan, state);
        self.time += start.elapsed();
        result
    }
}
