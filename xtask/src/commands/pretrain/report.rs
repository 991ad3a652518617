//! What a finished run says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use byol_train::{RunDir, RunPlan};
use serde_json::json;

use super::watch::Bar;
use crate::cli::PretrainArgs;
use crate::terminal::say;

/// Where the time went.
#[derive(Debug)]
pub struct Times {
    /// Of training, in this process.
    pub elapsed: Duration,
    /// Steps that had been taken before.
    pub first: u64,
    /// Seconds of each observer.
    pub observed: BTreeMap<String, f64>,
}

/// The end of `pretrain`.
pub fn say_it(args: &PretrainArgs, run: &RunDir, plan: &RunPlan, bar: &Bar, times: &Times) {
    let (seconds, steps) = (times.elapsed.as_secs_f64(), plan.total_steps - times.first);
    let last = bar.last();
    if args.json {
        let result = json!({
            "run": run.path(),
            "encoder": run.encoder_path(),
            "steps": plan.total_steps,
            "resumed_at": (times.first > 0).then_some(times.first),
            "seconds": seconds,
            "images_per_second": (steps * plan.spec.batch as u64) as f64 / seconds,
            "data_wait": bar.data_wait(),
            "observer_seconds": times.observed,
            "last": last,
        });
        say(&format!("{result}"));
        return;
    }
    let loss = last.map_or(f64::NAN, |report| report.loss);
    let z_std = last.map_or(f64::NAN, |report| report.z_std);
    say(&format!(
        "trained {steps} steps in {seconds:.0} s; loss {loss:.3}, z std {z_std:.2} (1 is healthy, 0 collapsed)"
    ));
    if let Some(knn) = bar.knn() {
        say(&format!("20 nearest neighbours among some training pictures: {:.1} % right", 100.0 * knn));
    }
    say(&format!("encoder: {}", run.encoder_path().display()));
    say(&format!("how good is it: cargo xtask linear-eval --run {}", run.path().display()));
}
