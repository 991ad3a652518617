//! A run that begins.

use std::path::Path;

use anyhow::{Result, bail};
use burn::tensor::Device;
use byol_model::{Collective, ResNet, ResNetConfig, Stem, load};
use byol_train::{
    InitFacts, JsonLines, RunDir, RunOptions, RunPlan, RunSpec, TrainState, init_networks, set_channels,
};

use super::{Begun, announce, check, fit, follow, free_folder, options};
use crate::cli::PretrainArgs;
use crate::compose::{RUNS, Source, recipe, recorded, recorded_plan};
use crate::device::Place;
use crate::exit::Usage;
use crate::http::sha256_of;
use crate::hub::Local;
use crate::subject::local;
use crate::terminal::date_time;

/// Resolves what was asked, and makes the run's folder.
pub fn begin(args: &PretrainArgs, place: &Place, all: &dyn Collective) -> Result<Begun> {
    let mut overrides = Vec::new();
    if let Some(epochs) = args.epochs {
        overrides.push(format!("length.epochs={epochs:?}"));
    }
    if let Some(batch) = args.batch {
        overrides.push(format!("batch={batch}"));
    }
    let mut spec = recipe(&args.recipe, &overrides)?;
    spec.minutes = if args.epochs.is_some() { None } else { args.minutes.or(spec.minutes) };
    let source = Source::from_flags(args.data.as_deref(), args.recipe.config.as_deref())?;
    let set = source.open(args.split.as_deref().unwrap_or("train"))?;
    let channels = set_channels(&set)?;
    let mut plan = RunPlan::new(spec, &set, &source.describe(), channels)?;
    if let Some(recorded) = args.recipe.config.as_deref().and_then(recorded_plan) {
        let same_pictures = recorded.data.fingerprint == plan.data.fingerprint;
        if args.data.is_none() && !same_pictures {
            bail!(
                "{}: the pictures of `{}` have changed since the run of --config; to train on them as they are \
                 now, name them with --data",
                plan.data.path,
                plan.data.split
            );
        }
        let same = same_pictures && RunSpec { seed: plan.spec.seed, ..recorded.spec.clone() } == plan.spec;
        if same && !recorded.legs.is_empty() && args.minutes.is_none() {
            (plan.legs, plan.total_steps) = (recorded.legs, recorded.total_steps);
            plan.warmup_steps = recorded.warmup_steps;
        }
    }
    plan.options = options(args, RunOptions::default());
    let device = &Device::flex();
    let measured = plan.spec.minutes.is_some() && plan.legs.is_empty();
    let of_config = || recorded(args.recipe.config.as_deref()?, "init", "weights");
    let init = match args.init.clone().or_else(of_config) {
        Some(init) => {
            let (encoder, facts) = initial(&init, &plan, device)?;
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
    if args.fit {
        fit::fit(&mut plan, place, all.world())?;
    }
    check(args, &plan, place, all.world())?;
    follow::agree(all, &plan, &set)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => free_folder(Path::new(RUNS), &format!("{}-{}", date_time(), plan.spec.preset)),
    };
    let run = RunDir::create(&out, &plan)?;
    let lock = run.lock()?;
    if !args.json {
        announce(&plan, &run, place, all.world());
    }
    let metrics = JsonLines::create(&run.metrics_path())?;
    let state = TrainState::new(init_networks(&plan, init.as_ref(), device)?);
    Ok(Begun { run, _lock: lock, plan, measured, source, set, state, metrics })
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
pub fn initial(init: &str, plan: &RunPlan, device: &Device) -> Result<(ResNet, InitFacts)> {
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
