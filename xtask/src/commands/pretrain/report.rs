//! What a finished run says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use byol_train::{RunDir, RunPlan};
use serde_json::json;

use super::watch::Bar;
use crate::cli::PretrainArgs;
use crate::terminal::{say, typed};

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

/// The end of `pretrain`; `asked` is how many pictures were scored by their neighbours, and `scored` whether there is
/// a labelled split to score on.
pub fn say_it(
    args: &PretrainArgs,
    run: &RunDir,
    plan: &RunPlan,
    bar: &Bar,
    times: &Times,
    asked: Option<usize>,
    scored: bool,
) {
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
    match last {
        Some(last) => say(&format!(
            "trained {steps} steps in {seconds:.0} s; loss {:.3}, z std {:.2} (1 is healthy, 0 collapsed)",
            last.loss, last.z_std
        )),
        None => say("all steps had been taken before"),
    }
    if let (Some(knn), Some(asked)) = (bar.knn(), asked) {
        let right = 100.0 * knn;
        say(&format!("20 nearest neighbours among some training pictures: {right:.1} % of {asked} right"));
    }
    say(&format!("encoder: {}", typed(&run.encoder_path())));
    let run = typed(run.path());
    say(&match scored {
        true => format!("how good is it: cargo xtask linear-eval --run {run}"),
        false => format!("use it elsewhere: cargo xtask export --run {run} --out encoder.safetensors"),
    });
}
