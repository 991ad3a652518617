use std::ops::ControlFlow;

use byol_model::Encoder;
use serde::Serialize;

use crate::{Byol, RunPlan, TrainError};

/// What one optimiser step did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepReport {
    /// The step, from 1: how many have been done.
    pub step: u64,
    /// Epochs done, with a fraction.
    pub epoch: f64,
    /// L of the step's batch, 0 to 8.
    pub loss: f64,
    /// The learning rate it used.
    pub lr: f64,
    /// The τ it used.
    pub tau: f64,
    /// Pictures a second, over the last steps.
    pub images_per_second: f64,
    /// Share of the time spent waiting for views, over the last steps.
    pub data_wait: f64,
    /// √d · standard deviation of the normalised projections of v: near 1 is
    /// healthy, near 0 collapsed.
    pub z_std: f64,
}

/// What a run is made of between two steps.
#[derive(Debug)]
pub struct TrainState<E: Encoder> {
    /// θ, ξ and the optimiser.
    pub byol: Byol<E>,
    /// Optimiser steps done.
    pub step: u64,
}

impl<E: Encoder> TrainState<E> {
    /// Before the first step.
    pub fn new(byol: Byol<E>) -> Self {
        Self { byol, step: 0 }
    }
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
    fn step(&mut self, report: &StepReport, state: &TrainState<E>) -> Result<ControlFlow<()>, TrainError>;

    /// After the last step.
    ///
    /// # Errors
    ///
    /// An error is passed on to the caller of the loop.
    fn finish(&mut self, _state: &TrainState<E>) -> Result<(), TrainError> {
        Ok(())
    }
}
