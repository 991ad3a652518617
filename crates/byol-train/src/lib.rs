//! Training BYOL on Burn: a recipe becomes a run that does what was asked
//! (Grill et al., NeurIPS 2020).
//!
//! * [`RunSpec`] is what was asked, [`RunPlan`] what will happen: derived values
//!   (steps, peak learning rate, channels) live only there, and it is written to
//!   the run folder as `run.toml`.
//! * [`Byol`] holds the networks; [`Byol::step`] is the method, on one screen.
//! * [`Optimizer`] is LARS, SGD or AdamW, excluding biases and norms by role.
//! * [`learning_rate`] and [`tau`] are pure functions of the optimiser step.
//! * [`StepShape::memory`] says what a step will need.
//! * [`Checkpoint`] is a run between two steps; what goes on from it is the same run to the
//!   bit.
//! * [`train`] is the loop over an image set, [`train_on`] over any [`ViewSource`]. It emits a
//!   [`StepReport`] a step; whatever watches a run (metrics, checkpoints, [`Guard`]) is an
//!   [`Observer`].
//! * [`RunDir`] is the folder that a run leaves.

mod budget;
mod builder;
mod checkpoint;
mod config;
#[cfg(test)]
mod config_tests;
mod device_views;
mod error;
mod gradients;
mod guard;
mod lanes;
mod memory;
#[cfg(feature = "mpi")]
mod mpi;
mod networks;
mod observer;
mod optim;
mod plan;
mod replicas;
mod run_dir;
mod schedule;
mod source;
mod step;
mod telemetry;
mod trainer;
mod views;

pub use budget::Budget;
pub use builder::SpecBuilder;
pub use checkpoint::{Checkpoint, CheckpointRules, Checkpoints};
pub use config::{EncoderSpec, Length, LrMultipliers, OptimizerKind, OptimizerSpec, RunSpec, TauSchedule};
pub use device_views::{DeviceViews, Frames};
pub use error::TrainError;
pub use guard::{Guard, GuardMode, odd_learning_rate};
pub use lanes::Lanes;
pub use memory::StepShape;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use networks::{init_encoder, init_networks};
pub use observer::{MEASURE_EVERY, Measured, Observer, Seen, StepBatch, StepReport, Timed, TrainState};
pub use optim::{Norms, Optimizer, OptimizerState, Quantiles};
pub use plan::{DataFacts, InitFacts, Leg, RunOptions, RunPlan};
pub use replicas::check_world;
pub use run_dir::{RunDir, RunLock};
pub use schedule::{REFERENCE_BATCH, learning_rate, tau};
pub use source::{ViewSource, Views};
pub use step::{Byol, StepValues};
pub use telemetry::{JsonLines, TensorBoard};
pub use trainer::{TrainOptions, train, train_on};
pub use views::{set_channels, two_views};

/// The crate page's example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
