//! A run by the clock: how many steps there will be is measured while they are taken.

use std::time::{Duration, Instant};

use crate::{Leg, RunPlan};

/// Time for a whole run, from reading the pictures to the last file.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// When it began.
    pub started: Instant,
    /// What earlier processes have spent of it.
    pub spent: Duration,
    /// What the last checkpoint and the encoder's file will take.
    pub reserve: Duration,
}

/// Share of the time after which the horizon is corrected again.
const INTERVAL: f64 = 0.005;
/// Shares of the time that is left, of which the correction is not later than one.
const NEARER: f64 = 0.1;
/// First steps after each of which it is corrected.
const FIRST: u64 = 4;
/// Weight of the last stretch in the seconds that a step takes.
const WEIGHT: f64 = 0.5;

/// Corrects a plan's horizon.
#[derive(Debug)]
pub(crate) struct Pace {
    total: f64,
    /// Step and seconds at the last correction.
    last: (u64, f64),
    step_seconds: Option<f64>,
    first: u64,
}

impl Budget {
    /// What a run that goes on after `step` has spent before, by its record.
    pub fn spent(plan: &RunPlan, step: u64) -> Duration {
        let spent = plan.legs.last().map_or(0.0, |leg| {
            let a_step = leg.seconds / leg.step.max(1) as f64;
            leg.seconds + step.saturating_sub(leg.step) as f64 * a_step
        });
        Duration::try_from_secs_f64(spent).unwrap_or_default() // of an edited record
    }

    /// Spent so far.
    pub(crate) fn seconds(&self) -> f64 {
        (self.spent + self.started.elapsed()).as_secs_f64()
    }
}

impl Pace {
    /// Of a run that is about to take `step`, `now` seconds after it began.
    pub(crate) fn new(budget: &Budget, minutes: f64, step: u64, now: f64) -> Self {
        let total = 60.0 * minutes - budget.reserve.as_secs_f64();
        Self { total, last: (step, now), step_seconds: None, first: step }
    }

    /// After `done` steps and `now` seconds: a new leg, where one is due.
    pub(crate) fn correct(&mut self, plan: &mut RunPlan, done: u64, now: f64) {
        let (since, left) = (now - self.last.1, self.total - now);
        let due = since >= (INTERVAL * self.total).min(NEARER * left);
        if !due && done >= self.first + FIRST {
            return;
        }
        let measured = since / (done - self.last.0).max(1) as f64;
        // The first step also touches memory for the first time.
        let before = self.step_seconds.filter(|_| done > self.first + 2);
        let a_step = before.map_or(measured, |before| WEIGHT * measured + (1.0 - WEIGHT) * before);
        (self.step_seconds, self.last) = (Some(a_step), (done, now));
        // As a cast saturates: nothing where no time is left, very much where steps take none.
        let steps = (left / a_step.max(1e-9)).round() as u64;
        let total_steps = done.saturating_add(steps);
        // The recipe's own length is no estimate.
        let progress =
            if plan.legs.is_empty() { done as f64 / total_steps.max(1) as f64 } else { plan.progress(done) };
        plan.total_steps = total_steps;
        let seconds = (now * 1000.0).round() / 1000.0;
        plan.legs.push(Leg { step: done, progress, total_steps: plan.total_steps, seconds });
    }
}
