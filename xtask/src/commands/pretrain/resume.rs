//! A run that goes on.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::Device;
use byol_data::{ImageDataset, write_atomic};
use byol_model::Collective;
use byol_train::{Checkpoint, JsonLines, RunDir, RunPlan, TrainError, TrainState, init_networks};

use serde_json::json;

use super::{Begun, READ_EVERY, check, follow, fresh, options};
use crate::cli::PretrainArgs;
use crate::compose::{Source, tell_precision};
use crate::device::Place;
use crate::exit::Usage;
use crate::terminal::{CARGO, say, tell, typed};

/// Opens the run at its last checkpoint, or that of `--checkpoint`. Nothing of a run that has
/// ended.
pub fn begin(args: &PretrainArgs, path: &Path, place: &Place, all: &dyn Collective) -> Result<Option<Begun>> {
    let run = RunDir::open(path)?;
    let lock = run.lock()?;
    run.tidy();
    let mut plan = run.plan()?;
    // Its length is recorded when it has ended; until then checkpoints know more.
    let measured = plan.spec.minutes.is_some() && plan.legs.is_empty();
    let checkpoint = checkpoint(args, &run)?;
    if measured && let Some(checkpoint) = &checkpoint {
        plan.legs.clone_from(&checkpoint.plan.legs);
        (plan.total_steps, plan.warmup_steps) = (checkpoint.plan.total_steps, checkpoint.plan.warmup_steps);
    }
    let step = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
    if run.encoder_path().exists() && args.checkpoint.is_none() && step >= plan.total_steps {
        if args.json {
            say(&format!(
                "{}",
                json!({ "run": path, "encoder": run.encoder_path(), "steps": step, "ended": true })
            ));
        }
        tell(&format!("{}: the run has ended, after step {step}; its encoder is there", path.display()));
        return Ok(None);
    }
    let edited = match &checkpoint {
        Some(checkpoint) => !same_plan(&run, &plan, &checkpoint.plan, args.force)?,
        None => false,
    };
    let source = match &args.data {
        Some(data) => Source::from_flag(Some(data))?,
        None => Source::from_plan(&plan),
    };
    let set = source.open(&plan.data.split)?;
    if set.fingerprint() != plan.data.fingerprint {
        let what = format!(
            "{}: the pictures of `{}` are not those that the run began with (fingerprint {}, then {})",
            source.describe(),
            plan.data.split,
            set.fingerprint(),
            plan.data.fingerprint
        );
        if !args.force {
            bail!("{what}; name the old ones with --data, or go on with these by --force");
        }
        if set.len() != plan.data.samples {
            bail!("{what}; they are {}, and the order is one of {}", set.len(), plan.data.samples);
        }
        tell(&format!("warning: {what}"));
    }
    if edited {
        plan = edited_plan(&plan, &set)?;
        run.record(&plan)?;
    }
    if args.force {
        // Of the run as it was.
        for (later, path) in run.checkpoints().into_iter().filter(|(later, _)| *later > step) {
            fs::remove_file(&path).with_context(|| format!("removing the checkpoint of step {later}"))?;
        }
    }
    plan.options = options(args, plan.options);
    let device = &Device::flex();
    check(args, &plan, place, all.world())?;
    follow::agree(all, &plan, &set)?;
    let state = match checkpoint {
        Some(checkpoint) => {
            let networks = init_networks(&plan, None, device)?;
            checkpoint.restore(networks)?
        }
        None => {
            let init = match &plan.init {
                Some(facts) => {
                    let (encoder, found) = fresh::initial(&facts.weights, &plan, device)?;
                    if found.sha256 != facts.sha256 {
                        bail!("{} has changed since the run began", facts.weights);
                    }
                    Some(encoder)
                }
                None => None,
            };
            TrainState::new(init_networks(&plan, init.as_ref(), device)?)
        }
    };
    let metrics = JsonLines::resume(&run.metrics_path(), step)?;
    // Those of a run on a GPU are not of every step.
    if metrics.last_step() + if cfg!(feature = "gpu") { READ_EVERY } else { 1 } <= step {
        let (last, path) = (metrics.last_step(), run.metrics_path());
        tell(&format!("warning: {} ends at step {last}; those until step {step} are lost", path.display()));
    }
    if !args.json {
        tell(&format!("{}: goes on after step {step} of {}", path.display(), plan.total_steps));
        tell_precision(plan.spec.precision, place);
    }
    Ok(Some(Begun { run, _lock: lock, plan, measured, source, set, state, metrics }))
}

/// The checkpoint to go on from; none if the run was stopped before its first.
fn checkpoint(args: &PretrainArgs, run: &RunDir) -> Result<Option<Checkpoint>> {
    let all = run.checkpoints();
    let steps = || all.iter().map(|(step, _)| step.to_string()).collect::<Vec<_>>().join(", ");
    let chosen =
        match args.checkpoint {
            Some(wanted) => {
                let found = all.iter().find(|(step, _)| *step == wanted);
                Some(found.ok_or_else(|| {
                    Usage(format!("--checkpoint {wanted}: there are those of: {}", steps()))
                })?)
            }
            None => all.last(),
        };
    let Some((step, path)) = chosen else { return Ok(None) };
    match Checkpoint::read(path).map_err(anyhow::Error::from) {
        Ok(read) => Ok(Some(read)),
        Err(error) => match all.iter().rev().find(|(other, _)| other < step) {
            Some((before, _)) => bail!("{error:#}; the one before it: --checkpoint {before}"),
            None => bail!("{error:#}; there is none before it: the run must be begun anew"),
        },
    }
}

/// The plan that the recipe of an edited run.toml has: what is derived follows it.
fn edited_plan(plan: &RunPlan, set: &ImageDataset) -> Result<RunPlan> {
    let anew = RunPlan::new(plan.spec.clone(), set, &plan.data.path, plan.data.channels)?;
    let (init, options) = (plan.init.clone(), plan.options);
    Ok(match plan.spec.minutes {
        Some(_) => RunPlan { legs: plan.legs.clone(), total_steps: plan.total_steps, init, options, ..anew },
        None => RunPlan { init, options, ..anew },
    })
}

/// Refuses a run.toml that was edited in what makes the run; says whether it was not.
fn same_plan(run: &RunDir, plan: &RunPlan, written: &RunPlan, force: bool) -> Result<bool> {
    let written = &RunPlan { options: plan.options, ..written.clone() };
    if plan == written {
        return Ok(true);
    }
    let changed = match (toml::Table::try_from(plan), toml::Table::try_from(written)) {
        (Ok(now), Ok(then)) => differences(&now, &then, ""),
        _ => Vec::new(),
    };
    let what = format!(
        "{} was edited since the checkpoint was written: {}",
        run.plan_path().display(),
        changed.join(", ")
    );
    if !force {
        bail!("{what}; undo that, begin a new run with --config, or go on with --force");
    }
    tell(&format!("warning: {what}"));
    Ok(false)
}

fn differences(now: &toml::Table, then: &toml::Table, prefix: &str) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = now.keys().chain(then.keys()).collect();
    let mut found = Vec::new();
    for key in keys {
        let name = format!("{prefix}{key}");
        match (now.get(key), then.get(key)) {
            (Some(toml::Value::Table(now)), Some(toml::Value::Table(then))) => {
                found.extend(differences(now, then, &format!("{name}.")));
            }
            (now, then) if now != then => {
                let say = |value: Option<&toml::Value>| value.map_or("nothing".into(), ToString::to_string);
                found.push(format!("{name} is {}, was {}", say(now), say(then)));
            }
            _ => {}
        }
    }
    found
}

/// Says how a run that has failed can be gone on with, or seen failing again.
pub fn hint(error: TrainError, run: &RunDir, set: &ImageDataset) -> anyhow::Error {
    let mut failing = String::new();
    if let TrainError::NotFinite { step, cause, samples } = &error {
        let picture =
            |i: &usize| json!({ "picture": i, "path": set.sample(*i).ok().map(|s| s.path().to_owned()) });
        let about = json!({
            "step": step,
            "cause": cause,
            "pictures": samples.iter().map(picture).collect::<Vec<_>>(),
        });
        let path = run.path().join("not-finite.json");
        if write_atomic(&path, format!("{about:#}\n").as_bytes()).is_ok() {
            failing = format!("; its pictures by name: {}", path.display());
        }
    }
    let path = typed(run.path());
    let again = matches!(error, TrainError::NotFinite { .. });
    let hint =
        match run.checkpoints().last() {
            Some((step, _)) if again => {
                format!("{failing}; to see it again from step {step}: {CARGO} pretrain --resume {path}")
            }
            None if again => format!(
                "{failing}; to see it again: {CARGO} pretrain --config {} --out {}",
                typed(&run.plan_path()),
                typed(&run.path().with_file_name(format!(
                    "{}-again",
                    run.path().file_name().unwrap_or_default().display()
                )))
            ),
            Some((step, _)) => {
                format!("; the checkpoint of step {step} is whole: {CARGO} pretrain --resume {path}")
            }
            None => return error.into(),
        };
    anyhow!("{:#}{hint}", anyhow::Error::from(error))
}
