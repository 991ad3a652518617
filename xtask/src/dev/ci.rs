//! What CI runs: the steps of `.ci/steps`, one a line, `name: command`.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

const STEPS: &str = include_str!("../../../.ci/steps");

/// Runs the steps in order and stops at the first that fails.
pub fn run() -> Result<()> {
    for line in STEPS.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (name, command) = line.split_once(": ").with_context(|| format!(".ci/steps: `{line}`"))?;
        crate::terminal::tell(&format!("== {name}: {command}"));
        let start = Instant::now();
        let status = Command::new("sh").args(["-c", command]).status().context("starting sh")?;
        crate::terminal::tell(&format!("== {name}: {:.0} s", start.elapsed().as_secs_f64()));
        if !status.success() {
            bail!("{name} failed ({status})");
        }
    }
    Ok(())
}
