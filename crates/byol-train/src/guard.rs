//! A run that goes wrong says so early.

use std::ops::ControlFlow;

use byol_model::Encoder;
use serde::{Deserialize, Serialize};

use crate::{Observer, OptimizerKind, RunPlan, Seen, StepReport, TrainError, TrainState};

/// What a guard does about what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// Nothing: it does not look.
    Off,
    /// Says it, once.
    Warn,
    /// Says it; a collapse, or a run that learns nothing of its pictures, ends.
    Stop,
}

/// √d · std of the normalised projections, below which they are as good as one point: a
/// healthy run stays near 1 from its first step.
const LOW_STD: f64 = 0.1;
/// Effective rank below which projections lie on a line.
const LOW_RANK: f64 = 1.25;
/// Loss of 8 below which there is next to nothing left to predict: worth saying, no reason to
/// stop, since a long run on few pictures may come there.
const TRIVIAL_LOSS: f64 = 0.02;
/// What a prediction's cosine must be above a constant one's, averaged over steps with
/// [`MEMORY`], to say anything of its picture. A healthy run is 0.1 or more above it once its
/// learning rate has risen.
const GAIN: f32 = 0.01;
const MEMORY: f32 = 0.98;
/// Steps before that is looked at (and twice the warm-up), and for which it must last.
const BLIND_FROM: Steps = Steps { of_run: 8, least: 500, most: u64::MAX };
const BLIND_FOR: Steps = Steps { of_run: 20, least: 300, most: u64::MAX };
/// Pictures at a time, for what is a property of a batch.
const ROWS: usize = 16;
/// Share of the time waiting for views above which it is worth saying.
const STARVED: f64 = 0.25;
/// Steps over which that is looked at.
const STARVED_STEPS: u32 = 200;
/// What a collapse must last to be one.
const PATIENCE: Steps = Steps { of_run: 50, least: 50, most: 1000 };

/// Name of what it keeps in checkpoints.
const KEPT: &str = "guard";

/// Looks for representations that collapse, a loader that starves the steps, and a learning
/// rate that is not its optimiser's. Losses and parameters that are no numbers end a run
/// without it.
pub struct Guard<'a> {
    mode: GuardMode,
    tell: Box<dyn FnMut(&str) + 'a>,
    warned: bool,
    waiting: f64,
    waits: u32,
    starved: bool,
}

impl std::fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A share of a run within bounds.
struct Steps {
    of_run: u64,
    least: u64,
    most: u64,
}

impl Steps {
    /// In a run of so many steps.
    fn of(&self, total: u64) -> u64 {
        (total / self.of_run).clamp(self.least, self.most)
    }
}

/// What is wrong with a step, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symptom {
    Point,
    Line,
    Trivial,
    Blind,
}

/// What a guard remembers from step to step, in checkpoints too.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// Steps in a row with a symptom.
    ill: f32,
    /// The last rank.
    rank: f32,
    /// Cosine above a constant prediction's, averaged.
    gain: f32,
    /// Steps in a row without any.
    blind: f32,
}

impl Memory {
    const NEW: Self = Self { ill: 0.0, rank: f32::INFINITY, gain: 0.0, blind: 0.0 };

    /// Takes a step in, and says what is wrong for long enough, and since how many steps.
    fn after(&mut self, report: &StepReport, plan: &RunPlan) -> Option<(Symptom, u64)> {
        let (total, rows) = (plan.total_steps, plan.micro_batch());
        if let Some(measured) = report.measured.filter(|_| rows >= ROWS) {
            self.rank = measured.rank as f32;
        }
        let symptom = if report.z_std < LOW_STD {
            Some(Symptom::Point)
        } else if f64::from(self.rank) < LOW_RANK {
            Some(Symptom::Line)
        } else {
            (report.loss < TRIVIAL_LOSS).then_some(Symptom::Trivial)
        };
        // Steps whose numbers were not read are taken to be as this one.
        let steps = report.span as f32;
        self.ill = if symptom.is_some() { self.ill + steps } else { 0.0 };
        let gain = (report.cosine - report.constant_cosine) as f32;
        let kept = if report.span == 1 { MEMORY } else { MEMORY.powf(steps) };
        self.gain = kept * self.gain + (1.0 - kept) * gain;
        let settled = BLIND_FROM.of(total).max(2 * plan.warmup_steps);
        let blind = rows >= ROWS && report.step > settled && self.gain < GAIN;
        self.blind = if blind { self.blind + steps } else { 0.0 };

        let (patience, blind_for) = (PATIENCE.of(total), BLIND_FOR.of(total));
        symptom
            .filter(|_| self.ill as u64 >= patience)
            .map(|symptom| (symptom, patience))
            .or_else(|| (self.blind as u64 >= blind_for).then_some((Symptom::Blind, blind_for)))
    }
}

impl<'a> Guard<'a> {
    /// Warnings go to `tell`.
    pub fn new(mode: GuardMode, tell: impl FnMut(&str) + 'a) -> Self {
        Self { mode, tell: Box::new(tell), warned: false, waiting: 0.0, waits: 0, starved: false }
    }

    fn starving(&mut self, data_wait: f64) {
        self.waiting += data_wait;
        self.waits += 1;
        if self.waits == STARVED_STEPS {
            let share = self.waiting / f64::from(self.waits);
            if share > STARVED && !self.starved {
                self.starved = true;
                (self.tell)(&format!(
                    "steps wait for views {:.0} % of the time: making views is the bottleneck. Try more \
                     --loader-threads, or smaller pictures: ingest --max-side",
                    100.0 * share
                ));
            }
            (self.waiting, self.waits) = (0.0, 0);
        }
    }
}

/// A learning rate that is not its optimiser's, in words. Of the peak rate; the bounds are a
/// factor of ten or more outside of every recipe that ships.
pub fn odd_learning_rate(plan: &RunPlan) -> Option<String> {
    let (low, high, usual) = match plan.spec.optimizer.kind {
        OptimizerKind::Lars => (0.02, 100.0, "0.2 to 10 (its trust ratio of 1e-3 comes on top)"),
        OptimizerKind::Sgd => (1e-4, 5.0, "0.01 to 1"),
        OptimizerKind::Adamw => (1e-6, 0.02, "1e-4 to 3e-3"),
    };
    let (peak, kind) = (plan.peak_lr, plan.spec.optimizer.kind);
    let odd = peak > 0.0 && !(low..=high).contains(&peak);
    odd.then(|| {
        let kind = match kind {
            OptimizerKind::Lars => "LARS",
            OptimizerKind::Sgd => "SGD",
            OptimizerKind::Adamw => "AdamW",
        };
        format!(
            "the peak learning rate is {peak} (base_lr {} at a batch of {}), and {kind} usually has {usual}; \
             was base_lr meant for another optimiser?",
            plan.spec.base_lr, plan.spec.batch
        )
    })
}

impl<E: Encoder> Observer<E> for Guard<'_> {
    fn start(&mut self, plan: &RunPlan, _: &TrainState<E>) -> Result<(), TrainError> {
        if self.mode != GuardMode::Off
            && let Some(finding) = odd_learning_rate(plan)
        {
            (self.tell)(&finding);
        }
        Ok(())
    }

    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        if self.mode == GuardMode::Off || seen.report.span == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        self.starving(seen.report.data_wait);
        let kept = &mut seen.state.kept;
        let mut memory = match kept.get(KEPT) {
            Some((_, values)) if values.len() == 4 => {
                Memory { ill: values[0], rank: values[1], gain: values[2], blind: values[3] }
            }
            _ => Memory::NEW,
        };
        let found = memory.after(seen.report, seen.plan);
        let Memory { ill, rank, gain, blind } = memory;
        // A checkpoint holds numbers.
        kept.insert(KEPT.into(), (vec![4], vec![ill, rank.min(f32::MAX), gain, blind]));
        let Some((symptom, patience)) = found.filter(|_| !self.warned) else {
            return Ok(ControlFlow::Continue(()));
        };
        self.warned = true;
        let saw = match symptom {
            Symptom::Point => format!(
                "the representation has collapsed: for {patience} steps the projections of different pictures \
                 were the same (z std {:.3}; 1 is healthy)",
                seen.report.z_std
            ),
            Symptom::Line => format!(
                "the representation has collapsed: for {patience} steps the projections lay on a line \
                 (effective rank {rank:.2})"
            ),
            Symptom::Blind => format!(
                "nothing is learned of the pictures: for {patience} steps the predictions were no better than \
                 one and the same for all (cosine {:.3}, a constant reaches {:.3})",
                seen.report.cosine, seen.report.constant_cosine
            ),
            Symptom::Trivial => format!(
                "there is nothing to learn: for {patience} steps the loss was below {TRIVIAL_LOSS} of 8 \
                 ({:.5}), so that one view says all about the other",
                seen.report.loss
            ),
        };
        let meaning = match symptom {
            Symptom::Trivial => {
                "Look at the views (cargo xtask preview): are both the same? Try stronger augmentation"
            }
            Symptom::Blind => {
                "Either the views have nothing in common (cargo xtask preview: are there pictures in them? Are \
                 crops too small, or jitter too strong?), or steps are too large: try a lower base_lr or a \
                 longer warmup; --guard warn goes on all the same"
            }
            Symptom::Point | Symptom::Line => {
                "It rarely comes back from that. Try a lower base_lr or a longer warmup, tau_base nearer to 1, \
                 a larger batch; a run needs a predictor and tau above 0, and views with something in them \
                 (cargo xtask preview); --guard warn goes on all the same"
            }
        };
        let finding = format!("{saw}. {meaning}");
        if self.mode == GuardMode::Stop && symptom != Symptom::Trivial {
            return Err(TrainError::Guarded { step: seen.report.step, finding });
        }
        (self.tell)(&finding);
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataFacts, Measured, SpecBuilder};

    fn plan() -> RunPlan {
        let spec = SpecBuilder::preset("quick").unwrap().build().unwrap();
        RunPlan::of(spec, DataFacts { samples: 1000, channels: 1, ..DataFacts::default() }).unwrap()
    }

    fn report(step: u64, z_std: f64, rank: f64, cosine: f64) -> StepReport {
        StepReport {
            step,
            epoch: 0.0,
            loss: 4.0 - 4.0 * cosine,
            lr: 0.1,
            tau: 0.99,
            images_per_second: 1.0,
            data_wait: 0.0,
            observing: 0.0,
            loss_v: 2.0 - 2.0 * cosine,
            loss_v_prime: 2.0 - 2.0 * cosine,
            cosine,
            constant_cosine: 0.7,
            z_std,
            measured: step.is_multiple_of(25).then_some(Measured {
                rank,
                gradient_norm: 1.0,
                parameter_norm: 1.0,
                trust_ratio: None,
            }),
            span: 1,
            extra: std::collections::BTreeMap::new(),
        }
    }

    /// The first step at which it says something of these, and what.
    fn found(of: impl Fn(u64) -> StepReport) -> Option<(u64, Symptom)> {
        found_by(1, of)
    }

    /// The same where the numbers of every `span`-th step are read.
    fn found_by(span: u64, of: impl Fn(u64) -> StepReport) -> Option<(u64, Symptom)> {
        let (plan, mut memory) = (plan(), Memory::NEW);
        let read = |k| StepReport { span, ..of(k) };
        (span..=plan.total_steps)
            .step_by(span as usize)
            .find_map(|k| Some((k, memory.after(&read(k), &plan)?.0)))
    }

    #[test]
    fn what_is_ill_for_long_is_found_before_a_quarter_and_health_never() {
        // As measured on the set that ships: a step of a healthy run, and of three that are not.
        assert_eq!(found(|k| report(k, 0.73, 1.9, 0.9)), None);
        assert_eq!(found(|k| report(k, 0.02, 20.0, 0.99)), Some((120, Symptom::Point)));
        assert_eq!(found(|k| report(k, 0.6, 1.05, 0.9)), Some((144, Symptom::Line)));
        assert!(matches!(found(|k| report(k, 0.6, 2.5, 0.68)), Some((751..1500, Symptom::Blind))));
        assert_eq!(found(|k| report(k, 0.95, 20.0, 0.9999)), Some((120, Symptom::Trivial)));
        // A moment is none, nor a beginning.
        assert_eq!(found(|k| report(k, if k % 100 == 0 { 0.73 } else { 0.02 }, 9.0, 0.9)), None);
        assert_eq!(found(|k| report(k, 0.7, 9.0, if k < 700 { 0.5 } else { 0.9 })), None);
    }

    /// As on a GPU: what is ill for as many steps, not for as many readings.
    #[test]
    fn few_readings_find_the_same_at_about_the_same_step() {
        let ill = [(0.02, 20.0, 0.99), (0.6, 1.05, 0.9), (0.6, 2.5, 0.68), (0.95, 20.0, 0.9999)];
        for (z_std, rank, cosine) in ill {
            let of = |k| report(k, z_std, rank, cosine);
            let (every, tenth) = (found(of).unwrap(), found_by(10, of).unwrap());
            assert!(every.1 == tenth.1 && every.0.abs_diff(tenth.0) <= 50, "{every:?}, {tenth:?}");
        }
        assert_eq!(found_by(10, |k| report(k, 0.73, 1.9, 0.9)), None);
    }
}
