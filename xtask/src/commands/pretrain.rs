use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use byol_model::{EncoderDescription, OneProcess, ResNet, ResNetConfig, Stem, load, save_encoder};
use byol_train::{
    InitFacts, JsonLines, Observer, RunDir, RunPlan, StepReport, TrainError, TrainOptions, init_networks,
    set_channels, train,
};
use serde_json::json;

use crate::cli::PretrainArgs;
use crate::compose::{RUNS, Source, recipe, recorded, set_threads};
use crate::exit::Usage;
use crate::http::sha256_of;
use crate::hub::Local;
use crate::memory;
use crate::subject::{local, preprocessing_of};
use crate::terminal::{Progress, date_time};

/// Trains an encoder and leaves a run folder.
pub fn run(args: &PretrainArgs) -> Result<()> {
    set_threads(args.threads)?;
    let mut overrides = Vec::new();
    if let Some(epochs) = args.epochs {
        overrides.push(format!("length.epochs={epochs:?}"));
    }
    if let Some(batch) = args.batch {
        overrides.push(format!("batch={batch}"));
    }
    let spec = recipe(&args.recipe, &overrides)?;
    let source = Source::from_flags(args.data.as_deref(), args.recipe.config.as_deref())?;
    let set = source.open("train")?;
    let channels = set_channels(&set)?;
    let mut plan = RunPlan::new(spec, &set, &source.describe(), channels)?;
    let device = Device::flex();
    let of_config = || recorded(args.recipe.config.as_deref()?, "init", "weights");
    let init = match args.init.clone().or_else(of_config) {
        Some(init) => {
            let (encoder, facts) = start(&init, &plan, &device)?;
            if let Some(sha256) = recorded_sha256(args).filter(|sha256| *sha256 != facts.sha256) {
                bail!(
                    "{init} has changed since the run of --config started from it: SHA-256 {}, recorded {sha256}; \
                     name other weights with --init",
                    facts.sha256
                );
            }
            plan.init = Some(facts);
            Some(encoder)
        }
        None => None,
    };

    let prefetch = 4;
    memory::check(&plan, prefetch)?;

    let out = match &args.out {
        Some(out) => out.clone(),
        None => free_folder(Path::new(RUNS), &format!("{}-{}", date_time(), plan.spec.preset)),
    };
    let run = RunDir::create(&out, &plan)?;
    if !args.json {
        announce(&plan, &run);
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = TrainOptions { loader_threads: args.loader_threads.map_or(cores, usize::from), prefetch };
    let mut metrics = JsonLines::create(&run.metrics_path())?;
    let mut bar = Bar { progress: Progress::steps(plan.total_steps), last: None };
    let start = Instant::now();
    let networks = init_networks(&plan, init.as_ref(), &device)?;
    let trained =
        train(&plan, networks, Arc::new(set), options, &OneProcess, &device, &mut [&mut metrics, &mut bar])?;
    save_encoder(&trained.online.encoder, &description(&plan)?, &run.encoder_path())?;

    let seconds = start.elapsed().as_secs_f64();
    let last = bar.last;
    if args.json {
        let result = json!({
            "run": run.path(),
            "encoder": run.encoder_path(),
            "steps": plan.total_steps,
            "seconds": seconds,
            "images_per_second": (plan.total_steps * plan.spec.batch as u64) as f64 / seconds,
            "last": last,
        });
        crate::terminal::say(&format!("{result}"));
    } else {
        let loss = last.map_or(f64::NAN, |report| report.loss);
        let z_std = last.map_or(f64::NAN, |report| report.z_std);
        crate::terminal::say(&format!(
            "trained {} steps in {seconds:.0} s; loss {loss:.3}, z std {z_std:.2} (1 is healthy, 0 collapsed)",
            plan.total_steps
        ));
        crate::terminal::say(&format!("encoder: {}", run.encoder_path().display()));
        crate::terminal::say(&format!(
            "how good is it: cargo xtask linear-eval --run {}",
            run.path().display()
        ));
    }
    Ok(())
}

fn announce(plan: &RunPlan, run: &RunDir) {
    let spec = &plan.spec;
    crate::terminal::tell(&format!(
        "{}: {} pictures ({} channel{}) of {}",
        plan.data.split,
        plan.data.samples,
        plan.data.channels,
        if plan.data.channels == 1 { "" } else { "s" },
        plan.data.path
    ));
    crate::terminal::tell(&format!(
        "preset {}, seed {}: ResNet-{} of width {}, {} steps of {} pictures ({:.1} epochs), on the CPU",
        spec.preset,
        spec.seed,
        spec.encoder.depth,
        spec.encoder.width,
        plan.total_steps,
        spec.batch,
        plan.total_steps as f64 / plan.steps_per_epoch as f64,
    ));
    crate::terminal::tell(&format!(
        "batch normalisation sees all {} pictures of a step (one device)",
        spec.batch
    ));
    if let Some(init) = &plan.init {
        crate::terminal::tell(&format!("the encoder starts from {}", init.weights));
    }
    for omission in &plan.omitted {
        crate::terminal::tell(omission);
    }
    crate::terminal::tell(&format!("run: {}", run.path().display()));
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

/// What the run.toml of `--config` says of the weights that it names.
fn recorded_sha256(args: &PretrainArgs) -> Option<String> {
    if args.init.is_some() {
        return None;
    }
    recorded(args.recipe.config.as_deref()?, "init", "sha256")
}

/// As a recipe has it, without quotes.
fn in_a_recipe(value: impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

/// The encoder that `--init` names, if it is the recipe's, and what the plan remembers.
fn start(init: &str, plan: &RunPlan, device: &Device) -> Result<(ResNet, InitFacts)> {
    let Local { path, name, .. } = local(init)?;
    let loaded = load(&path, device)?;
    let (theirs, ours) = (loaded.config, plan.encoder());
    // Neither changes a tensor's shape; a file of others does not know them.
    let alike = ResNetConfig { zero_gamma: ours.zero_gamma, ..theirs };
    let same_stem =
        loaded.description.is_some() || (theirs.stem, ours.stem) != (Stem::Small, Stem::SmallStride2);
    let alike = if same_stem { alike } else { ResNetConfig { stem: ours.stem, ..alike } };
    if theirs.in_channels != ours.in_channels {
        bail!(
            "--init {init}: an encoder of {} channels, and the pictures have {}",
            theirs.in_channels,
            ours.in_channels
        );
    }
    if alike != ours {
        return Err(Usage(format!(
            "--init {init}: a {}, and the recipe's encoder is a {}; for the file's: --set encoder.depth={} \
             --set encoder.width={} --set encoder.stem={} --set encoder.version={}",
            theirs.name(),
            ours.name(),
            theirs.depth,
            theirs.width,
            in_a_recipe(theirs.stem),
            in_a_recipe(theirs.version),
        ))
        .into());
    }
    let facts = InitFacts { weights: name, sha256: sha256_of(&path)? };
    Ok((loaded.encoder, facts))
}

/// `name`, or `name-2` and so on if it is taken.
fn free_folder(root: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|i| root.join(format!("{name}-{i}")));
    std::iter::once(root.join(name))
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| root.join(name))
}

/// The bar on a terminal; elsewhere it only remembers.
struct Bar {
    progress: Progress,
    last: Option<StepReport>,
}

impl Observer for Bar {
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.last = Some(*report);
        self.progress.advance(1);
        if self.progress.is_visible() {
            self.progress.describe(format!(
                "epoch {:.1}  {:.0} img/s  loss {:.3}  waiting {:.0}%  z std {:.2}",
                report.epoch,
                report.images_per_second,
                report.loss,
                100.0 * report.data_wait,
                report.z_std,
            ));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TrainError> {
        self.progress.finish();
        Ok(())
    }
}
