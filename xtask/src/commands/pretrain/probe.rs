//! A linear classifier that learns while a run goes on: labels never touch the encoder.

use std::ops::ControlFlow;

use anyhow::Result;
use byol_data::ImageDataset;
use byol_model::{Encoder, TensorValues};
use byol_train::{Observer, Seen, TrainError};

/// Name of what the probe keeps in checkpoints.
const KEPT: &str = "probe";
/// Of the probe's gradient descent, on representations that are standardised over the batch
/// and about so long.
const LENGTH: f32 = 4.0;
const RATE: f32 = 0.1;
const MOMENTUM: f32 = 0.9;
/// Of the running score.
const MEMORY: f32 = 0.99;

/// A linear classifier that learns beside the encoder, from representations without a graph
/// of augmented views. What it scores on a batch before it learns from it is `probe_top1`.
#[derive(Debug)]
pub struct OnlineProbe {
    labels: Vec<Option<i64>>,
    n_classes: usize,
}

impl OnlineProbe {
    /// For the labels of a set; none where it has none.
    pub fn new(set: &ImageDataset) -> Result<Option<Self>> {
        let labels = set.known_labels()?;
        let largest = labels.iter().flatten().max().copied().unwrap_or(-1);
        let n_classes = usize::try_from(largest + 1).unwrap_or(0);
        Ok((2..=100_000).contains(&n_classes).then_some(Self { labels, n_classes }))
    }

    /// One step of gradient descent on the mean cross-entropy; share of right answers before it.
    fn learn(&self, kept: &mut TensorValues, y: &[f32], dim: usize, samples: &[usize]) -> Option<f32> {
        let (n, width) = (self.n_classes, dim + 1);
        let (weights, momenta) = kept.1.split_at_mut(n * width);
        let mut gradient = vec![0.0f32; n * width];
        let (mut right, mut seen) = (0.0f32, 0.0f32);
        let standard = standardization(y, dim);
        for (row, sample) in y.chunks_exact(dim).zip(samples) {
            let Some(label) = self.labels.get(*sample).copied().flatten() else { continue };
            let standardized = row.iter().zip(&standard).map(|(x, (mean, scale))| (x - mean) * scale);
            let x: Vec<f32> = standardized.chain([1.0]).collect();
            let logits: Vec<f32> =
                weights.chunks_exact(width).map(|w| w.iter().zip(&x).map(|(w, x)| w * x).sum()).collect();
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = logits.iter().map(|l| (l - highest).exp()).collect();
            let total: f32 = powers.iter().sum();
            let best = logits.iter().position(|l| *l == highest);
            let label = usize::try_from(label).ok()?;
            right += f32::from(u8::from(best == Some(label)));
            seen += 1.0;
            for (class, (power, of_class)) in powers.iter().zip(gradient.chunks_exact_mut(width)).enumerate()
            {
                let off = power / total - f32::from(u8::from(class == label));
                of_class.iter_mut().zip(&x).for_each(|(g, x)| *g += off * x);
            }
        }
        if seen == 0.0 {
            return None;
        }
        for ((w, m), g) in weights.iter_mut().zip(momenta).zip(&gradient) {
            *m = MOMENTUM * *m + g / seen;
            *w -= RATE * *m;
        }
        Some(right / seen)
    }
}

/// Mean of each column and what it is multiplied by, so that rows are about [`LENGTH`] long.
fn standardization(y: &[f32], dim: usize) -> Vec<(f32, f32)> {
    let rows = (y.len() / dim.max(1)).max(1) as f32;
    let mut moments = vec![(0.0f32, 0.0f32); dim];
    for row in y.chunks_exact(dim) {
        row.iter().zip(&mut moments).for_each(|(x, (sum, squares))| {
            *sum += x;
            *squares += x * x;
        });
    }
    let of_column = |(sum, squares): (f32, f32)| {
        let mean = sum / rows;
        let std = (squares / rows - mean * mean).max(0.0).sqrt();
        (mean, LENGTH / (dim as f32).sqrt() / (std + 1e-3))
    };
    moments.into_iter().map(of_column).collect()
}

impl<E: Encoder> Observer<E> for OnlineProbe {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        let y = seen.batch.representation.clone();
        let [rows, dim] = y.dims();
        // Cannot fail: representations are f32.
        let y: Vec<f32> = y.into_data().try_into_vec().unwrap_or_default();
        let samples = &seen.batch.samples[seen.batch.samples.len().saturating_sub(rows)..];
        let size = 2 * self.n_classes * (dim + 1);
        // Weights, their momenta, and the running score.
        let kept = &mut seen.state.kept;
        let probe = kept.entry(KEPT.into()).or_insert_with(|| (vec![size], vec![0.0; size]));
        let Some(right) = self.learn(probe, &y, dim, samples) else { return Ok(ControlFlow::Continue(())) };
        let score = kept.entry(format!("{KEPT}_top1")).or_insert_with(|| (vec![1], vec![right]));
        score.1[0] = MEMORY * score.1[0] + (1.0 - MEMORY) * right;
        seen.report.extra.insert("probe_top1".into(), f64::from(score.1[0]));
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_learns_what_is_separable() {
        let probe = OnlineProbe { labels: (0..64).map(|i| Some(i % 3)).collect(), n_classes: 3 };
        let mut kept = (vec![2 * 3 * 5], vec![0.0; 2 * 3 * 5]);
        let samples: Vec<usize> = (0..64).collect();
        let y: Vec<f32> = samples
            .iter()
            .flat_map(|i| (0..4).map(move |d| f32::from(u8::from(d == i % 3)) + (i * 7 % 5) as f32 * 0.05))
            .collect();
        let first = probe.learn(&mut kept, &y, 4, &samples).unwrap();
        let last = (0..50).filter_map(|_| probe.learn(&mut kept, &y, 4, &samples)).last().unwrap();
        assert!(first < 0.5 && last > 0.99, "{first}, then {last}");
    }
}
