//! Whose fault an error is decides the exit code: 2 for what was typed, else 1.

use std::process::ExitCode;

use byol_augment::AugmentError;
use byol_data::DataError;
use byol_model::ModelError;
use byol_train::TrainError;

/// An argument that clap could not judge.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Ctrl-C, after everything was saved.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The exit code for an error.
pub fn code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        return ExitCode::from(130);
    }
    let typed = error.chain().any(|cause| {
        cause.is::<Usage>()
            || matches!(
                cause.downcast_ref(),
                Some(
                    AugmentError::Policy { .. } | AugmentError::UnknownPolicy { .. } | AugmentError::Toml(_)
                )
            )
            || matches!(
                cause.downcast_ref(),
                Some(
                    TrainError::UnknownPreset { .. }
                        | TrainError::UnknownKey { .. }
                        | TrainError::Value { .. }
                        | TrainError::Spec { .. }
                        | TrainError::Augment(AugmentError::Policy { .. })
                        | TrainError::Model(ModelError::Config { .. })
                        | TrainError::Data(DataError::BatchTooLarge { .. })
                )
            )
    });
    ExitCode::from(if typed { 2 } else { 1 })
}
