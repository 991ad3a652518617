//! Where a run computes: on the CPU, or on a GPU that this build has a back end for, that is there, and
//! that has been seen to compute what the CPU does.

mod cases;
mod found;
pub mod proof;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use burn::tensor::Device;

pub use found::{Found, found};

use crate::terminal::tell;

/// What a GPU is reached through, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// NVIDIA's.
    Cuda,
    /// Vulkan, in SPIR-V.
    Vulkan,
    /// Whatever the system has, Vulkan, Metal or DirectX, in WGSL.
    Wgpu,
}

impl Engine {
    pub const ALL: [Self; 3] = [Self::Cuda, Self::Vulkan, Self::Wgpu];

    /// Whether this build has it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
        })
    }
}

/// What `--device` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The best that there is.
    Auto,
    Cpu,
    /// Without a number: the first, or of several processes on a machine each its own.
    Gpu(Engine, Option<usize>),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "expected auto, cpu, wgpu, vulkan or cuda, the last three with a number if you like (wgpu:1)";
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| expected())?)),
            None => (text, None),
        };
        match (name, Engine::ALL.into_iter().find(|engine| engine.to_string() == name)) {
            ("auto", _) if index.is_none() => Ok(Self::Auto),
            ("cpu", _) if index.is_none() => Ok(Self::Cpu),
            (_, Some(engine)) => Ok(Self::Gpu(engine, index)),
            _ => Err(expected().into()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(engine, None) => write!(f, "{engine}"),
            Self::Gpu(engine, Some(index)) => write!(f, "{engine}:{index}"),
        }
    }
}

/// Where it is computed then.
#[derive(Debug, Clone)]
pub struct Place {
    pub device: Device,
    /// The GPU, unless it is the CPU.
    pub gpu: Option<Found>,
    /// Why it is not one, where that was not asked for.
    pub why: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.gpu, &self.why) {
            (Some(gpu), _) => write!(f, "on {} ({})", gpu.name, gpu.title),
            (None, Some(why)) => write!(f, "on the CPU ({why})"),
            (None, None) => f.write_str("on the CPU"),
        }
    }
}

impl Place {
    /// For a record: `cpu`, or the GPU with what its driver calls it.
    pub fn name(&self) -> String {
        self.gpu.as_ref().map_or_else(|| "cpu".into(), |gpu| format!("{} ({})", gpu.name, gpu.title))
    }

    /// Does what a GPU takes part in. One that gives up (it panics: out of memory, most often) is an error that names it.
    pub fn guarded<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let Some(gpu) = &self.gpu else { return Ok(work()) };
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let panic =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say why");
            anyhow!("{} ({}) has given up: {panic} (--device cpu does without it)", gpu.name, gpu.title)
        })
    }
}

/// [`pick`], for commands about an encoder: what is picked is said, where there is a choice, unless `quiet`.
pub fn pick_for_encoder(choice: Choice, quiet: bool) -> Result<Place> {
    let place = pick(choice)?;
    if !quiet && (place.gpu.is_some() || place.why.is_some()) {
        tell(&format!("representations are computed {place}"));
    }
    Ok(place)
}

/// The CPU.
pub fn cpu() -> Place {
    Place { device: Device::flex(), gpu: None, why: None }
}

/// What is asked for, or for `auto` the best GPU that this build can reach, else the CPU.
pub fn pick(choice: Choice) -> Result<Place> {
    let on = |gpu: Found| Place { device: gpu.device.clone(), gpu: Some(gpu), why: None };
    match choice {
        Choice::Cpu => Ok(cpu()),
        Choice::Auto => {
            let engines: Vec<Engine> = Engine::ALL.into_iter().filter(|engine| engine.is_built()).collect();
            let mut imitates = String::new();
            for engine in &engines {
                let (software, real): (Vec<Found>, Vec<Found>) =
                    found(*engine).into_iter().partition(|gpu| gpu.software);
                if !real.is_empty() {
                    return Ok(on(one_of(real)));
                }
                if let Some(gpu) = software.first() {
                    imitates = format!("; {} is a program that imitates one", gpu.name);
                }
            }
            let names: Vec<String> = engines.iter().map(ToString::to_string).collect();
            let why =
                (!names.is_empty()).then(|| format!("no GPU was found by {}{imitates}", names.join(" or ")));
            Ok(Place { why, ..cpu() })
        }
        Choice::Gpu(engine, index) => {
            if !engine.is_built() {
                bail!("--device {choice}: this build has no {engine}; cargo xtask-{engine} has");
            }
            let gpus = found(engine);
            if gpus.is_empty() {
                bail!("--device {choice}: {engine} finds nothing here: is the driver installed?");
            }
            let names: Vec<String> = gpus.iter().map(|gpu| format!("{} ({})", gpu.name, gpu.title)).collect();
            let chosen = match index {
                Some(index) => gpus.into_iter().nth(index),
                // What only imitates a GPU, where there is nothing better.
                None => {
                    let (software, real): (Vec<Found>, Vec<Found>) =
                        gpus.into_iter().partition(|gpu| gpu.software);
                    Some(one_of(if real.is_empty() { software } else { real }))
                }
            };
            let Some(gpu) = chosen else { bail!("--device {choice}: there is {}", names.join(", ")) };
            Ok(on(gpu))
        }
    }
}

/// What Burn makes on its default device is made on the CPU, whatever this build could reach: nothing touches
/// another device than the one that is chosen. Before anything else is done.
#[cfg(feature = "gpu")]
#[allow(unsafe_code, reason = "see SAFETY")]
pub fn no_other_than_chosen() {
    // SAFETY: the first thing that the program does, while it has one thread.
    unsafe {
        std::env::set_var("BURN_DEVICE", "flex");
        // Drivers complain where it is not set, as on servers.
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir());
        }
    }
}

/// The first, or of several processes on a machine each its own.
fn one_of(mut gpus: Vec<Found>) -> Found {
    const NAMES: [&str; 4] =
        ["OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];
    let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
    let mine = NAMES.into_iter().find_map(number).unwrap_or(0);
    gpus.swap_remove(mine % gpus.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_shown() {
        for text in ["auto", "cpu", "wgpu", "vulkan:0", "cuda:13"] {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        for text in ["", "gpu", "cpu:0", "auto:1", "wgpu:", "wgpu:-1", "cuda:a", "wgpu:0:1", "CUDA"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(pick(Choice::Cpu).unwrap().to_string(), "on the CPU");
        let place = pick(Choice::Auto).unwrap();
        assert!(place.gpu.is_some() || place.to_string().starts_with("on the CPU"));
    }
}
