//! Learning rate and τ as pure functions of the optimiser step.

use std::f64::consts::PI;

use crate::{RunPlan, TauSchedule};

/// The batch that `base_lr` is stated for (paper, section 3.3): the peak learning
/// rate is `base_lr` · batch / 256.
pub const REFERENCE_BATCH: f64 = 256.0;

/// Falls from 1 at 0 to 0 at 1.
fn half_cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

/// The learning rate of optimiser step `k` (from 0): linear from 0 over the
/// warm-up, then half a cosine to 0 over the rest, without restarts (paper,
/// section 3.3; DeepMind's `utils/schedules.py`).
///
/// In a run by the clock the same of its [progress](RunPlan::progress), with the warm-up as a
/// share.
pub fn learning_rate(plan: &RunPlan, k: u64) -> f64 {
    if plan.spec.minutes.is_some() {
        let (progress, warmup) = (plan.progress(k), plan.warmup_share());
        let factor = if progress < warmup {
            progress / warmup
        } else {
            half_cosine((progress - warmup) / (1.0 - warmup))
        };
        return plan.peak_lr * factor;
    }
    if k < plan.warmup_steps {
        return plan.peak_lr * k as f64 / plan.warmup_steps as f64;
    }
    let rest = (plan.total_steps - plan.warmup_steps).max(1);
    plan.peak_lr * half_cosine((k - plan.warmup_steps).min(rest) as f64 / rest as f64)
}

/// τ of optimiser step `k`: 1 − (1 − τ_base) · (cos(πk/K) + 1) / 2 (paper, section
/// 3.3), or constant.
pub fn tau(plan: &RunPlan, k: u64) -> f64 {
    match plan.spec.tau_schedule {
        TauSchedule::Constant => plan.spec.tau_base,
        TauSchedule::Cosine => 1.0 - (1.0 - plan.spec.tau_base) * half_cosine(plan.progress(k)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataFacts, Leg, SpecBuilder};

    fn plan(minutes: Option<f64>) -> RunPlan {
        let mut spec = SpecBuilder::preset("quick").unwrap().build().unwrap();
        spec.minutes = minutes;
        RunPlan::of(spec, DataFacts { samples: 1000, channels: 1, ..DataFacts::default() }).unwrap()
    }

    #[test]
    fn a_horizon_that_was_right_from_the_start_changes_nothing() {
        let (fixed, mut clocked) = (plan(None), plan(Some(3.0)));
        clocked.legs = vec![Leg { step: 1, progress: 1.0 / 6000.0, total_steps: 6000, seconds: 0.1 }];
        for k in [0, 1, 7, 299, 300, 301, 3000, 5999, 6000] {
            let gap = (learning_rate(&fixed, k) - learning_rate(&clocked, k)).abs();
            assert!(gap < 1e-12, "step {k}: {gap}");
            assert!((tau(&fixed, k) - tau(&clocked, k)).abs() < 1e-12);
        }
    }

    /// However wrong the estimates were, nothing jumps, and both schedules end.
    #[test]
    fn corrected_horizons_join() {
        let mut plan = plan(Some(3.0));
        for (step, total_steps) in [(1, 50), (10, 4000), (500, 900), (600, 2000), (1990, 2000)] {
            let progress = plan.progress(step);
            plan.legs.push(Leg { step, progress, total_steps, seconds: 0.0 });
        }
        let progress: Vec<f64> = (10..=2000).map(|k| plan.progress(k)).collect();
        assert!(progress.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] - pair[0] < 0.01));
        assert_eq!(plan.progress(2000), 1.0);
        assert!((tau(&plan, 2000) - 1.0).abs() < 1e-15 && learning_rate(&plan, 2000) < 1e-15);
    }
}
