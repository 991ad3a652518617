//! A device proves itself: drivers have been seen that give gradients of zeros without any error, so what a
//! step is made of is computed there and on the CPU, forward and backward, and compared.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use byol_model::{HeadConfig, Precision, ResNetConfig};
use byol_train::RunPlan;
use serde::{Deserialize, Serialize};

use super::Found;
use super::cases::cases;
use crate::child;
use crate::hub::cache;
use crate::terminal::{CARGO, Progress, tell};

/// Multiply-adds that the CPU is given, which decide how many pictures are compared.
const WORK: u64 = 100_000_000_000;

/// What a step is made of.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Shapes {
    pub encoder: ResNetConfig,
    /// Side of a view.
    pub size: usize,
    /// Pictures at a time.
    pub batch: usize,
    pub projector: HeadConfig,
    pub precision: Precision,
}

impl Shapes {
    /// Of a run, with as many of its pictures as the CPU can do in seconds.
    pub fn of(plan: &RunPlan) -> Result<Self> {
        let encoder = plan.encoder();
        let (size, batch) = (plan.policy()?.view.size, plan.micro_batch());
        Self::new(encoder, size, batch, plan.spec.projector, plan.spec.precision)
    }

    pub fn new(
        encoder: ResNetConfig,
        size: usize,
        batch: usize,
        projector: HeadConfig,
        precision: Precision,
    ) -> Result<Self> {
        let affordable = WORK / (3 * encoder.cost(size)?.multiply_adds).max(1);
        let batch = batch.min(usize::try_from(affordable)?).max(2);
        Ok(Self { encoder, size, batch, projector, precision })
    }
}

/// A result that was compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub operation: String,
    /// The result, or what a gradient is for.
    pub of: String,
    /// ‖difference‖ / ‖the CPU's‖; the largest number where a result is none.
    pub error: f64,
    /// What it may be.
    pub allowed: f64,
}

impl Row {
    pub fn holds(&self) -> bool {
        self.error <= self.allowed
    }
}

/// How far the device's results are from the CPU's. `spoil` stands between the device and the comparison.
pub fn compare(device: &Device, shapes: &Shapes, spoil: impl Fn(&mut [f32])) -> Result<Vec<Row>> {
    let cpu = Device::flex();
    let mut rows = Vec::new();
    for case in cases(shapes)? {
        let exact = (case.run)(&cpu, &case.inputs, true);
        let theirs = (case.run)(device, &case.inputs, false);
        for ((of, exact), (_, found)) in exact.into_iter().zip(theirs) {
            let exact: Vec<f32> = exact.into_data().iter::<f32>().collect();
            let mut found: Vec<f32> = found
                .try_into_data()
                .map_err(|e| anyhow::anyhow!("{}: {e}", case.operation))?
                .iter::<f32>()
                .collect();
            spoil(&mut found);
            let row = Row {
                operation: case.operation.clone(),
                of: of.into(),
                error: apart(&found, &exact),
                allowed: case.allowed,
            };
            rows.push(row);
        }
    }
    Ok(rows)
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() || a.iter().any(|x| !x.is_finite()) {
        return f64::MAX;
    }
    let square = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    difference.sqrt() / norm.sqrt().max(f64::MIN_POSITIVE)
}

/// Compares in a process of its own, which a driver may end. The rows, or what became of it.
pub fn compare_apart(gpu: &Found, shapes: &Shapes) -> Result<std::result::Result<Vec<Row>, String>> {
    let spinner = Progress::spinner(&format!("{}: comparing with the CPU", gpu.name));
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["devices", "--check", "--device", &gpu.name, "--here", &serde_json::to_string(shapes)?]);
    let output = child::output(&mut command).context("starting a process to compare")?;
    spinner.finish();
    if !output.status.success() {
        return Ok(Err(format!("the comparison ended with {}", child::end(&output))));
    }
    let rows = serde_json::from_slice(&output.stdout);
    Ok(rows.map_err(|e| format!("the comparison gave no table: {e}")))
}

/// The file that remembers a device that has proved itself, and what it holds.
fn remembered(gpu: &Found, shapes: &Shapes) -> Result<(PathBuf, String)> {
    // Of this very build: its kernels are Burn's, which are in it.
    let program = fs::metadata(std::env::current_exe()?)?;
    let built = program.modified()?.duration_since(std::time::UNIX_EPOCH)?.as_nanos().to_string();
    let about = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "program": [program.len().to_string(), built],
        "device": gpu.name,
        "title": gpu.title,
        "driver": gpu.driver,
        "shapes": shapes,
    });
    let about = about.to_string();
    let name = <sha2::Sha256 as sha2::Digest>::digest(about.as_bytes());
    let name: String = name.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok((cache("devices")?.join(name), about))
}

/// Sees to it that the device computes what the CPU does, once for a device, its driver and these shapes.
///
/// # Errors
///
/// If it does not, unless `force`, where there is such a flag.
pub fn prove(gpu: &Found, shapes: &Shapes, force: Option<bool>) -> Result<()> {
    let memory = remembered(gpu, shapes).ok();
    if let Some((path, about)) = &memory
        && fs::read_to_string(path).is_ok_and(|text| text == *about)
    {
        return Ok(());
    }
    tell(&format!(
        "{}: comparing what a step is made of with the CPU, once for this device, driver, program and shapes",
        gpu.name
    ));
    let begun = Instant::now();
    let wrong = match compare_apart(gpu, shapes)? {
        Err(what) => what,
        Ok(rows) => match rows.iter().find(|row| !row.holds()) {
            None => {
                tell(&format!(
                    "{}: {} results as the CPU's, forward and backward ({:.0} s)",
                    gpu.name,
                    rows.len(),
                    begun.elapsed().as_secs_f64()
                ));
                if let Some((path, about)) = memory
                    && let Some(folder) = path.parent()
                {
                    // Another run compares again where it cannot be kept.
                    let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, about));
                }
                return Ok(());
            }
            Some(row) => {
                let wrong = rows.iter().filter(|row| !row.holds()).count();
                format!(
                    "{wrong} of {} results are not the CPU's, the first: {}, {}, by {:.1e}",
                    rows.len(),
                    row.operation,
                    row.of,
                    row.error
                )
            }
        },
    };
    let what = format!("{} ({}, {}): {wrong}", gpu.name, gpu.title, gpu.driver);
    if force != Some(true) {
        let anyway = if force.is_some() { "; all the same: --force" } else { "" };
        bail!("{what}; it is not used. All of it: {CARGO} devices --check; another: --device cpu{anyway}");
    }
    tell(&format!("warning: {what}; --force"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use byol_model::Stem;

    fn small(stem: Stem) -> Shapes {
        let encoder = ResNetConfig { stem, ..ResNetConfig::from_name("resnet18_w4", 3).unwrap() };
        let projector = HeadConfig { layers: 2, hidden: 16, output: 8 };
        Shapes::new(encoder, 32, 4, projector, Precision::F32).unwrap()
    }

    #[test]
    fn the_cpu_is_like_itself() {
        for stem in [Stem::Imagenet, Stem::Small] {
            let rows = compare(&Device::flex(), &small(stem), |_| ()).unwrap();
            // Views are made by byol-augment on one side.
            let same = |row: &Row| row.error == 0.0 || row.operation.contains("views") && row.error < 1e-5;
            assert!(rows.len() > 60 && rows.iter().all(same), "{rows:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_seen() {
        let zeros: fn(&mut [f32]) = |values| values.fill(0.0);
        let none: fn(&mut [f32]) = |values| values[0] = f32::NAN;
        let swapped: fn(&mut [f32]) = |values| values.reverse();
        let larger: fn(&mut [f32]) = |values| values.iter_mut().for_each(|x| *x *= 1.03);
        for spoil in [zeros, none, swapped, larger] {
            let rows = compare(&Device::flex(), &small(Stem::Small), spoil).unwrap();
            let missed: Vec<&Row> = rows.iter().filter(|row| row.holds()).collect();
            // A single value is the same backwards.
            assert!(
                missed.iter().all(|row| row.operation.contains("loss") || row.of == "norm"),
                "{missed:?}"
            );
        }
    }
}
