//! Fine-tuning: the whole network learns from labels, be they few (Grill et al. 2020, C.1).

mod classifier;
#[cfg(test)]
mod tests;

use burn::tensor::Device;
use byol_augment::{EvalTransform, ViewPolicy};
use byol_data::ImageDataset;
use byol_model::Encoder;

use crate::EvalError;
use crate::labels::folds_of_classes;
use crate::score::ranked;

pub use classifier::{Classifier, Training};

/// Labelled pictures, and how they are prepared.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// Sets, one after the other.
    pub sets: &'a [&'a ImageDataset],
    /// Numbers of the pictures in these sets that show their labels.
    pub rows: &'a [usize],
    /// Their labels.
    pub labels: &'a [usize],
    /// Labels are below.
    pub n_classes: usize,
    /// The random views that are learned from.
    pub views: &'a ViewPolicy,
    /// How pictures are prepared that are asked about.
    pub transform: &'a EvalTransform,
    /// Channels of the encoder's input.
    pub channels: usize,
}

/// How networks are fine-tuned, with what is swept over.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FinetuneConfig {
    /// Learning rates, as they are for any batch; each falls to 0 by half a cosine.
    pub rates: Vec<f64>,
    /// Passes over the labelled pictures.
    pub epochs: Vec<usize>,
    /// Pictures in a step at most; see [`batch_of`](Self::batch_of).
    pub batch: usize,
    /// Of Nesterov's momentum.
    pub momentum: f64,
}

/// Steps that a pass has at least, where there are pictures for batches of [`LEAST_BATCH`].
const LEAST_STEPS: usize = 10;
/// Batch statistics of fewer are noise.
const LEAST_BATCH: usize = 16;
/// Pictures with labels up to which each fifth chooses in turn; of more, one fifth is enough.
const FOLDED: usize = 500;
/// Parts that labelled pictures are divided in, to choose by.
const FOLDS: usize = 5;

impl FinetuneConfig {
    /// The paper's for few labels (C.1): rates 0.005, 0.01, 0.02, 0.05 and 0.1, 30 and 50
    /// epochs, batches of 1024, momentum 0.9, no weight decay.
    pub fn paper() -> Self {
        Self { rates: vec![0.005, 0.01, 0.02, 0.05, 0.1], epochs: vec![30, 50], batch: 1024, momentum: 0.9 }
    }

    /// Pictures in a step on `n` labelled ones: a tenth of them, at least 16, at most `batch`. The
    /// paper's 1 % of ImageNet make twelve steps a pass; a batch of 1024 of fewer pictures would
    /// make one.
    pub fn batch_of(&self, n: usize) -> usize {
        n.div_ceil(LEAST_STEPS).max(LEAST_BATCH).min(self.batch).min(n).max(1)
    }

    /// Pictures that a choice and what follows it learn from in all, at most: for progress bars.
    pub fn pictures(&self, n: usize) -> usize {
        let folds = if n < FOLDED { FOLDS } else { 1 };
        let passes = self.rates.len() * self.epochs.iter().sum::<usize>();
        let trials = if self.trials() > 1 { folds * passes * (n - n / FOLDS) } else { 0 };
        trials + n * self.epochs.iter().max().unwrap_or(&0)
    }

    fn training(&self, rate: f64, epochs: usize, n: usize, seed: u64) -> Training {
        Training { rate, epochs, batch: self.batch_of(n), momentum: self.momentum, seed }
    }

    fn trials(&self) -> usize {
        self.rates.len() * self.epochs.len()
    }

    fn check(&self) -> Result<(), EvalError> {
        let bad = |what: String| Err(EvalError::Disagree(what));
        if self.rates.is_empty() || self.rates.iter().any(|rate| !(*rate > 0.0 && rate.is_finite())) {
            return bad(format!("learning rates {:?}, expected positive ones", self.rates));
        }
        if self.epochs.is_empty() || self.epochs.contains(&0) || self.batch == 0 {
            return bad(format!("{:?} epochs of batches of {}", self.epochs, self.batch));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return bad(format!("a momentum of {}, expected 0 to below 1", self.momentum));
        }
        Ok(())
    }
}

/// One rate and length, and how it did on labelled pictures that it did not learn from.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Trial {
    /// The learning rate.
    pub rate: f64,
    /// Passes.
    pub epochs: usize,
    /// Share of the held-out pictures that were right.
    pub held_out_top1: f64,
    /// Their mean cross-entropy; none if it is no number.
    pub held_out_loss: Option<f64>,
}

/// What came of the choice.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FinetuneReport {
    /// All that was tried; empty where there was no choice.
    pub trials: Vec<Trial>,
    /// Pictures that chose, each once.
    pub n_held_out: usize,
    /// The rate that was chosen.
    pub rate: f64,
    /// The length that was chosen.
    pub epochs: usize,
    /// Pictures in a step of the last training, on all labelled pictures.
    pub batch: usize,
    /// Its steps.
    pub steps: usize,
    /// Whether the chosen rate is the lowest or the highest of several: a better one may lie
    /// beyond.
    pub at_the_edge: bool,
}

/// The paper's protocol for few labels, by these labels alone: rate and length are chosen by
/// top-1, and among equals by cross-entropy, on pictures of a fifth that the others have not
/// taught (of fewer than 500 labelled pictures on each fifth in turn); then the network learns
/// from all of them. Where there is one rate and one length, nothing is held out.
///
/// # Errors
///
/// As [`Classifier::train`], or if the configuration cannot be.
pub fn finetune<E: Encoder>(
    encoder: &E,
    data: &Labelled<'_>,
    config: &FinetuneConfig,
    seed: u64,
    device: &Device,
    learned: &mut dyn FnMut(usize),
) -> Result<(Classifier<E>, FinetuneReport), EvalError> {
    config.check()?;
    data.check()?;
    let n = data.rows.len();
    let mut n_held_out = 0;
    let mut trials = Vec::new();
    if config.trials() > 1 {
        if n < 2 {
            return Err(EvalError::Disagree(
                "one picture with a label: there is none to choose a learning rate by; name one rate and one \
                 length"
                    .into(),
            ));
        }
        let n_folds = FOLDS.min(n);
        let folds = folds_of_classes(data.labels, n_folds);
        let used = if n < FOLDED { n_folds } else { 1 };
        n_held_out = folds.iter().filter(|fold| **fold < used).count();
        for &epochs in &config.epochs {
            for &rate in &config.rates {
                let mut sum = Outcome::default();
                for held_out in 0..used {
                    let part = |of: bool| data.part(|i| (folds[i] == held_out) == of);
                    let (known, asked) = (part(false), part(true));
                    let training = config.training(rate, epochs, known.0.len(), seed);
                    let net = Classifier::train(encoder, &data.with(&known), training, device, learned)?;
                    let logits =
                        net.answers(data.sets, &asked.0, data.transform, data.channels, device, &mut |_| {})?;
                    sum.add(&logits, &asked.1);
                }
                let (held_out_top1, loss) = sum.means();
                let held_out_loss = loss.is_finite().then_some(loss);
                trials.push(Trial { rate, epochs, held_out_top1, held_out_loss });
            }
        }
    }
    let (rate, epochs) = match best(&trials) {
        Some(best) => (best.rate, best.epochs),
        None => (config.rates[0], config.epochs[0]), // one of each: `check`
    };
    let training = config.training(rate, epochs, n, seed);
    let net = Classifier::train(encoder, data, training, device, learned)?;
    let most = config.rates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = config.rates.iter().copied().fold(f64::INFINITY, f64::min);
    let report = FinetuneReport {
        trials,
        n_held_out,
        rate,
        epochs,
        batch: training.batch,
        steps: epochs * n.div_ceil(training.batch),
        at_the_edge: most > least && (rate == most || rate == least),
    };
    Ok((net, report))
}

/// By top-1, then by cross-entropy; the first of equals.
fn best(trials: &[Trial]) -> Option<&Trial> {
    let loss = |trial: &Trial| trial.held_out_loss.unwrap_or(f64::INFINITY);
    trials.iter().min_by(|a, b| b.held_out_top1.total_cmp(&a.held_out_top1).then(loss(a).total_cmp(&loss(b))))
}

impl<'a> Labelled<'a> {
    fn check(&self) -> Result<(), EvalError> {
        let bad = |what: String| Err(EvalError::Disagree(what));
        if self.rows.is_empty() || self.rows.len() != self.labels.len() {
            return bad(format!("{} labels for {} pictures", self.labels.len(), self.rows.len()));
        }
        if let Some(label) = self.labels.iter().find(|label| **label >= self.n_classes) {
            return bad(format!("label {label} of {} classes", self.n_classes));
        }
        Ok(())
    }

    /// Rows and labels of those that `which` wants.
    fn part(&self, which: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>) {
        (0..self.rows.len()).filter(|i| which(*i)).map(|i| (self.rows[i], self.labels[i])).unzip()
    }

    fn with(&self, part: &'a (Vec<usize>, Vec<usize>)) -> Self {
        Self { rows: &part.0, labels: &part.1, ..*self }
    }
}

/// Sums over held-out pictures.
#[derive(Debug, Default)]
struct Outcome {
    right: usize,
    loss: f64,
    n: usize,
}

impl Outcome {
    fn add(&mut self, logits: &[Vec<f64>], labels: &[usize]) {
        for (row, &label) in logits.iter().zip(labels) {
            self.n += 1;
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - most).exp()).sum();
            self.loss += most + total.ln() - row[label];
            // What has diverged is right about nothing.
            let finite = row.iter().all(|x| x.is_finite());
            self.right += usize::from(finite && ranked(row)[0] == label);
        }
    }

    fn means(&self) -> (f64, f64) {
        let n = self.n.max(1) as f64;
        (self.right as f64 / n, self.loss / n)
    }
}
