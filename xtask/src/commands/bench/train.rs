use std::time::Instant;

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use byol_kernels::Path;
use byol_model::{
    Encoder, HeadConfig, OneProcess, OnlineNetwork, ResNet, ResNetConfig, TargetNetwork, regression_loss,
};
use byol_train::{Byol, Optimizer, OptimizerKind, OptimizerSpec};
use serde_json::json;

use crate::cli::{BenchTrainArgs, stem};
use crate::compose::set_threads;
use crate::exit::Usage;
use crate::memory;
use crate::terminal::{Progress, say};

/// Steps and passes before the clock is read.
const WARM: usize = 2;
/// A backward pass costs twice a forward one: two views, each once through the target and
/// three times through the online network.
const PASSES: f64 = 8.0;

/// Times a step and a forward pass.
pub fn run(args: &BenchTrainArgs) -> Result<()> {
    set_threads(args.threads)?;
    let path = path(args.path.as_deref())?;
    let config = ResNetConfig::from_name(&args.encoder, args.channels)
        .ok_or_else(|| Usage(format!("--encoder {}: no such network", args.encoder)))?;
    let config = ResNetConfig { width: args.width, stem: stem(&args.stem), ..config };
    let cost = config.cost(args.size)?;
    let device = Device::flex().autodiff();
    let mut byol = networks(args, &config, &device)?;
    let view = || {
        let shape = [args.batch, args.channels, args.size, args.size];
        Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device)
    };
    let (v, v_prime) = (view(), view());
    let spinner = Progress::spinner("measuring");
    let mut seconds = Vec::new();
    for k in 0..WARM + args.steps {
        let start = Instant::now();
        (byol, _) = byol.step(v.clone(), v_prime.clone(), 0.05, 0.996, &OneProcess)?;
        if k >= WARM {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let peak = memory::peak();
    let mut stages = Vec::new();
    if args.profile {
        stages = profile(&mut byol, &v, &v_prime, args.steps);
    }
    let encoder = byol.online.encoder.valid();
    let (image, mut passes) = (v.inner(), Vec::new());
    for k in 0..WARM + 3 * args.steps {
        let start = Instant::now();
        let _ = encoder.forward(image.clone());
        if k >= WARM {
            passes.push(start.elapsed().as_secs_f64());
        }
    }
    spinner.finish();

    let n = args.batch as f64;
    let (step, pass) = (median(&mut seconds), median(&mut passes));
    let heads = heads(args, &config)?;
    let flops = 2.0 * n * PASSES * (cost.multiply_adds as f64 + heads as f64);
    let threads = rayon::current_num_threads();
    if args.json {
        let stages: serde_json::Map<_, _> =
            stages.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds / n))).collect();
        let result = json!({
            "images_per_second": n / step,
            "forward_images_per_second": n / pass,
            "threads": threads,
            "peak_memory_bytes": peak,
            "stages": stages,
            "step_seconds": step,
            "gflops": flops / step / 1e9,
            "encoder": config.name(),
            "size": args.size,
            "batch": args.batch,
            "precision": args.precision,
            "path": format!("{path:?}").to_lowercase(),
        });
        say(&format!("{result}"));
        return Ok(());
    }
    say(&format!(
        "{} {}x{}x{} batch {}, {threads} thread(s), {path:?}: {:.1} images/s, step {:.0} ms, {:.0} GFLOP/s, \
         forward alone {:.0} images/s, peak {:.2} GiB",
        config.name(),
        args.channels,
        args.size,
        args.size,
        args.batch,
        n / step,
        1e3 * step,
        flops / step / 1e9,
        n / pass,
        peak.unwrap_or(0) as f64 / f64::from(1 << 30)
    ));
    for (name, seconds) in stages {
        say(&format!("  {name:<16} {:>9.2} ms {:>5.1} %", 1e3 * seconds, 100.0 * seconds / step));
    }
    Ok(())
}

fn path(name: Option<&str>) -> Result<Path> {
    let named = match name {
        Some("portable") => Some(Path::Portable),
        Some("avx2") => Some(Path::Avx2),
        Some("avx512") => Some(Path::Avx512),
        _ => None,
    };
    if let Some(path) = named
        && !path.is_available()
    {
        bail!("--path {}: this processor has no such instructions", name.unwrap_or_default());
    }
    Path::force(named);
    Ok(Path::current())
}

fn head(args: &BenchTrainArgs) -> HeadConfig {
    HeadConfig { layers: 2, hidden: args.hidden, output: args.proj }
}

fn networks(args: &BenchTrainArgs, config: &ResNetConfig, device: &Device) -> Result<Byol<ResNet>> {
    let head = head(args);
    let online = OnlineNetwork {
        encoder: config.init(device)?,
        projector: head.init(config.dim()?, device),
        predictor: head.init(args.proj, device),
    };
    let target = TargetNetwork::copy_of(&online);
    let optimizer = Optimizer::new(OptimizerSpec {
        kind: OptimizerKind::Sgd,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1e-4,
        trust: 1e-3,
        beta2: 0.999,
        epsilon: 1e-8,
    });
    Ok(Byol { online, target, optimizer })
}

/// Multiply-adds of a picture's pass through the heads, on the average of online and target.
fn heads(args: &BenchTrainArgs, config: &ResNetConfig) -> Result<u64> {
    let (projector, predictor) = (head(args).parameters(config.dim()?), head(args).parameters(args.proj));
    Ok(projector + predictor * 3 / 4)
}

/// The step's parts in seconds, medians.
fn profile(
    byol: &mut Byol<ResNet>,
    v: &Tensor<4>,
    v_prime: &Tensor<4>,
    steps: usize,
) -> Vec<(&'static str, f64)> {
    const PARTS: [&str; 6] = ["online forward", "target forward", "loss", "backward", "optimizer", "average"];
    let mut times: [Vec<f64>; 6] = Default::default();
    for _ in 0..steps {
        let mut at = Instant::now();
        let mut lap = |part: usize| {
            times[part].push(at.elapsed().as_secs_f64());
            at = Instant::now();
        };
        let (theta, theta_prime) = (byol.online.forward(v.clone()), byol.online.forward(v_prime.clone()));
        lap(0);
        let (xi, xi_prime) = (byol.target.forward(v.clone()), byol.target.forward(v_prime.clone()));
        lap(1);
        let loss = regression_loss(theta.prediction, xi_prime) + regression_loss(theta_prime.prediction, xi);
        lap(2);
        let mut gradients = loss.backward();
        lap(3);
        byol.online = byol.optimizer.step(byol.online.clone(), &mut gradients, 0.05);
        lap(4);
        byol.target = TargetNetwork::new(byol.target.encoder().clone(), byol.target.projector().clone())
            .update(&byol.online, 0.996);
        lap(5);
    }
    PARTS.into_iter().zip(times.iter_mut().map(|times| median(times))).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
