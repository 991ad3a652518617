//! Training BYOL on Burn: a recipe becomes a run that does what was asked
//! (Grill et al., NeurIPS 2020).
//!
//! * [`RunSpec`] is what was asked, [`RunPlan`] what will happen: derived values
//!   (steps, peak learning rate, channels) live only there, and it is written to
//!   the run folder as `run.toml`.
//! * [`Byol`] holds the networks; [`Byol::step`] is the method, on one screen.
//! * [`Optimizer`] is LARS or SGD, excluding biases and norms by role.
//! * [`learning_rate`] and [`tau`] are pure functions of the optimiser step.
//! * [`StepShape::memory`] says what a step will need.
//! * [`Checkpoint`] is a run between two steps; what goes on from it is the same run to the
//!   bit.
//! * [`train`] is the loop. It emits a [`StepReport`] a step; whatever watches a
//!   run (bar, metrics, guards) is an [`Observer`].
//! * [`RunDir`] is the folder that a run leaves.

mod checkpoint;
mod config;
#[cfg(test)]
mod config_tests;
mod error;
mod memory;
mod observer;
mod optim;
mod plan;
mod run_dir;
mod schedule;
mod step;
mod telemetry;
mod trainer;
mod views;

pub use checkpoint::{Checkpoint, CheckpointRules, Checkpoints};
pub use config::{
    EncoderSpec, Length, LrMultipliers, OptimizerKind, OptimizerSpec, RunSpec, SpecBuilder, TauSchedule,
};
pub use error::TrainError;
pub use memory::StepShape;
pub use observer::{Observer, StepReport, TrainState};
pub use optim::Optimizer;
pub use plan::{DataFacts, InitFacts, RunPlan};
pub use run_dir::RunDir;
pub use schedule::{REFERENCE_BATCH, learning_rate, tau};
pub use step::{Byol, StepValues};
pub use telemetry::JsonLines;
pub use trainer::{TrainOptions, init_encoder, init_networks, train};
pub use views::{set_channels, two_views};
