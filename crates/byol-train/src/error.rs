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
    /// Loss or parameters are no numbers any more.
    #[error(
        "step {step}: the loss is {loss}; the run has diverged. Try a lower base_lr, a longer \
         warmup or a larger batch"
    )]
    NotFinite {
        /// The optimiser step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The data ended or failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A policy is wrong or does not fit the pictures.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// The network's description is wrong.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The replicas lost each other.
    #[error("exchanging gradients: {0}")]
    Collective(std::io::Error),
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}
