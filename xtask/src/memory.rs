//! Whether a run can fit at all: better said before it starts than by the kernel.

use std::fs;

use anyhow::{Result, bail};
use byol_train::RunPlan;

/// Refuses a plan whose least need is more than the machine has.
pub fn check(plan: &RunPlan, prefetch: usize) -> Result<()> {
    let Some(there) = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)) else {
        return Ok(()); // not Linux: the system will say
    };
    let needed = plan.memory_floor(prefetch)?;
    if needed > there {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        bail!(
            "training needs at least {:.1} GiB of memory and this machine has {:.1} GiB: a batch of {} views \
             of {}x{} pixels twice through ResNet-{} of width {}. Try a smaller --batch, --set policy.size \
             or --set encoder.width",
            gib(needed),
            gib(there),
            plan.spec.batch,
            plan.spec.policy.size,
            plan.spec.policy.size,
            plan.spec.encoder.depth,
            plan.spec.encoder.width
        );
    }
    Ok(())
}

/// Memory and swap, in bytes, out of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let kib = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((kib("MemTotal:")? + kib("SwapTotal:").unwrap_or(0)) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_swap_are_added() {
        let text = "MemTotal:       24000 kB\nMemFree:  1 kB\nSwapTotal:   1000 kB\n";
        assert_eq!(total(text), Some(25_000 * 1024));
        assert_eq!(total("nothing of the kind"), None);
    }
}
