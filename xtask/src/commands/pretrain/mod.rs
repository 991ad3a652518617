//! The main job: a recipe and pictures become a run.

mod fresh;
mod resume;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;
use byol_data::ImageDataset;
use byol_model::{EncoderDescription, OneProcess, ResNet, save_encoder};
use byol_train::{
    CheckpointRules, Checkpoints, JsonLines, RunDir, RunPlan, StepReport, TrainOptions, TrainState, train,
};
use serde_json::json;

use crate::cli::PretrainArgs;
use crate::compose::set_threads;
use crate::exit::Interrupted;
use crate::subject::preprocessing_of;
use crate::terminal::{say, tell};
use watch::{Bar, Interrupt};

/// Batches of views that wait.
const PREFETCH: usize = 4;

/// Trains an encoder and leaves a run folder.
pub fn run(args: &PretrainArgs) -> Result<()> {
    set_threads(args.threads)?;
    let interrupt = Interrupt::listen()?;
    let device = Device::flex();
    let begun = match &args.resume {
        Some(run) => match resume::begin(args, run, &device)? {
            Some(begun) => begun,
            None => return Ok(()), // it has ended
        },
        None => fresh::begin(args, &device)?,
    };
    go(args, begun, &device, interrupt)
}

/// A run that is ready to take its next step.
struct Begun {
    run: RunDir,
    plan: RunPlan,
    set: ImageDataset,
    state: TrainState<ResNet>,
    metrics: JsonLines,
}

fn go(args: &PretrainArgs, begun: Begun, device: &Device, mut interrupt: Interrupt) -> Result<()> {
    let Begun { run, plan, set, state, mut metrics } = begun;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options =
        TrainOptions { loader_threads: args.loader_threads.map_or(cores, usize::from), prefetch: PREFETCH };
    let mut bar = Bar::new(plan.total_steps, state.step);
    let mut checkpoints = Checkpoints::new(&run, rules(args));
    let (start, first) = (Instant::now(), state.step);
    let state = train(
        &plan,
        state,
        Arc::new(set),
        options,
        &OneProcess,
        device,
        &mut [&mut metrics, &mut checkpoints, &mut bar, &mut interrupt],
    )
    .map_err(|error| resume::hint(error, &run))?;
    if let Some((problem, lost)) = metrics.problem() {
        tell(&format!("warning: {lost} line(s) of metrics were lost: {problem}"));
    }
    if state.step < plan.total_steps {
        tell(&format!(
            "stopped after step {} of {}; go on with: cargo xtask pretrain --resume {}",
            state.step,
            plan.total_steps,
            run.path().display()
        ));
        return Err(Interrupted.into());
    }
    save_encoder(&state.byol.online.encoder, &description(&plan)?, &run.encoder_path())?;
    report(args, &run, &plan, bar.last(), start.elapsed(), first);
    Ok(())
}

fn rules(args: &PretrainArgs) -> CheckpointRules {
    let minutes = args.checkpoint_minutes.unwrap_or(if args.checkpoint_steps.is_some() { 0.0 } else { 2.0 });
    CheckpointRules {
        steps: args.checkpoint_steps,
        time: (minutes > 0.0).then(|| Duration::from_secs_f64(60.0 * minutes)),
        keep_last: usize::from(args.keep_last),
        keep_every: args.keep_every,
    }
}

fn report(
    args: &PretrainArgs,
    run: &RunDir,
    plan: &RunPlan,
    last: Option<StepReport>,
    elapsed: Duration,
    first: u64,
) {
    let (seconds, steps) = (elapsed.as_secs_f64(), plan.total_steps - first);
    if args.json {
        let result = json!({
            "run": run.path(),
            "encoder": run.encoder_path(),
            "steps": plan.total_steps,
            "resumed_at": (first > 0).then_some(first),
            "seconds": seconds,
            "images_per_second": (steps * plan.spec.batch as u64) as f64 / seconds,
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
    say(&format!("encoder: {}", run.encoder_path().display()));
    say(&format!("how good is it: cargo xtask linear-eval --run {}", run.path().display()));
}

fn announce(plan: &RunPlan, run: &RunDir) {
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
        "preset {}, seed {}: ResNet-{} of width {}, {} steps of {} pictures ({:.1} epochs), on the CPU",
        spec.preset,
        spec.seed,
        spec.encoder.depth,
        spec.encoder.width,
        plan.total_steps,
        spec.batch,
        plan.total_steps as f64 / plan.steps_per_epoch as f64,
    ));
    tell(&format!(
        "batch normalisation sees {} pictures at a time ({} micro-batch(es) a step, one device)",
        plan.micro_batch(),
        spec.accumulation
    ));
    if let Some(init) = &plan.init {
        tell(&format!("the encoder starts from {}", init.weights));
    }
    for omission in &plan.omitted {
        tell(omission);
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
