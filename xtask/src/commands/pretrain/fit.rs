//! Memory: how many pictures at a time there is room for.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use byol_model::{ResNetConfig, Stem, Version};
use byol_train::{RunPlan, TrainError};

use super::PREFETCH;
use crate::child;
use crate::device::Place;
use crate::memory;
use crate::replicas::on_this_machine;
use crate::terminal::{CARGO, Progress, tell, typed};

/// Share of a device's memory that an estimate may fill: it is one of the CPU.
const FULL: f64 = 0.9;

/// Numbers of micro-batches that a step can be taken in, the largest micro-batch first.
fn accumulations(plan: &RunPlan, world: usize) -> impl Iterator<Item = usize> {
    let batch = plan.spec.batch;
    (1..=batch / 2).filter(move |parts| batch.is_multiple_of(parts * world) && batch / (parts * world) >= 2)
}

fn with(plan: &RunPlan, accumulation: usize) -> RunPlan {
    let mut plan = plan.clone();
    plan.spec.accumulation = accumulation;
    plan
}

fn estimate(plan: &RunPlan, world: usize) -> Result<u64> {
    Ok(plan.step_shape(PREFETCH, world).memory()?)
}

/// The first accumulation whose estimate leaves some of `bytes`.
fn estimated(plan: &RunPlan, world: usize, bytes: u64) -> Option<usize> {
    let fits = |parts: &usize| {
        estimate(&with(plan, *parts), world).is_ok_and(|needed| needed as f64 <= FULL * bytes as f64)
    };
    accumulations(plan, world).find(fits)
}

/// This command once more, with other settings, into another folder.
fn command(settings: &str) -> String {
    let (mut said, mut args) = (vec![CARGO.to_owned()], std::env::args().skip(1));
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => drop(args.next()),
            "--fit" => {}
            arg if arg.starts_with("--out=") => {}
            "--resume" => {
                let run = args.next().unwrap_or_default();
                let recipe = typed(&Path::new(&run).join("run.toml"));
                return format!("{CARGO} pretrain --config {recipe} {settings} (a run that begins anew)");
            }
            arg => said.push(typed(arg.as_ref())),
        }
    }
    said.push(settings.to_owned());
    said.join(" ")
}

/// Refuses a plan that the machine's memory cannot hold, with what it could.
pub fn check(plan: &RunPlan, world: usize) -> Result<()> {
    let Err(error) = memory::check(plan, PREFETCH, world) else { return Ok(()) };
    let there = memory::there().and_then(|bytes| estimated(plan, world, bytes / on_this_machine()));
    Err(match there {
        Some(parts) => anyhow!(
            "{error:#}; in {parts} micro-batches of {} it fits: {}",
            plan.spec.batch / parts,
            command(&format!("--set accumulation={parts}"))
        ),
        None => error,
    })
}

/// Sets the plan's accumulation so that a step's micro-batches are as large as there is memory for: by
/// estimate on the CPU, by steps in a process of their own on a GPU.
pub fn fit(plan: &mut RunPlan, place: &Place, world: usize) -> Result<()> {
    let mut failed = String::new();
    let fitting = match &place.gpu {
        None => memory::available().and_then(|bytes| estimated(plan, world, bytes / on_this_machine())),
        Some(gpu) => {
            // What is known beforehand not to fit is not tried.
            let first = gpu.memory.and_then(|bytes| estimated(plan, world, bytes)).unwrap_or(1);
            let mut fitting = None;
            for parts in accumulations(plan, world).filter(|parts| *parts >= first) {
                match step_failed(&with(plan, parts), &gpu.name, world)? {
                    None => {
                        fitting = Some(parts);
                        break;
                    }
                    Some(why) => failed = why,
                }
            }
            fitting
        }
    };
    let Some(parts) = fitting else {
        let said = if failed.is_empty() { failed } else { format!("; the last that was tried: {failed}") };
        bail!("--fit: there is not the memory for two pictures at a time of this network, {place}{said}");
    };
    tell(&format!("--fit: {parts} micro-batch(es) of {} pictures a step ({place})", plan.spec.batch / parts));
    plan.spec.accumulation = parts;
    Ok(())
}

/// Why a step does not go through on the device, if it does not.
fn step_failed(plan: &RunPlan, device: &str, world: usize) -> Result<Option<String>> {
    let shape = plan.step_shape(PREFETCH, world);
    let encoder: ResNetConfig = shape.encoder;
    let number = |n: usize| n.to_string();
    let stem = match encoder.stem {
        Stem::Imagenet => "imagenet",
        Stem::Small => "small",
        Stem::SmallStride2 => "small_stride2",
    };
    let name = format!("resnet{}{}", encoder.depth, if encoder.version == Version::V2 { "_v2" } else { "" });
    let spinner = Progress::spinner(&format!("--fit: a step of {} pictures", shape.batch));
    let output = Command::new(std::env::current_exe().context("finding this program")?)
        .args(["bench", "train", "--device", device, "--steps", "1", "--encoder", &name, "--stem", stem])
        .args(["--width", &number(encoder.width), "--channels", &number(encoder.in_channels)])
        .args(["--size", &number(shape.size), "--batch", &number(shape.batch)])
        .args(["--hidden", &number(shape.projector.hidden), "--proj", &number(shape.projector.output)])
        .args(["--precision", &plan.spec.precision.to_string()])
        .output()
        .context("starting a process that tries a step")?;
    spinner.finish();
    if output.status.success() {
        return Ok(None);
    }
    Ok(Some(format!("{} pictures: {}", shape.batch, child::end(&output))))
}

/// Trains; where a GPU gives up, the error says what to do.
pub fn guarded<T>(
    plan: &RunPlan,
    place: &Place,
    world: usize,
    train: impl FnOnce() -> Result<T, TrainError>,
) -> Result<Result<T, TrainError>> {
    place.guarded(train).map_err(|error| {
        let needed = estimate(plan, world).unwrap_or(0) as f64 / f64::from(1 << 30);
        let next = accumulations(plan, world).find(|parts| *parts > plan.spec.accumulation);
        let next = next.map_or_else(String::new, |parts| {
            format!("; in {parts} micro-batches: {}", command(&format!("--set accumulation={parts}")))
        });
        anyhow!(
            "{error}. If memory was short (a step takes about {needed:.1} GiB), the largest micro-batch that fits is \
             found by: {}{next}",
            command("--fit")
        )
    })
}
