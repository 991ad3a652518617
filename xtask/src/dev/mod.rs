//! For those who work on this repository.

mod ci;
mod tidy;

use anyhow::Result;

use crate::cli::{DevArgs, DevCommand};

/// Runs one of them.
pub fn run(args: &DevArgs) -> Result<()> {
    match args.command {
        DevCommand::Ci => ci::run(),
        DevCommand::Tidy => tidy::run(),
    }
}
