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
pub fn learning_rate(plan: &RunPlan, k: u64) -> f64 {
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
        TauSchedule::Cosine => {
            let progress = k.min(plan.total_steps) as f64 / plan.total_steps.max(1) as f64;
            1.0 - (1.0 - plan.spec.tau_base) * half_cosine(progress)
        }
    }
}
