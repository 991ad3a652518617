//! How well the order of a set that does not fit into memory mixes, beside a true
//! permutation: classes in a batch, for sets that lie on disk class after class.
//!
//!     cargo run --release --example shuffle

use byol_data::{DataError, EpochPlan, OpenOptions, Partition, ROW_GROUP_BYTES};

/// Pictures, bytes of each, classes.
const SETS: [(&str, usize, usize, usize); 3] = [
    ("like ImageNet, 1.28 M of 110 kB", 1_281_167, 110_000, 1000),
    ("like Food-101, 75,750 of 50 kB", 75_750, 50_000, 101),
    ("like Imagenette, 9,469 of 115 kB", 9_469, 115_000, 10),
];
const BATCH: usize = 256;

fn main() -> Result<(), DataError> {
    println!("distinct classes in a batch of {BATCH}, mean over an epoch, set sorted by class");
    println!("{:<34} {:>8} {:>16} {:>16}", "", "sorted", "64 MiB windows", "permutation");
    for (name, n, bytes, n_classes) in SETS {
        let rows = (ROW_GROUP_BYTES / bytes).max(1);
        let groups: Vec<(u32, u32)> = (0..n.div_ceil(rows))
            .map(|g| {
                let rows = rows.min(n - g * rows);
                (rows as u32, (rows * bytes) as u32)
            })
            .collect();
        let window = OpenOptions::default().window;
        let windows = EpochPlan::in_windows(0, 0, &groups, window, BATCH)?;
        let permutation = EpochPlan::new(0, 0, n, BATCH)?;
        let class = |picture: usize| picture * n_classes / n;
        let distinct = |plan: &EpochPlan| {
            let mut total = 0;
            for k in 0..plan.n_batches() {
                let mut classes: Vec<usize> = plan.batch(k, Partition::WHOLE).map(class).collect();
                classes.sort_unstable();
                classes.dedup();
                total += classes.len();
            }
            total as f64 / plan.n_batches() as f64
        };
        let sorted = (BATCH as f64 * n_classes as f64 / n as f64).max(1.0);
        println!("{name:<34} {sorted:>8.1} {:>16.1} {:>16.1}", distinct(&windows), distinct(&permutation));
    }
    Ok(())
}
