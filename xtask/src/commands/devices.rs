//! `devices`: what a run can compute on.

use anyhow::{Context, Result, bail};
use byol_model::{HeadConfig, ResNetConfig};
use serde_json::{Value, json};

use crate::child;
use crate::cli::DevicesArgs;
use crate::compose::precision;
use crate::device::proof::{Row, Shapes, compare, compare_apart};
use crate::device::{Choice, Engine, Found, found, pick};
use crate::exit::Usage;
use crate::memory;
use crate::terminal::{counted, say, tell};

/// Lists them, or compares them with the CPU.
pub fn run(args: &DevicesArgs) -> Result<()> {
    let gpus = match args.device {
        None | Some(Choice::Auto) => Engine::ALL.into_iter().flat_map(found).collect(),
        Some(choice) => Vec::from_iter(pick(choice)?.gpu),
    };
    if let Some(shapes) = &args.here {
        child::end_with_parent();
        let shapes: Shapes = serde_json::from_str(shapes).context("--here")?;
        let [gpu] = gpus.as_slice() else { bail!("--here compares one device") };
        say(&serde_json::to_string(&compare(&gpu.device, &shapes, |_| ())?)?);
        return Ok(());
    }
    if args.check { check(args, &gpus) } else { list(args, &gpus) }
}

fn engines() -> String {
    let built: Vec<String> =
        Engine::ALL.into_iter().filter(|e| e.is_built()).map(|e| e.to_string()).collect();
    if built.is_empty() {
        "this build reaches no GPU; cargo xtask-wgpu, xtask-vulkan and xtask-cuda do".into()
    } else {
        format!("this build reaches GPUs by {}", built.join(" and "))
    }
}

fn list(args: &DevicesArgs, gpus: &[Found]) -> Result<()> {
    let threads = rayon::current_num_threads();
    let path = byol_kernels::Path::current();
    if args.json {
        let mut devices = vec![json!({
            "name": "cpu",
            "title": format!("{} ({path:?})", counted(threads, "thread")),
            "precisions": ["f32", "bf16"],
            "memory_bytes": memory::available(),
        })];
        devices.extend(gpus.iter().map(about));
        say(&json!({ "devices": devices }).to_string());
        return Ok(());
    }
    say(&format!("{:<10} {:>10}  {:<14} what", "device", "memory", "precisions"));
    let gibibytes = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
        None => "?".into(),
    };
    let free = gibibytes(memory::available());
    say(&format!("{:<10} {free:>10}  {:<14} {} ({path:?})", "cpu", "f32 bf16", counted(threads, "thread")));
    for gpu in gpus {
        say(&format!(
            "{:<10} {:>10}  {:<14} {}, {}{}",
            gpu.name,
            gibibytes(gpu.memory),
            gpu.precisions.join(" "),
            gpu.title,
            gpu.driver,
            if gpu.software { "; a program: `auto` leaves it alone" } else { "" }
        ));
    }
    tell(&engines());
    Ok(())
}

fn about(gpu: &Found) -> Value {
    json!({
        "name": gpu.name,
        "title": gpu.title,
        "driver": gpu.driver,
        "precisions": gpu.precisions,
        "memory_bytes": gpu.memory,
        "software": gpu.software,
    })
}

fn check(args: &DevicesArgs, gpus: &[Found]) -> Result<()> {
    let encoder = ResNetConfig::from_name(&args.encoder, 3)
        .ok_or_else(|| Usage(format!("--encoder {}: no such encoder; `models` lists some", args.encoder)))?;
    let precision = precision(&args.precision);
    let projector = HeadConfig { layers: 2, hidden: 512, output: 128 };
    let shapes = Shapes::new(encoder, args.size, args.batch, projector, precision)?;
    if gpus.is_empty() {
        bail!("no GPU to check: {}", engines());
    }
    let mut results = Vec::new();
    let mut failed = Vec::new();
    for gpu in gpus {
        let compared = compare_apart(gpu, &shapes)?;
        let wrong = match &compared {
            Ok(rows) => rows.iter().filter(|row| !row.holds()).count(),
            Err(_) => 1,
        };
        if wrong > 0 {
            failed.push(gpu.name.as_str());
        }
        if args.json {
            let mut result = about(gpu);
            result["passes"] = (wrong == 0).into();
            match &compared {
                Ok(rows) => result["results"] = serde_json::to_value(rows)?,
                Err(what) => result["failed"] = what.as_str().into(),
            }
            results.push(result);
            continue;
        }
        say(&format!("{}: {}, {}; {} pictures", gpu.name, gpu.title, gpu.driver, shapes.batch));
        match compared {
            Ok(rows) => {
                rows.iter().for_each(|row| say(&line(row)));
                say(&if wrong == 0 {
                    format!("{}: all {} results are the CPU's", gpu.name, rows.len())
                } else {
                    format!("{}: {wrong} of {} results are NOT the CPU's", gpu.name, rows.len())
                });
            }
            Err(what) => say(&format!("{}: {what}", gpu.name)),
        }
    }
    if args.json {
        say(&json!({ "batch": shapes.batch, "devices": results }).to_string());
    }
    if !failed.is_empty() {
        bail!("{}: computes something else than the CPU", failed.join(", "));
    }
    Ok(())
}

fn line(row: &Row) -> String {
    let mark = if row.holds() { "" } else { "  WRONG" };
    let error = if row.error == f64::MAX { "NaN".into() } else { format!("{:.1e}", row.error) };
    format!("  {:<52} {:<10} {error:>8} of {:.0e}{mark}", row.operation, row.of, row.allowed)
}
