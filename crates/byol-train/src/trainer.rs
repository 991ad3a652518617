//! The loop.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use byol_data::{Cursor, DataError, ImageDataset, Loader, LoaderConfig, Partition};
use byol_model::{
    Collective, Encoder, Mlp, OnlineNetwork, ResNet, ResNetConfig, TargetInit, TargetNetwork, input,
    load_named, named_tensors,
};

use crate::views::two_views;
use crate::{Byol, Observer, Optimizer, RunPlan, StepReport, TrainError, TrainState, learning_rate, tau};

/// What changes a run's speed and never its result.
#[derive(Debug, Clone, Copy)]
pub struct TrainOptions {
    /// Threads that make views.
    pub loader_threads: usize,
    /// Batches of views that may wait.
    pub prefetch: usize,
}

/// Steps over which rates are averaged.
const WINDOW: usize = 20;

/// The encoder that a plan of this seed begins with.
///
/// # Errors
///
/// If the configuration describes no network.
pub fn init_encoder(config: &ResNetConfig, seed: u64, device: &Device) -> Result<ResNet, TrainError> {
    let device = device.clone().autodiff();
    device.seed(seed);
    Ok(drawn(config.init(&device)?))
}

/// The networks of a plan, drawn from its seed. `start` is an encoder of the plan's
/// configuration that theirs begins as; what is drawn besides is the same with it.
///
/// # Errors
///
/// If the plan describes no network, or `start` is another one.
pub fn init_networks(
    plan: &RunPlan,
    start: Option<&ResNet>,
    device: &Device,
) -> Result<Byol<ResNet>, TrainError> {
    let mut encoder = init_encoder(&plan.encoder(), plan.spec.seed, device)?;
    let device = device.clone().autodiff();
    let projector = drawn(plan.spec.projector.init(encoder.dim(), &device));
    let predictor = drawn(plan.spec.predictor.init(plan.spec.projector.output, &device));
    if let Some(start) = start {
        let tensors = named_tensors(start).into_iter().map(|t| (t.name, (t.shape, t.values)));
        encoder = load_named(encoder, tensors.collect())?;
    }
    let online = OnlineNetwork { encoder, projector, predictor };
    let target = match plan.spec.target_init {
        TargetInit::Copy => TargetNetwork::copy_of(&online),
        TargetInit::Independent => {
            let encoder = drawn(plan.encoder().init(&device)?);
            let projector: Mlp = drawn(plan.spec.projector.init(encoder.dim(), &device));
            TargetNetwork::new(encoder, projector)
        }
    };
    let optimizer = Optimizer::new(plan.spec.optimizer).with_multipliers(plan.spec.lr_multipliers);
    Ok(Byol { online, target, optimizer })
}

/// Burn draws parameters when they are first looked at: look at them now, in order.
fn drawn<M: Module>(module: M) -> M {
    let _ = named_tensors(&module);
    module
}

/// Trains from where `state` is to the end of the plan, or until an observer breaks off, and
/// returns what became of it. Every step is told to the observers, in order.
///
/// # Errors
///
/// Data that cannot be read, a loss that is no number, an observer's error.
pub fn train<E: Encoder>(
    plan: &RunPlan,
    mut state: TrainState<E>,
    set: Arc<ImageDataset>,
    options: TrainOptions,
    collective: &dyn Collective,
    device: &Device,
    observers: &mut [&mut dyn Observer<E>],
) -> Result<TrainState<E>, TrainError> {
    let device = device.clone().autodiff();
    let policy = plan.policy()?;
    let (channels, size, seed) = (plan.data.channels, policy.view.size, plan.spec.seed);
    let slot_len = policy.view.output_len(channels);
    let (step, per_epoch) = (state.step, plan.steps_per_epoch.max(1));
    let config = LoaderConfig {
        seed,
        batch: plan.spec.batch,
        partition: Partition { rank: collective.rank(), world: collective.world() },
        start: Cursor { epoch: step / per_epoch, batch: step % per_epoch },
        n_batches: plan.total_steps.saturating_sub(step),
        parts: plan.spec.accumulation,
        threads: options.loader_threads,
        prefetch: options.prefetch,
    };
    let mut loader = Loader::start(set, config, slot_len, move |set, index, epoch, slots| {
        two_views(&policy, seed, channels, set, index, epoch, slots)
    })?;
    for observer in observers.iter_mut() {
        observer.start(plan, &state)?;
    }
    let mut clock = Clock::new();
    for k in step..plan.total_steps {
        let (lr, tau) = (learning_rate(plan, k), tau(plan, k));
        let views = |_| {
            let batch = loader.next().ok_or_else(|| DataError::Loader("it ended early".into()))??;
            Ok(batch.data.map(|view| input::tensor(view, channels, size, &device)))
        };
        let (byol, values) = state.byol.step_over(plan.spec.accumulation, views, lr, tau, collective)?;
        state = TrainState { byol, step: k + 1 };
        if !values.loss.is_finite() {
            return Err(TrainError::NotFinite { step: k + 1, loss: values.loss });
        }
        let (steps_per_second, data_wait) = clock.tick(loader.waited().as_secs_f64());
        let report = StepReport {
            step: k + 1,
            epoch: (k + 1) as f64 / plan.steps_per_epoch as f64,
            loss: values.loss,
            lr,
            tau,
            images_per_second: steps_per_second * plan.spec.batch as f64,
            data_wait,
            z_std: values.z_std,
        };
        let mut flow = ControlFlow::Continue(());
        for observer in observers.iter_mut() {
            if observer.step(&report, &state)?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
        if flow.is_break() {
            break;
        }
    }
    for observer in observers.iter_mut() {
        observer.finish(&state)?;
    }
    Ok(state)
}

/// Rates over the last steps.
struct Clock {
    start: Instant,
    /// (seconds since the start, seconds waited) after each of the last steps.
    ticks: VecDeque<(f64, f64)>,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), ticks: VecDeque::from([(0.0, 0.0)]) }
    }

    /// Steps a second, and the share of time that was waiting.
    fn tick(&mut self, waited: f64) -> (f64, f64) {
        let now = self.start.elapsed().as_secs_f64();
        self.ticks.push_back((now, waited));
        if self.ticks.len() > WINDOW + 1 {
            self.ticks.pop_front();
        }
        let (first, first_waited) = self.ticks[0];
        let span = (now - first).max(f64::MIN_POSITIVE);
        ((self.ticks.len() - 1) as f64 / span, ((waited - first_waited) / span).clamp(0.0, 1.0))
    }
}
