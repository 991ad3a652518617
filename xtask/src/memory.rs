//! Memory: what the machine has, what a process took, whether a run can fit at all (better
//! said before it starts than by the kernel).

use std::fs;

use anyhow::{Result, bail};
use byol_train::{RunPlan, StepShape};

use crate::replicas::on_this_machine;

/// Share of an estimate below which it is certain that a run cannot fit.
const CERTAIN: f64 = 0.85;

/// Refuses a plan of which one of `world` processes needs more than the machine has.
pub fn check(plan: &RunPlan, prefetch: usize, world: usize) -> Result<()> {
    check_step(&plan.step_shape(prefetch, world), "--set policy.size or --set encoder.width")
}

/// Refuses a step that needs more than the machine has, and names two settings besides `--batch`.
pub fn check_step(shape: &StepShape, settings: &str) -> Result<()> {
    let Some(there) = there().map(|bytes| bytes / on_this_machine()) else {
        return Ok(()); // not Linux: the system will say
    };
    let needed = shape.memory()?;
    if needed as f64 * CERTAIN > there as f64 {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        bail!(
            "training needs about {:.1} GiB of memory and this machine has {:.1} GiB: a batch of {} views \
             of {}x{} pixels twice through ResNet-{} of width {}. Try a smaller --batch, {settings}",
            gib(needed),
            gib(there),
            shape.batch,
            shape.size,
            shape.size,
            shape.encoder.depth,
            shape.encoder.width
        );
    }
    Ok(())
}

/// Memory and swap of the machine in bytes, where the system says.
pub fn there() -> Option<u64> {
    fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text))
}

/// Bytes that could be had now, where the system says.
pub fn available() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Memory that this process holds now, in bytes, where the system says.
pub fn resident() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The most memory that this process has held, in bytes, where the system says.
pub fn peak() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Pages that the system has given this process so far, where it says.
pub fn pages_taken() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name stands in brackets and may hold anything; minflt is the eighth field behind it.
    text.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Memory and swap, in bytes, out of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    Some(field(meminfo, "MemTotal:")? + field(meminfo, "SwapTotal:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted() {
        let Some(before) = pages_taken() else { return };
        // So much that the C library asks the system for it.
        let touched = vec![1u8; 64 << 20];
        let taken = pages_taken().unwrap_or(0) - before;
        assert!(touched.len() == 64 << 20 && taken > 0, "{taken}");
    }

    #[test]
    fn memory_and_swap_are_added() {
        let text = "MemTotal:       24000 kB\nMemFree:  1 kB\nSwapTotal:   1000 kB\n";
        assert_eq!(total(text), Some(25_000 * 1024));
        assert_eq!(total("nothing of the kind"), None);
    }
}
