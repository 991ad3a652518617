use serde::Serialize;

use crate::{RunPlan, TrainError};

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

/// Something that watches a run. The loop knows no more of it than this.
pub trait Observer {
    /// Before the first step.
    ///
    /// # Errors
    ///
    /// An error ends the run.
    fn start(&mut self, _plan: &RunPlan) -> Result<(), TrainError> {
        Ok(())
    }

    /// After every step.
    ///
    /// # Errors
    ///
    /// An error ends the run.
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError>;

    /// After the last step.
    ///
    /// # Errors
    ///
    /// An error is passed on to the caller of the loop.
    fn finish(&mut self) -> Result<(), TrainError> {
        Ok(())
    }
}
