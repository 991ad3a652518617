use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use byol_kernels::Path;
use byol_model::{Encoder, HeadConfig, OneProcess, OnlineNetwork, ResNet, ResNetConfig, Stem, TargetNetwork};
use byol_train::{Byol, Lanes, Optimizer, OptimizerKind, OptimizerSpec, StepShape};
use serde_json::json;

use super::stages::{Stages, Work};
use crate::cli::{BenchTrainArgs, stem};
use crate::compose::{check_precision, precision, set_threads, tell_precision};
use crate::device;
use crate::exit::Usage;
use crate::memory;
use crate::terminal::{Progress, say};

/// Steps and passes before the clock is read.
const WARM: usize = 2;

/// The learning rate: a step takes as long, and no network is so odd that it diverges.
pub(super) const RATE: f64 = 1e-7;

/// Times a step and a forward pass.
pub fn run(args: &BenchTrainArgs) -> Result<()> {
    set_threads(args.threads)?;
    let path = path(args.path.as_deref())?;
    let config = encoder(args)?;
    let cost = config.cost(args.size)?;
    let shape = StepShape {
        encoder: config,
        projector: head(args),
        predictor: head(args),
        size: args.size,
        batch: args.batch,
        prefetch: 0,
    };
    let place = device::pick(args.device)?;
    let plain = place.device.clone();
    if place.gpu.is_some() {
        if args.profile {
            return Err(Usage("--profile: stages are timed on the CPU".into()).into());
        }
    } else {
        memory::check_step(&shape, "--size, --width or --hidden")?;
    }
    check_precision(precision(&args.precision), &place)?;
    let device = plain.clone().autodiff();
    let mut byol = networks(args, &config, &device)?;
    let view = || {
        let shape = [args.batch, args.channels, args.size, args.size];
        Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device)
    };
    let (v, v_prime) = (view(), view());
    // What is on its way to a GPU is waited for.
    let done = || plain.sync().context("waiting for the device");
    tell_precision(byol.precision, &place);
    let spinner = Progress::spinner("measuring");
    let (mut seconds, mut pages) = (Vec::new(), None);
    for k in 0..WARM + args.steps {
        if k == WARM {
            pages = memory::pages_taken();
        }
        let start = Instant::now();
        (byol, _) = byol
            .step(v.clone(), v_prime.clone(), RATE, 0.996, &OneProcess)
            .context("a step on random pictures; try a larger --batch or --size")?;
        done()?;
        if k >= WARM {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let taken = memory::pages_taken().zip(pages).map(|(now, then)| (now - then) as f64 / args.steps as f64);
    let peak = memory::peak();
    let precision = byol.precision;
    let (stages, online) = if args.profile {
        let work = Work::of(args, &cost, &config)?;
        let of = || Stages::measure(byol, [&v, &v_prime], args.steps, path, &work);
        let (stages, online) = precision.scope(of);
        (Some(stages), online)
    } else {
        (None, byol.online)
    };
    let encoder = online.encoder.valid();
    let (image, mut passes) = (v.inner(), Vec::new());
    for k in 0..WARM + 3 * args.steps {
        let start = Instant::now();
        let _ = precision.scope(|| encoder.forward(image.clone()));
        done()?;
        if k >= WARM {
            passes.push(start.elapsed().as_secs_f64());
        }
    }
    spinner.finish();

    let n = args.batch as f64;
    let (step, pass) = (median(&mut seconds), median(&mut passes));
    let flops = Work::of(args, &cost, &config)?.flops();
    let threads = rayon::current_num_threads();
    if args.json {
        let result = json!({
            "images_per_second": n / step,
            "forward_images_per_second": n / pass,
            "threads": threads,
            "peak_memory_bytes": peak,
            "pages_taken_per_step": taken,
            "stages": stages.as_ref().map_or_else(|| json!({}), |stages| stages.seconds(n)),
            "floors": stages.as_ref().map_or_else(|| json!({}), |stages| stages.floors(n)),
            "machine": stages.map(|stages| json!({"flops": stages.floor.flops, "bytes_per_second": stages.floor.bytes})),
            "step_seconds": step,
            "gflops": flops / step / 1e9,
            "encoder": config.name(),
            "size": args.size,
            "batch": args.batch,
            "precision": args.precision,
            "path": path.name(),
            "device": place.gpu.as_ref().map_or("cpu", |gpu| gpu.name.as_str()),
        });
        say(&format!("{result}"));
        return Ok(());
    }
    let at = match &place.gpu {
        Some(gpu) => format!("{} ({})", gpu.name, gpu.title),
        None => format!("{threads} thread(s), {}", path.name()),
    };
    say(&format!(
        "{} {}x{}x{} batch {}, {at}, {}: {:.1} images/s, step {:.0} ms, {:.0} GFLOP/s, \
         forward alone {:.0} images/s, peak {:.2} GiB",
        config.name(),
        args.channels,
        args.size,
        args.size,
        args.batch,
        args.precision,
        n / step,
        1e3 * step,
        flops / step / 1e9,
        n / pass,
        peak.unwrap_or(0) as f64 / f64::from(1 << 30)
    ));
    if let Some(stages) = stages {
        stages.tell(step);
    }
    Ok(())
}

/// The network: its name says how deep, the other flags the rest.
fn encoder(args: &BenchTrainArgs) -> Result<ResNetConfig> {
    let config = ResNetConfig::from_name(&args.encoder, args.channels).ok_or_else(|| {
        let there = "resnet18, resnet34, resnet50, resnet101, resnet152 or resnet200, each with _v2 or not";
        Usage(format!("--encoder {}: no such network; there are {there}", args.encoder))
    })?;
    let plain = ResNetConfig { width: 64, stem: Stem::Imagenet, ..config };
    if config != plain {
        let (name, plain) = (&args.encoder, plain.name());
        return Err(Usage(format!("--encoder {name}: say {plain}, with --width and --stem")).into());
    }
    Ok(ResNetConfig { width: args.width, stem: stem(&args.stem), ..config })
}

fn path(name: Option<&str>) -> Result<Path> {
    let named = name.and_then(|name| Path::ALL.into_iter().find(|path| path.name() == name));
    if let Some(path) = named
        && !path.is_available()
    {
        bail!("--path {}: this processor has no such instructions", name.unwrap_or_default());
    }
    Path::force(named);
    Ok(Path::current())
}

pub(super) fn head(args: &BenchTrainArgs) -> HeadConfig {
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
    let on_gpu = *device != Device::flex();
    Ok(Byol {
        online,
        target,
        optimizer,
        lanes: if on_gpu { Lanes::one() } else { Lanes::of(rayon::current_num_threads())? },
        precision: precision(&args.precision),
        shared: None,
    })
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
