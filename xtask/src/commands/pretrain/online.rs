//! Scores while a run goes on: labels are looked at, and never touch the encoder.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use byol_data::ImageDataset;
use byol_eval::{EvalError, Features, KnnConfig, Score, extract_some, knn};
use byol_model::{Encoder, TensorValues};
use byol_train::{Observer, RunPlan, Seen, TrainError};

use crate::compose::Source;

/// Pictures that are looked at each time: three quarters are neighbours, the others ask.
const PICTURES: usize = 2000;
/// For each picture that is looked at, so many are trained on: a forward pass is an eighth of
/// a step's work on a picture, so that this is half a percent of it, and twice that where
/// decoding is all.
const TRAINED: u64 = 33;
/// Fewer are no score.
const FEWEST: usize = 40;
const NEIGHBOURS: usize = 20;
const TEMPERATURE: f64 = 0.07;

/// Weighted nearest neighbours (as `knn`) of some training pictures, every so often.
/// Those that ask are of the validation split if there is one, else training pictures that
/// are not among the neighbours. Never of the test split.
pub struct OnlineKnn {
    set: Arc<ImageDataset>,
    asking: Arc<ImageDataset>,
    neighbours: (Vec<usize>, Vec<usize>),
    queries: (Vec<usize>, Vec<usize>),
    n_classes: usize,
    every: u64,
    device: Device,
}

impl OnlineKnn {
    /// For the pictures of a run; none where they have no labels, or are too few.
    pub fn new(
        set: &Arc<ImageDataset>,
        source: &Source,
        plan: &RunPlan,
        device: &Device,
    ) -> Result<Option<Self>> {
        let Some(labels) = set.labels()? else { return Ok(None) };
        let some = spread(set.len(), PICTURES);
        let split = source.split_names()?.into_iter().find(|name| is_validation(name));
        let validation = match split.filter(|name| name != set.split()) {
            Some(name) => {
                let validation = source.open(&name)?;
                let known = validation.labels()?.filter(|_| validation.classes() == set.classes());
                known.map(|labels| (validation, labels))
            }
            None => None,
        };
        let (asking, neighbours, queries, asked) = match validation {
            Some((validation, labels)) => {
                let queries = spread(validation.len(), PICTURES / 4);
                let asked: Vec<usize> = queries.iter().map(|i| labels[*i]).collect();
                (Arc::new(validation), spread(set.len(), PICTURES * 3 / 4), queries, asked)
            }
            None => {
                let is_query = |nth: &usize| nth % 4 == 3;
                let part = |wanted: bool| -> Vec<usize> {
                    some.iter()
                        .enumerate()
                        .filter(|(nth, _)| is_query(nth) == wanted)
                        .map(|(_, i)| *i)
                        .collect()
                };
                let queries = part(true);
                let asked = queries.iter().map(|i| labels[*i]).collect();
                (set.clone(), part(false), queries, asked)
            }
        };
        let known: Vec<usize> = neighbours.iter().map(|i| labels[*i]).collect();
        let n_classes = known.iter().chain(&asked).max().map_or(0, |largest| largest + 1);
        let pictures = neighbours.len() + queries.len();
        if pictures < FEWEST || n_classes < 2 {
            return Ok(None);
        }
        let every = (pictures as u64 * TRAINED).div_ceil(plan.spec.batch as u64).max(1);
        Ok(Some(Self {
            set: set.clone(),
            asking,
            neighbours: (neighbours, known),
            queries: (queries, asked),
            n_classes,
            every,
            device: device.clone(),
        }))
    }

    /// Pictures that ask.
    pub fn n_queries(&self) -> usize {
        self.queries.0.len()
    }

    fn score<E: Encoder>(&self, encoder: &E, plan: &RunPlan) -> Result<f64, EvalError> {
        let Ok(policy) = plan.policy() else { return Ok(f64::NAN) }; // it was resolved before
        let features = |set: &ImageDataset, pictures: &[usize]| -> Result<Features, EvalError> {
            extract_some(encoder, set, pictures, &policy.eval, plan.data.channels, &self.device, |_| {})
        };
        let neighbours = features(&self.set, &self.neighbours.0)?;
        let queries = features(&self.asking, &self.queries.0)?;
        let config = KnnConfig { k: NEIGHBOURS, temperature: TEMPERATURE, n_classes: self.n_classes };
        let ranked = knn(&neighbours, &self.neighbours.1, &queries, config)?;
        Ok(Score::new(&ranked, &self.queries.1).top1)
    }
}

fn is_validation(split: &str) -> bool {
    matches!(split, "validation" | "valid" | "val")
}

/// At most `n` of `len` numbers, evenly.
fn spread(len: usize, n: usize) -> Vec<usize> {
    let n = n.min(len);
    (0..n).map(|i| i * len / n).collect()
}

impl<E: Encoder> Observer<E> for OnlineKnn {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        // By steps, not by the clock, so that a run that goes on has the same scores; at the end
        // of a run by the clock there is no time left.
        let last = seen.plan.spec.minutes.is_none() && seen.report.step == seen.plan.total_steps;
        if last || seen.report.step.is_multiple_of(self.every) {
            // Pictures that cannot be read have ended the run before, in the loader.
            if let Ok(top1) = self.score(&seen.state.byol.online.encoder, seen.plan) {
                seen.report.extra.insert("knn_top1".into(), top1);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

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

    #[test]
    fn pictures_are_spread_over_the_set() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(3, 9), [0, 1, 2]);
    }
}
