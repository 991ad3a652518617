//! The loop.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use byol_data::{Cursor, ImageDataset, LoaderConfig, Partition};
use byol_model::{Collective, Encoder, effective_rank};

use crate::budget::{Budget, Pace};
use crate::device_views::LoadedPictures;
use crate::source::{LoadedViews, ViewSource};
use crate::step::Numbers;
use crate::views::two_views;
use crate::{
    MEASURE_EVERY, Measured, Observer, RunPlan, Seen, StepBatch, StepReport, TrainError, TrainState,
    learning_rate, replicas, step, tau,
};

/// What changes a run's speed and never its result.
#[derive(Debug, Clone, Copy)]
pub struct TrainOptions {
    /// Threads that make views.
    pub loader_threads: usize,
    /// Batches of views that may wait.
    pub prefetch: usize,
    /// Of a run by the clock: what its horizon is measured by. Without it the plan's record is
    /// followed.
    pub budget: Option<Budget>,
    /// Steps from one whose numbers are read back to the next: a device of its own goes on working in between.
    /// 1 for a CPU; several processes read every step's.
    pub read_every: u64,
    /// Whether parameters are the same bits in all processes, as on CPUs of one instruction set. GPUs choose their
    /// kernels by measuring them, each for itself.
    pub exact: bool,
}

/// Steps over which rates are averaged.
const WINDOW: usize = 20;

/// Trains on `set` from where `state` is to the end of the plan, or until an observer breaks
/// off, and returns what became of it. Every step is told to the observers, in order. Into the
/// plan of a run by the clock its horizon is written, as it is measured.
///
/// # Errors
///
/// Data that cannot be read, a loss that is no number, an observer's error.
pub fn train<E: Encoder>(
    plan: &mut RunPlan,
    state: TrainState<E>,
    set: Arc<ImageDataset>,
    options: TrainOptions,
    collective: &dyn Collective,
    device: &Device,
    observers: &mut [&mut dyn Observer<E>],
) -> Result<TrainState<E>, TrainError> {
    replicas::check_world(plan, collective.world())?;
    let policy = plan.policy()?;
    let (channels, size, seed) = (plan.data.channels, policy.view.size, plan.spec.seed);
    let slot_len = policy.view.output_len(channels);
    let (step, per_epoch) = (state.step, plan.steps_per_epoch.max(1));
    let n_batches = match options.budget {
        None => plan.total_steps.saturating_sub(step),
        Some(_) => u64::MAX / 2, // nobody knows
    };
    let config = LoaderConfig {
        seed,
        batch: plan.spec.batch,
        partition: Partition { rank: collective.rank(), world: collective.world() },
        start: Cursor { epoch: step / per_epoch, batch: step % per_epoch },
        n_batches,
        parts: plan.spec.accumulation,
        threads: options.loader_threads,
        prefetch: options.prefetch,
    };
    if plan.spec.device_views {
        let mut views = LoadedPictures::start(set, config, policy, channels, device)?;
        return run(plan, state, &mut views, options, collective, observers);
    }
    let make = move |set: &ImageDataset, index, epoch, slots: [&mut [f32]; 2]| {
        two_views(&policy, seed, channels, set, index, epoch, slots)
    };
    let mut views = LoadedViews::start(set, config, slot_len, make, channels, size, device)?;
    run(plan, state, &mut views, options, collective, observers)
}

/// The same on views from wherever: each of the plan's micro-batches is one call of `source`.
/// The networks must be on an autodiff device, and the views too.
///
/// # Errors
///
/// As [`train`], and what `source` returns.
pub fn train_on<E: Encoder>(
    plan: &mut RunPlan,
    state: TrainState<E>,
    source: &mut dyn ViewSource,
    budget: Option<Budget>,
    collective: &dyn Collective,
    observers: &mut [&mut dyn Observer<E>],
) -> Result<TrainState<E>, TrainError> {
    let options = TrainOptions { loader_threads: 0, prefetch: 0, budget, read_every: 1, exact: true };
    run(plan, state, source, options, collective, observers)
}

fn run<E: Encoder>(
    plan: &mut RunPlan,
    mut state: TrainState<E>,
    source: &mut dyn ViewSource,
    options: TrainOptions,
    collective: &dyn Collective,
    observers: &mut [&mut dyn Observer<E>],
) -> Result<TrainState<E>, TrainError> {
    let TrainOptions { budget, read_every, exact, .. } = options;
    for observer in observers.iter_mut() {
        observer.start(plan, &state)?;
    }
    // Of a run by the clock it is replica 0's.
    let now = |budget: &Budget| replicas::of_first(collective, budget.seconds());
    let mut pace = match budget.zip(plan.spec.minutes) {
        Some((budget, minutes)) => Some((budget, Pace::new(&budget, minutes, state.step, now(&budget)?))),
        None => None,
    };
    let before = [source.waited(), Duration::ZERO, collective.spent()];
    let mut clock = Clock::new(before.map(|time| time.as_secs_f64()));
    let mut observing = Duration::ZERO;
    let (mut samples, mut before): (Vec<usize>, Vec<usize>) = Default::default();
    let (first, mut last) = (state.step, Numbers::default());
    // The last step whose numbers are known.
    let mut known = first;
    while state.step < plan.total_steps {
        let k = state.step;
        let (lr, tau) = (learning_rate(plan, k), tau(plan, k));
        let measured = (k + 1).is_multiple_of(MEASURE_EVERY);
        if measured {
            state.byol.optimizer.measure();
        }
        std::mem::swap(&mut samples, &mut before);
        samples.clear();
        let views = |_| {
            let batch = source.next_views()?;
            samples.extend(&batch.samples);
            Ok(batch.views)
        };
        let read = measured
            || k == first
            || (k + 1).is_multiple_of(read_every.max(1))
            || k + 1 == plan.total_steps
            || collective.world() > 1;
        let n = plan.spec.accumulation;
        let stepped = state.byol.step_reading(read, n, views, lr, tau, collective);
        let (byol, values) = stepped.map_err(|error| blame(error, (known, k), &samples, &before))?;
        state = TrainState { byol, step: k + 1, kept: state.kept };
        if let Some((budget, pace)) = &mut pace {
            pace.correct(plan, k + 1, now(budget)?);
        }
        let spent = [source.waited(), observing, collective.spent()];
        let rates = clock.tick(spent.map(|time| time.as_secs_f64()));
        last = values.numbers.unwrap_or(last);
        let mut report = report(plan, k, (lr, tau), &last, &rates);
        report.span = if read { k + 1 - known } else { 0 };
        if collective.world() > 1 {
            report.extra.insert("exchanging".into(), rates.exchanging);
            if (k + 1).is_multiple_of(replicas::COMPARE_EVERY) {
                replicas::compare(collective, &state.byol, k + 1, exact)?;
            }
        }
        if let Some(norms) = state.byol.optimizer.norms() {
            report.measured = Some(Measured {
                rank: effective_rank(replicas::gathered(collective, values.projection.clone())?),
                gradient_norm: norms.gradient,
                parameter_norm: norms.parameters,
                trust_ratio: norms.trust_ratio,
            });
        }
        let step::Seen { representation, projection, .. } = values;
        let batch = StepBatch { samples: std::mem::take(&mut samples), representation, projection };
        let begun = Instant::now();
        let mut flow = ControlFlow::Continue(());
        for observer in observers.iter_mut() {
            let mut seen = Seen { plan, report: &mut report, state: &mut state, batch: &batch };
            let told = observer.step(&mut seen);
            let told = told.map_err(|error| blame(error, (known, k), &batch.samples, &before));
            if told?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
        observing += begun.elapsed();
        known = if read { k + 1 } else { known };
        samples = batch.samples;
        if replicas::any(collective, flow.is_break())? {
            break;
        }
    }
    if pace.is_some() && state.step == plan.total_steps {
        plan.settle();
    }
    for observer in observers.iter_mut() {
        let step = state.step.saturating_sub(1);
        let finished = observer.finish(plan, &state);
        finished.map_err(|error| blame(error, (known.min(step), step), &samples, &before))?;
    }
    Ok(state)
}

/// An error with the step and the pictures that it came of; `k` is the step from 0, and `known` the steps until
/// numbers were read last.
fn blame(error: TrainError, (known, k): (u64, u64), samples: &[usize], before: &[usize]) -> TrainError {
    let (step, cause, samples) = match error {
        TrainError::LossNotFinite { loss, spoiled: None } => {
            (k + 1, format!("the loss is {loss}, of parameters that are numbers"), samples)
        }
        TrainError::LossNotFinite { spoiled: Some(name), .. } => {
            (k, format!("its gradient has made `{name}` infinite or NaN"), before)
        }
        TrainError::Spoiled { name } => {
            (k + 1, format!("its gradient has made `{name}` infinite or NaN"), samples)
        }
        other => return other,
    };
    let cause = match k - known {
        0 => cause,
        _ => format!(
            "{cause}, in this step or one since step {known}, where numbers were read last (--metrics-every 1 \
             finds which)"
        ),
    };
    TrainError::NotFinite { step, cause, samples: samples.to_vec() }
}

fn report(plan: &RunPlan, k: u64, (lr, tau): (f64, f64), values: &Numbers, rates: &Rates) -> StepReport {
    StepReport {
        step: k + 1,
        epoch: (k + 1) as f64 / plan.steps_per_epoch as f64,
        loss: values.loss,
        lr,
        tau,
        images_per_second: rates.steps_per_second * plan.spec.batch as f64,
        data_wait: rates.waiting,
        observing: rates.observing,
        loss_v: values.loss_v,
        loss_v_prime: values.loss_v_prime,
        // Of 2 − 2 cos in both directions.
        cosine: 1.0 - values.loss / 4.0,
        constant_cosine: values.constant_cosine,
        z_std: values.z_std,
        measured: None,
        span: 1,
        extra: BTreeMap::new(),
    }
}

struct Rates {
    steps_per_second: f64,
    /// Shares of the time.
    waiting: f64,
    observing: f64,
    exchanging: f64,
}

/// Rates over the last steps.
struct Clock {
    start: Instant,
    /// Seconds since the start, waited, observed and exchanged, after each of the last steps.
    ticks: VecDeque<[f64; 4]>,
}

impl Clock {
    /// What was waited, observed and exchanged before the first step is not counted.
    fn new([waited, observed, exchanged]: [f64; 3]) -> Self {
        Self { start: Instant::now(), ticks: VecDeque::from([[0.0, waited, observed, exchanged]]) }
    }

    fn tick(&mut self, [waited, observed, exchanged]: [f64; 3]) -> Rates {
        let now = [self.start.elapsed().as_secs_f64(), waited, observed, exchanged];
        self.ticks.push_back(now);
        if self.ticks.len() > WINDOW + 1 {
            self.ticks.pop_front();
        }
        let first = self.ticks[0];
        let span = (now[0] - first[0]).max(f64::MIN_POSITIVE);
        let share = |i: usize| ((now[i] - first[i]) / span).clamp(0.0, 1.0);
        Rates {
            steps_per_second: (self.ticks.len() - 1) as f64 / span,
            waiting: share(1),
            observing: share(2),
            exchanging: share(3),
        }
    }
}
