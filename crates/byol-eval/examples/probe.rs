//! Scores a matrix of embeddings that came from anywhere.

use byol_eval::{
    EvalError, Features, KnnConfig, Score, every_nth_of_classes, knn, logistic_probe, penalties,
};

fn main() -> Result<(), EvalError> {
    // Two noisy rings of different radius.
    let made = |n: usize, shift: usize| {
        let row = |i: usize| {
            let angle = (i * 37 + shift) as f32;
            let radius = 1.0 + (i % 2) as f32 + 0.2 * (angle * 1.7).sin();
            [radius * angle.cos(), radius * angle.sin(), radius * radius]
        };
        Features::new(3, (0..n).flat_map(row).collect())
    };
    let (train, test) = (made(200, 0)?, made(100, 11)?);
    let labels = |n: usize| (0..n).map(|i| i % 2).collect::<Vec<_>>();
    let neighbours = knn(&train, &labels(200), &test, KnnConfig { k: 20, temperature: 0.07, n_classes: 2 })?;
    // Every tenth training row chooses the penalty.
    let (probe, report) =
        logistic_probe(&train, &labels(200), &every_nth_of_classes(&labels(200), 10), 2, &penalties())?;
    let linear = probe.predict(&test)?;
    for (name, ranked) in [("kNN", neighbours), ("logistic regression", linear)] {
        let score = Score::new(&ranked, &labels(100));
        println!("{name}: {:.3}, 95 % {:?}", score.top1, score.interval);
    }
    println!("penalty {}", report.penalty);
    Ok(())
}
