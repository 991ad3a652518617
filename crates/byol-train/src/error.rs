use std::path::PathBuf;

use byol_augment::AugmentError;
use byol_data::DataError;
use byol_model::ModelError;
use thiserror::Error;

/// What can stop a run, before it begins or in the middle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// No recipe of that name ships.
    #[error("no preset is called `{name}`{}; there are: {known}", hint(.nearest))]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// The closest name.
        nearest: Option<String>,
        /// All names.
        known: String,
    },
    /// A recipe has no such key.
    #[error("{origin}: there is no key `{key}`{}", hint(.nearest))]
    UnknownKey {
        /// Where it was written.
        origin: String,
        /// The whole key.
        key: String,
        /// The closest key.
        nearest: Option<String>,
    },
    /// A recipe's value cannot be understood.
    #[error("{origin}: {why}")]
    Value {
        /// Where it was written.
        origin: String,
        /// What was expected and found.
        why: String,
    },
    /// A value is out of range, or two values contradict each other.
    #[error("`{key}` is {value}, expected {expected}")]
    Spec {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{action} {}: {why}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The system gives no threads.
    #[error("starting threads: {0}")]
    Threads(String),
    /// A step's loss is no number.
    #[error("the loss is {loss}")]
    LossNotFinite {
        /// The loss.
        loss: f64,
        /// A parameter that was none before the step; none if all were numbers.
        spoiled: Option<String>,
    },
    /// A parameter that was to be written is no number.
    #[error("`{name}` is infinite or NaN")]
    Spoiled {
        /// Its path.
        name: String,
    },
    /// Loss or parameters are no numbers any more: the step and the pictures it came of.
    #[error(
        "step {step}: {cause}; the run has diverged. Its pictures: {}. Try a lower base_lr, a \
         longer warmup or a larger batch; if it comes back at the same pictures, look at them",
        some(.samples)
    )]
    NotFinite {
        /// The optimiser step, from 1.
        step: u64,
        /// What was seen.
        cause: String,
        /// Numbers of its pictures in the set.
        samples: Vec<usize>,
    },
    /// A guard has ended the run.
    #[error("step {step}: {finding}")]
    Guarded {
        /// The optimiser step, from 1.
        step: u64,
        /// What it saw, what that means, what to try.
        finding: String,
    },
    /// The data ended or failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A policy is wrong or does not fit the pictures.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// Views cannot be made on a device.
    #[error("views on the device: {0}")]
    Views(String),
    /// The network's description is wrong.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The processes of a run have other parameters than each other.
    #[error(
        "step {step}: the {world} processes have come apart: their parameters differ. Are they the same build on \
         processors of the same instruction set? Go on from the last checkpoint"
    )]
    Apart {
        /// Optimiser steps done.
        step: u64,
        /// Processes.
        world: usize,
    },
    /// The replicas lost each other.
    #[error("exchanging with the other processes: {0}")]
    Collective(std::io::Error),
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

/// Numbers as people read them, not all of very many.
fn some(samples: &[usize]) -> String {
    const SHOWN: usize = 64;
    let shown = samples.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match samples.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
