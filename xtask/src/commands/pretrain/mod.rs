//! The main job: a recipe and pictures become a run.

mod fit;
mod follow;
mod fresh;
mod online;
mod probe;
mod report;
mod resume;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use byol_data::ImageDataset;
use byol_model::{EncoderDescription, ResNet, SharedStatistics, named_tensors, save_encoder};
use byol_train::{
    Budget, Checkpoint, CheckpointRules, Checkpoints, DeviceViews, Guard, GuardMode, JsonLines, Lanes,
    Observer, RunDir, RunLock, RunOptions, RunPlan, TensorBoard, Timed, TrainOptions, TrainState,
    check_world, init_networks, train,
};

use super::preview::views_png;
use crate::cli::{GuardChoice, PretrainArgs};
use crate::compose::{Source, check_precision, set_threads, tell_precision};
use crate::device::proof::{self, Shapes};
use crate::device::{self, Place};
use crate::exit::Interrupted;
use crate::replicas::Replicas;
use crate::subject::preprocessing_of;
use crate::terminal::{CARGO, tell, typed};
use follow::Shared;
use online::OnlineKnn;
use probe::OnlineProbe;
use watch::{Bar, Interrupt, Memory};

/// Batches of views that wait.
const PREFETCH: usize = 4;
/// Steps on a GPU from one whose numbers are read to the next.
const READ_EVERY: u64 = 10;

/// Trains an encoder and leaves a run folder. `started` is when the program was.
pub fn run(args: &PretrainArgs, started: Instant) -> Result<()> {
    set_threads(args.threads)?;
    let place = device::pick(args.device)?;
    let replicas = Replicas::join()?;
    let interrupt = Interrupt::listen(replicas.leads())?;
    replicas.all_or_none(|| {
        if replicas.leads() {
            lead(args, &replicas, &place, interrupt, started)
        } else {
            follow(args, &replicas, &place, interrupt, started)
        }
    })
}

fn lead(
    args: &PretrainArgs,
    replicas: &Replicas,
    place: &Place,
    interrupt: Interrupt,
    started: Instant,
) -> Result<()> {
    let all = replicas.all.as_ref();
    let begun = match &args.resume {
        Some(run) => match resume::begin(args, run, place, all)? {
            Some(begun) => begun,
            None => return follow::ended(all),
        },
        None => fresh::begin(args, place, all)?,
    };
    follow::tell_all(all, &begun.plan, begun.measured, &begun.state)?;
    go(args, begun, replicas, place, interrupt, started)
}

/// Takes part in a run whose folder another process keeps.
fn follow(
    args: &PretrainArgs,
    replicas: &Replicas,
    place: &Place,
    mut interrupt: Interrupt,
    started: Instant,
) -> Result<()> {
    let Some(shared) = follow::hear(replicas.all.as_ref(), args, place)? else { return Ok(()) };
    let Shared { mut plan, measured, set, mut state } = shared;
    let options = prepare(args, &plan, measured, &mut state, replicas, place, started)?;
    let observers: &mut [&mut dyn Observer<ResNet>] = &mut [&mut interrupt];
    let (all, before) = (replicas.all.as_ref(), plan.clone());
    let trained = fit::guarded(&before, place, all.world(), || {
        train(&mut plan, state, Arc::new(set), options, all, &place.device, observers)
    })??;
    if trained.step < plan.total_steps { Err(Interrupted.into()) } else { Ok(()) }
}

/// Sees to it that the place can take the steps of the plan, and takes them right.
fn check(args: &PretrainArgs, plan: &RunPlan, place: &Place, world: usize) -> Result<()> {
    check_world(plan, world)?;
    check_precision(plan.spec.precision, place)?;
    if plan.spec.device_views {
        let policy = plan.policy()?;
        for view in [&policy.view, &policy.view_prime] {
            DeviceViews::new(view, plan.data.channels, &place.device)?;
        }
    }
    match &place.gpu {
        Some(gpu) => proof::prove(gpu, &Shapes::of(plan)?, Some(args.force)),
        None => fit::check(plan, world),
    }
}

/// Steps from one whose numbers are read to the next.
fn read_every(args: &PretrainArgs, place: &Place) -> u64 {
    args.metrics_every.unwrap_or(if place.gpu.is_some() { READ_EVERY } else { 1 })
}

/// How a process takes its part in the steps.
fn prepare(
    args: &PretrainArgs,
    plan: &RunPlan,
    measured: bool,
    state: &mut TrainState<ResNet>,
    replicas: &Replicas,
    place: &Place,
    started: Instant,
) -> Result<TrainOptions> {
    if place.gpu.is_some() {
        // Parameters are drawn on the CPU, so that a seed gives the same ones everywhere.
        let there = init_networks(plan, None, &place.device)?;
        *state = Checkpoint::of(plan, state).restore(there)?;
    } else {
        state.byol.lanes = Lanes::of(rayon::current_num_threads())?;
    }
    if replicas.all.world() > 1 && plan.spec.sync_batch_norm {
        state.byol.shared = Some(SharedStatistics::new(replicas.all.clone()));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let budget = measured.then(|| budget(plan, state, started));
    let loader_threads = args.loader_threads.map_or(cores, usize::from);
    let read_every = read_every(args, place);
    let exact = place.gpu.is_none();
    Ok(TrainOptions { loader_threads, prefetch: PREFETCH, budget, read_every, exact })
}

/// A run that is ready to take its next step.
struct Begun {
    run: RunDir,
    /// Nobody else trains in the folder.
    _lock: RunLock,
    plan: RunPlan,
    /// Whether its horizon is measured by the clock.
    measured: bool,
    source: Source,
    set: ImageDataset,
    state: TrainState<ResNet>,
    metrics: JsonLines,
}

fn go(
    args: &PretrainArgs,
    begun: Begun,
    replicas: &Replicas,
    place: &Place,
    interrupt: Interrupt,
    started: Instant,
) -> Result<()> {
    let Begun { run, _lock, mut plan, measured, source, set, mut state, metrics } = begun;
    let options = prepare(args, &plan, measured, &mut state, replicas, place, started)?;
    let (set, device) = (Arc::new(set), &place.device);
    let first = state.step;

    let doing = plan.options;
    let knn = if doing.knn { OnlineKnn::new(&set, &source, &plan, device)? } else { None };
    let probe = if doing.probe { OnlineProbe::new(&set)? } else { None };
    if doing.probe && probe.is_none() {
        tell("warning: --probe needs labels of two classes or more, and the pictures have none such");
    }
    let board = if doing.tensorboard { Some(tensorboard(&run, &plan, &set, first)?) } else { None };
    let mut guard = Timed::new(Guard::new(doing.guard, |finding| tell(&format!("warning: {finding}"))));
    let mut memory = Timed::new(Memory);
    let mut knn = knn.map(Timed::new);
    let mut probe = probe.map(Timed::new);
    let mut metrics = Timed::new(metrics);
    let mut board = board.map(Timed::new);
    let mut checkpoints = Timed::new(Checkpoints::new(&run, rules(&doing)));
    let mut bar = Timed::new(Bar::new(plan.total_steps, first, !args.json));
    let mut interrupt = Timed::new(interrupt);
    // Whoever adds to the report comes before whoever writes it down.
    let mut observers: Vec<&mut dyn Observer<ResNet>> = vec![&mut memory];
    observers.extend(knn.as_mut().map(|o| o as &mut dyn Observer<ResNet>));
    observers.extend(probe.as_mut().map(|o| o as &mut dyn Observer<ResNet>));
    observers.push(&mut metrics);
    observers.extend(board.as_mut().map(|o| o as &mut dyn Observer<ResNet>));
    // A collapsed state is not worth a checkpoint.
    observers.extend([&mut guard as &mut dyn Observer<ResNet>, &mut checkpoints, &mut bar, &mut interrupt]);
    let start = Instant::now();
    let (all, before) = (replicas.all.as_ref(), plan.clone());
    let trained = fit::guarded(&before, place, all.world(), || {
        train(&mut plan, state, set.clone(), options, all, device, &mut observers)
    })?;
    let state = trained.map_err(|error| resume::hint(error, &run, &set))?;
    let elapsed = start.elapsed();
    let problems = [metrics.inner.problem(), board.as_ref().and_then(|board| board.inner.problem())];
    for (problem, lost) in problems.into_iter().flatten() {
        tell(&format!("warning: {lost} line(s) of metrics were lost: {problem}"));
    }
    if state.step < plan.total_steps {
        tell(&format!(
            "stopped after step {} of {}; go on with: {CARGO} pretrain --resume {}",
            state.step,
            plan.total_steps,
            typed(run.path())
        ));
        return Err(Interrupted.into());
    }
    if measured {
        run.record(&plan)?;
    }
    save_encoder(&state.byol.online.encoder, &description(&plan)?, &run.encoder_path())?;
    let time = |name: &str, time: Option<Duration>| Some((name.to_owned(), time?.as_secs_f64()));
    let observed = [
        time("metrics", Some(metrics.time)),
        time("tensorboard", board.as_ref().map(|o| o.time)),
        time("checkpoints", Some(checkpoints.time)),
        time("guard", Some(guard.time)),
        time("bar", Some(bar.time)),
        time("memory", Some(memory.time)),
        time("interrupt", Some(interrupt.time)),
        time("knn", knn.as_ref().map(|o| o.time)),
        time("probe", probe.as_ref().map(|o| o.time)),
    ];
    let times = report::Times { elapsed, first, observed: observed.into_iter().flatten().collect() };
    let asked = knn.as_ref().map(|knn| knn.inner.n_queries());
    let scored = set.labels()?.is_some() && source.has_test()?;
    report::say_it(args, &run, &plan, &bar.inner, &times, asked, scored);
    Ok(())
}

/// Of a run by the clock: what there is, and what must be left for the last files.
fn budget(plan: &RunPlan, state: &TrainState<ResNet>, started: Instant) -> Budget {
    const BYTES_PER_SECOND: f64 = 150e6;
    let online: usize = named_tensors(&state.byol.online).iter().map(|t| t.values.len()).sum();
    // Both networks and a buffer or two in the checkpoint, and the encoder.
    let bytes = 5.0 * 4.0 * online as f64;
    let reserve = Duration::from_secs_f64(0.2 + bytes / BYTES_PER_SECOND);
    Budget { started, spent: Budget::spent(plan, state.step), reserve }
}

/// Events, with a picture of views where the run begins.
fn tensorboard(run: &RunDir, plan: &RunPlan, set: &ImageDataset, first: u64) -> Result<TensorBoard> {
    const ROWS: usize = 6;
    let board = TensorBoard::create(run.path())?;
    if first > 0 {
        return Ok(board);
    }
    let (size, png) = views_png(set, &plan.policy()?, plan.spec.seed, plan.data.channels, ROWS)?;
    Ok(board.with_picture("views", size, png))
}

/// What the flags say is done beside the steps; `before` where they say nothing.
fn options(args: &PretrainArgs, before: RunOptions) -> RunOptions {
    let by_steps = args.checkpoint_steps.is_some();
    let minutes = args.checkpoint_minutes.or(by_steps.then_some(0.0));
    let guard = args.guard.map(|guard| match guard {
        GuardChoice::Warn => GuardMode::Warn,
        GuardChoice::Stop => GuardMode::Stop,
        GuardChoice::Off => GuardMode::Off,
    });
    RunOptions {
        checkpoint_steps: args.checkpoint_steps.unwrap_or(before.checkpoint_steps),
        checkpoint_minutes: minutes.unwrap_or(before.checkpoint_minutes),
        keep_last: args.keep_last.map_or(before.keep_last, u64::from),
        keep_every: args.keep_every.unwrap_or(before.keep_every),
        guard: guard.unwrap_or(before.guard),
        knn: before.knn && !args.no_knn,
        probe: before.probe || args.probe,
        tensorboard: before.tensorboard && !args.no_tensorboard,
    }
}

fn rules(options: &RunOptions) -> CheckpointRules {
    let minutes = options.checkpoint_minutes;
    let time = Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX);
    CheckpointRules {
        steps: Some(options.checkpoint_steps).filter(|n| *n > 0),
        time: (minutes > 0.0).then_some(time),
        keep_last: usize::try_from(options.keep_last).unwrap_or(usize::MAX),
        keep_every: Some(options.keep_every).filter(|n| *n > 0),
    }
}

fn announce(plan: &RunPlan, run: &RunDir, place: &Place, world: usize) {
    let spec = &plan.spec;
    tell(&format!(
        "{}: {} pictures ({} channel{}) of {}",
        plan.data.split,
        plan.data.samples,
        plan.data.channels,
        if plan.data.channels == 1 { "" } else { "s" },
        plan.data.path
    ));
    tell(&format!(
        "preset {}, seed {}: ResNet-{} of width {}, {} steps of {} pictures ({:.1} epochs), {place}",
        spec.preset,
        spec.seed,
        spec.encoder.depth,
        spec.encoder.width,
        plan.total_steps,
        spec.batch,
        plan.total_steps as f64 / plan.steps_per_epoch as f64,
    ));
    match (spec.minutes, plan.legs.is_empty()) {
        (Some(minutes), true) => tell(&format!(
            "for {minutes} minutes, however many steps that is; `length` only says what share of it `warmup` is"
        )),
        (Some(_), false) => tell("steps and schedules as the run of --config measured them"),
        (None, _) => {}
    }
    tell(&format!(
        "batch normalisation sees {} pictures at a time ({} micro-batch(es) a step, {world} process(es){})",
        if spec.sync_batch_norm { plan.micro_batch() } else { plan.micro_batch() / world },
        spec.accumulation,
        if world > 1 && spec.sync_batch_norm { " that share its statistics" } else { "" }
    ));
    tell_precision(spec.precision, place);
    if let Some(init) = &plan.init {
        tell(&format!("the encoder starts from {}", init.weights));
    }
    for omission in &plan.omitted {
        tell(omission);
    }
    if place.gpu.is_some() {
        tell(
            "the first step compiles and measures the GPU's kernels: a minute or so, less once they are kept",
        );
    }
    tell(&format!("run: {}", run.path().display()));
}

/// What is needed to use the weights without the run.
fn description(plan: &RunPlan) -> Result<EncoderDescription> {
    let preprocessing = preprocessing_of(&plan.policy()?.eval, plan.data.channels)?;
    let mut description = EncoderDescription::new(plan.encoder(), preprocessing);
    description.origin = BTreeMap::from([
        ("preset".into(), plan.spec.preset.clone()),
        ("seed".into(), plan.spec.seed.to_string()),
        ("data_fingerprint".into(), plan.data.fingerprint.clone()),
        ("version".into(), plan.version.clone()),
    ]);
    Ok(description)
}

/// `name`, or `name-2` and so on if it is taken.
fn free_folder(root: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|i| root.join(format!("{name}-{i}")));
    std::iter::once(root.join(name))
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| root.join(name))
}
