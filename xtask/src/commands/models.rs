//! `models`: what an encoder costs.

use std::process::Command;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Distribution, Tensor};
use byol_model::{
    EncoderCost, HeadConfig, OneProcess, OnlineNetwork, Precision, ResNetConfig, Stem, TargetNetwork,
};
use byol_train::{Byol, Lanes, Optimizer, OptimizerKind, OptimizerSpec, StepShape};
use serde_json::{Value, json};

use crate::child;
use crate::cli::{ModelsArgs, stem};
use crate::exit::Usage;
use crate::memory;
use crate::terminal::{Progress, say, tell};

/// Without names: the paper's, and some for small budgets.
const NAMES: [&str; 15] = [
    "resnet18_w16",
    "resnet18_w32",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50_2x",
    "resnet50_3x",
    "resnet50_4x",
    "resnet101",
    "resnet152",
    "resnet200",
    "resnet200_2x",
    "resnet18_v2",
    "resnet50_v2",
    "resnet200_2x_v2",
];

/// Share of the memory that is free that a measurement may be expected to need.
const AFFORDABLE: f64 = 0.8;

/// An encoder of the table.
struct Row {
    config: ResNetConfig,
    cost: EncoderCost,
    estimate: u64,
    measured: Option<u64>,
}

/// Prints the table.
pub fn run(args: &ModelsArgs) -> Result<()> {
    let configs = configs(args)?;
    if args.here {
        child::end_with_parent();
        return measure_here(args, &configs);
    }
    if args.measure && memory::peak().is_none() {
        bail!("--measure: this system does not say how much memory a process took (Linux does)");
    }
    let mut rows = Vec::new();
    for config in configs {
        let shape = shape(args, config);
        let estimate = shape.memory()?;
        let fits = memory::available().is_some_and(|there| (estimate as f64) < AFFORDABLE * there as f64);
        let measured = match (args.measure, fits) {
            (true, true) => Some(measure(args, &config)?),
            (true, false) => {
                tell(&format!("{}: not measured, it would need more than there is", config.name()));
                None
            }
            (false, _) => None,
        };
        rows.push(Row { config, cost: config.cost(args.size)?, estimate, measured });
    }
    if args.json {
        let models: Vec<Value> = rows.iter().map(json_of).collect::<Result<_>>()?;
        let result = json!({
            "size": args.size,
            "batch": args.batch,
            "channels": args.channels,
            "hidden": args.hidden,
            "proj": args.proj,
            "models": models,
        });
        say(&format!("{result}"));
        return Ok(());
    }
    say(&format!(
        "at {0}x{0} pixels of {1} channel{2}; memory of a step of {3} pictures on the CPU, heads of {4} and {5}",
        args.size,
        args.channels,
        if args.channels == 1 { "" } else { "s" },
        args.batch,
        args.hidden,
        args.proj
    ));
    say(&format!(
        "{:<22} {:>10} {:>6} {:>15} {:>14}  {:>10}",
        "encoder", "parameters", "dim", "multiply-adds", "training step", "memory"
    ));
    for row in &rows {
        say(&line(row)?);
    }
    say("multiply-adds: one picture forward (papers' FLOPs); training step: both views, online and target,");
    say(
        "with the backward pass (8 forward passes a picture). Memory: (e)stimated, within 15 %, or (m)easured.",
    );
    Ok(())
}

/// The encoders that are asked for; a name without a stem has that of `--stem`.
fn configs(args: &ModelsArgs) -> Result<Vec<ResNetConfig>> {
    let stem = stem(&args.stem);
    let names: Vec<&str> = match args.names.as_slice() {
        [] => NAMES.into(),
        names => names.iter().map(String::as_str).collect(),
    };
    let config = |name: &str| {
        let mut config = ResNetConfig::from_name(name, args.channels).ok_or_else(|| {
            Usage(format!(
                "{name}: no such encoder; expected resnet and 18, 34, 50, 101, 152 or 200, then _2x or _w32 \
                 for the width, _small or _small_stride2 for the stem, _v2: resnet50_2x, resnet18_w16_small"
            ))
        })?;
        if config.stem == Stem::Imagenet {
            config.stem = stem;
        }
        Ok(config)
    };
    names.into_iter().map(config).collect()
}

fn shape(args: &ModelsArgs, encoder: ResNetConfig) -> StepShape {
    let head = HeadConfig { layers: 2, hidden: args.hidden, output: args.proj };
    StepShape { encoder, projector: head, predictor: head, size: args.size, batch: args.batch, prefetch: 0 }
}

/// A step in forward passes of a picture: two views, each once through the target and
/// three times through the online network (a backward pass is twice a forward one).
const PASSES: u64 = 8;

fn json_of(row: &Row) -> Result<Value> {
    Ok(json!({
        "name": row.config.name(),
        "encoder": row.config,
        "parameters": row.cost.parameters,
        "dim": row.config.dim()?,
        "multiply_adds": row.cost.multiply_adds,
        "flops": row.cost.multiply_adds.saturating_mul(2),
        "step_flops": row.cost.multiply_adds.saturating_mul(2 * PASSES),
        "memory_bytes": row.measured.unwrap_or(row.estimate),
        "memory_is": if row.measured.is_some() { "measured" } else { "estimated" },
        "memory_estimated_bytes": row.estimate,
    }))
}

fn line(row: &Row) -> Result<String> {
    let giga = |n: u64| n as f64 / 1e9;
    let bytes = row.measured.unwrap_or(row.estimate);
    let memory = format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30));
    Ok(format!(
        "{:<22} {:>8.2} M {:>6} {:>13.3} G {:>12.1} G  {memory:>10} {}",
        row.config.name(),
        row.cost.parameters as f64 / 1e6,
        row.config.dim()?,
        giga(row.cost.multiply_adds),
        giga(row.cost.multiply_adds.saturating_mul(PASSES)),
        match row.measured {
            Some(_) => format!("m ({:.2} of e)", bytes as f64 / row.estimate as f64),
            None => "e".into(),
        }
    ))
}

/// Two steps in a process of its own: the peak of this one would be of all rows.
fn measure(args: &ModelsArgs, config: &ResNetConfig) -> Result<u64> {
    let spinner = Progress::spinner(&format!("{}: two steps", config.name()));
    let number = |n: usize| n.to_string();
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command
        .args([
            "models",
            &config.name(),
            "--here",
            "--size",
            &number(args.size),
            "--batch",
            &number(args.batch),
        ])
        .args(["--channels", &number(args.channels), "--hidden", &number(args.hidden)])
        .args(["--proj", &number(args.proj)]);
    let output = child::output(&mut command).context("starting a process to measure")?;
    spinner.finish();
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| {
        format!("{}: the steps failed: {}", config.name(), String::from_utf8_lossy(&output.stderr).trim())
    })
}

/// Takes the steps and prints the peak in bytes.
fn measure_here(args: &ModelsArgs, configs: &[ResNetConfig]) -> Result<()> {
    let device = Device::flex().autodiff();
    let [config] = configs else { bail!("--here measures one encoder") };
    let StepShape { encoder, projector, predictor, size, batch, .. } = shape(args, *config);
    let online = OnlineNetwork {
        encoder: encoder.init(&device)?,
        projector: projector.init(encoder.dim()?, &device),
        predictor: predictor.init(projector.output, &device),
    };
    let target = TargetNetwork::copy_of(&online);
    let optimizer = Optimizer::new(OptimizerSpec {
        kind: OptimizerKind::Lars,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1.5e-6,
        trust: 1e-3,
        beta2: 0.999,
        epsilon: 1e-8,
    });
    let lanes = Lanes::of(rayon::current_num_threads())?;
    let mut byol = Byol { online, target, optimizer, lanes, precision: Precision::F32, shared: None };
    for _ in 0..2 {
        let view = || Tensor::random([batch, args.channels, size, size], Distribution::Default, &device);
        (byol, _) = byol.step(view(), view(), 0.1, 0.99, &OneProcess)?;
    }
    let Some(peak) = memory::peak() else { bail!("this system does not say how much memory a process took") };
    say(&peak.to_string());
    Ok(())
}
