//! The paper's linear evaluation (Grill et al. 2020, C.1): softmax regression by stochastic
//! gradient descent with Nesterov momentum, several learning rates, the rate chosen on
//! held-out training rows.

use faer::Accum;
use rayon::prelude::*;

use crate::labels::shuffled;
use crate::product::{map_blocks, multiply, rows_of};
use crate::score::ranked;
use crate::{EvalError, Features, Ranked};

/// How linear classifiers learn.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LinearConfig {
    /// Learning rates at a batch of 256; each is multiplied by batch / 256 and falls to 0 by
    /// half a cosine.
    pub rates: Vec<f64>,
    /// Passes over the training rows.
    pub epochs: usize,
    /// Rows in a step.
    pub batch: usize,
    /// Of Nesterov's momentum, as PyTorch has it.
    pub momentum: f64,
}

impl LinearConfig {
    /// The paper's: 80 epochs of batches of 1024, momentum 0.9, no weight decay, and the rates
    /// 0.4, 0.3, 0.2, 0.1 and 0.05 (taken as before the scaling with the batch, which the
    /// paper leaves open).
    pub fn paper() -> Self {
        Self { rates: vec![0.4, 0.3, 0.2, 0.1, 0.05], epochs: 80, batch: 1024, momentum: 0.9 }
    }

    fn check(&self) -> Result<(), EvalError> {
        let bad = |what: String| Err(EvalError::Disagree(what));
        if self.rates.is_empty() || self.rates.iter().any(|rate| !(*rate > 0.0 && rate.is_finite())) {
            return bad(format!("learning rates {:?}, expected positive ones", self.rates));
        }
        if self.epochs == 0 || self.batch == 0 {
            return bad(format!("{} epochs of batches of {}", self.epochs, self.batch));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return bad(format!("a momentum of {}, expected 0 to below 1", self.momentum));
        }
        Ok(())
    }
}

/// What came of the choice.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LinearReport {
    /// The rates that were tried.
    pub rates: Vec<f64>,
    /// Top-1 of each on the held-out training rows.
    pub held_out_top1: Vec<f64>,
    /// Rows that were held out.
    pub n_held_out: usize,
    /// The rate that was chosen.
    pub rate: f64,
    /// Steps that were taken.
    pub steps: usize,
}

/// A classifier in training: (d + 1) × classes weights, the last row the bias, and their
/// momenta.
#[derive(Debug, Clone)]
struct Head {
    rate: f64,
    weights: Vec<f32>,
    momenta: Vec<f32>,
    /// Whether it learns from held-out rows as well.
    all: bool,
}

/// Linear classifiers of several learning rates that learn from the same batches, each twice:
/// one from the rows that are not held out, to choose the rate by, and one from all rows, which
/// is the one that counts. Features may be other ones in each epoch, as augmentation makes them.
#[derive(Debug, Clone)]
pub struct LinearSweep {
    config: LinearConfig,
    dim: usize,
    n_classes: usize,
    labels: Vec<usize>,
    held_out: Vec<bool>,
    seed: u64,
    heads: Vec<Head>,
    step: usize,
}

impl LinearSweep {
    /// For training rows of `dim` features with these labels.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be, a label is no class, or all rows or none are held out.
    pub fn new(
        config: LinearConfig,
        dim: usize,
        labels: &[usize],
        held_out: &[bool],
        n_classes: usize,
        seed: u64,
    ) -> Result<Self, EvalError> {
        config.check()?;
        if let Some(label) = labels.iter().find(|l| **l >= n_classes) {
            return Err(EvalError::Disagree(format!("label {label} of {n_classes} classes")));
        }
        if labels.len() != held_out.len() || !held_out.contains(&true) || !held_out.contains(&false) {
            return Err(EvalError::Disagree(format!(
                "{} rows, of which {} of {} are held out",
                labels.len(),
                held_out.iter().filter(|held| **held).count(),
                held_out.len()
            )));
        }
        let head = |rate: f64, all: bool| {
            let weights = vec![0.0; (dim + 1) * n_classes];
            Head { rate, momenta: weights.clone(), weights, all }
        };
        let heads = config.rates.iter().flat_map(|rate| [head(*rate, false), head(*rate, true)]).collect();
        let (labels, held_out) = (labels.into(), held_out.into());
        Ok(Self { config, dim, n_classes, labels, held_out, seed, heads, step: 0 })
    }

    /// Steps in all.
    pub fn total_steps(&self) -> usize {
        self.config.epochs * self.labels.len().div_ceil(self.config.batch)
    }

    /// Training rows in the order of an epoch, batch by batch.
    pub fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let order = shuffled(self.labels.len(), self.seed, epoch as u64);
        order.chunks(self.config.batch).map(<[usize]>::to_vec).collect()
    }

    /// One step of every classifier on the features of these training rows.
    ///
    /// # Errors
    ///
    /// If the features are not of these rows.
    pub fn step(&mut self, rows: &[usize], features: &Features) -> Result<(), EvalError> {
        if features.dim() != self.dim || features.len() != rows.len() {
            return Err(EvalError::Disagree(format!(
                "{} rows of {} features for {} training rows of {}",
                features.len(),
                features.dim(),
                rows.len(),
                self.dim
            )));
        }
        let progress = self.step as f64 / self.total_steps() as f64;
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let scale = fall * self.config.batch as f64 / 256.0;
        let (k, momentum) = (self.n_classes, self.config.momentum as f32);
        let known: Vec<usize> = (0..rows.len()).filter(|i| !self.held_out[rows[*i]]).collect();
        let x_known: Vec<f32> = known.iter().flat_map(|i| features.row(*i)).copied().collect();
        let labels = |of: &mut dyn Iterator<Item = usize>| of.map(|i| self.labels[rows[i]]).collect();
        let labels_known: Vec<usize> = labels(&mut known.iter().copied());
        let labels_all: Vec<usize> = labels(&mut (0..rows.len()));
        self.heads.par_iter_mut().for_each(|head| {
            let (x, labels) =
                if head.all { (features.values(), &labels_all) } else { (&x_known[..], &labels_known) };
            if labels.is_empty() {
                return;
            }
            let gradient = gradient(&head.weights, x, labels, k);
            let lr = (head.rate * scale) as f32;
            for ((w, m), g) in head.weights.iter_mut().zip(&mut head.momenta).zip(&gradient) {
                *m = momentum * *m + g;
                *w -= lr * (g + momentum * *m);
            }
        });
        self.step += 1;
        Ok(())
    }

    /// Chooses the rate (the lower among equals) by what the classifiers that did not learn from
    /// the held-out rows say of them, and gives the classifier of that rate that learned from all.
    /// `held_out` are their features without augmentation, in order.
    ///
    /// # Errors
    ///
    /// If the features are not of the held-out rows.
    pub fn choose(&self, held_out: &Features) -> Result<(LinearProbe, LinearReport), EvalError> {
        let rows = (0..self.labels.len()).filter(|row| self.held_out[*row]);
        let labels: Vec<usize> = rows.map(|row| self.labels[row]).collect();
        held_out.check_labels(&labels, "held-out rows")?;
        let mut top1 = Vec::new();
        for head in self.heads.iter().filter(|head| !head.all) {
            let ranked = self.probe(head).predict(held_out)?;
            let right = ranked.iter().zip(&labels).filter(|(classes, label)| classes[0] == **label).count();
            top1.push(right as f64 / labels.len() as f64);
        }
        let rates = &self.config.rates;
        let better =
            |a: &usize, b: &usize| top1[*a].total_cmp(&top1[*b]).then(rates[*b].total_cmp(&rates[*a]));
        let best = (0..rates.len()).max_by(better).unwrap_or(0); // there is one: `check`
        let report = LinearReport {
            rates: rates.clone(),
            held_out_top1: top1,
            n_held_out: labels.len(),
            rate: rates[best],
            steps: self.step,
        };
        Ok((self.probe(&self.heads[2 * best + 1]), report))
    }

    fn probe(&self, head: &Head) -> LinearProbe {
        LinearProbe { dim: self.dim, n_classes: self.n_classes, weights: head.weights.clone() }
    }
}

/// Of the mean cross-entropy.
fn gradient(weights: &[f32], x: &[f32], labels: &[usize], k: usize) -> Vec<f32> {
    let d = weights.len() / k - 1;
    let (w, bias) = weights.split_at(d * k);
    let mut p = vec![0.0f32; labels.len() * k];
    multiply(&mut p, Accum::Replace, rows_of(x, d), rows_of(w, k));
    let mut gradient = vec![0.0f32; weights.len()];
    let (of_w, of_bias) = gradient.split_at_mut(d * k);
    let n = labels.len() as f32;
    for (row, label) in p.chunks_exact_mut(k).zip(labels) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - most).exp());
        let scale = 1.0 / (n * row.iter().sum::<f32>());
        row.iter_mut().for_each(|x| *x *= scale);
        row[*label] -= 1.0 / n;
        of_bias.iter_mut().zip(&*row).for_each(|(g, x)| *g += x);
    }
    multiply(of_w, Accum::Replace, rows_of(x, d).transpose(), rows_of(&p, k));
    gradient
}

/// A linear classifier.
#[derive(Debug, Clone)]
pub struct LinearProbe {
    dim: usize,
    n_classes: usize,
    weights: Vec<f32>,
}

impl LinearProbe {
    /// Classes of the rows, most probable first.
    ///
    /// # Errors
    ///
    /// If the rows have another length than those it learned from.
    pub fn predict(&self, features: &Features) -> Result<Ranked, EvalError> {
        let (d, k) = (self.dim, self.n_classes);
        if features.dim() != d {
            return Err(EvalError::Disagree(format!(
                "fitted on {d} features a row, asked about {}",
                features.dim()
            )));
        }
        let parts = map_blocks(features.len(), |range| {
            let logits = self.logits(&features.values()[range.start * d..range.end * d]);
            let of_row = |row: &[f32]| ranked(&row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            logits.chunks_exact(k).map(of_row).collect::<Vec<_>>()
        });
        Ok(parts.into_iter().flatten().collect())
    }

    /// Of some rows, before the softmax.
    fn logits(&self, rows: &[f32]) -> Vec<f32> {
        let (d, k) = (self.dim, self.n_classes);
        let (w, bias) = self.weights.split_at(d * k);
        let mut logits = vec![0.0; rows.len() / d * k];
        multiply(&mut logits, Accum::Replace, rows_of(rows, d), rows_of(w, k));
        for row in logits.chunks_exact_mut(k) {
            row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
        logits
    }
}

/// The paper's protocol on features that are the same in every epoch; those of the rows where
/// `held_out` is true choose the rate. No test row has a part in it.
///
/// # Errors
///
/// If rows, labels and configuration do not belong together.
pub fn linear_probe(
    train: &Features,
    labels: &[usize],
    held_out: &[bool],
    n_classes: usize,
    config: LinearConfig,
    seed: u64,
) -> Result<(LinearProbe, LinearReport), EvalError> {
    train.check_labels(labels, "train")?;
    let epochs = config.epochs;
    let mut sweep = LinearSweep::new(config, train.dim(), labels, held_out, n_classes, seed)?;
    for epoch in 0..epochs {
        for rows in sweep.batches(epoch) {
            sweep.step(&rows, &train.pick(&rows)?)?;
        }
    }
    sweep.choose(&train.select(|row| held_out[row])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::every_nth;
    use serde_json::Value;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    #[test]
    fn whole_batches_are_pytorchs() {
        let cases: Value =
            serde_json::from_str(include_str!("../../../tests/golden/eval/probes.json")).unwrap();
        let golden: Value =
            serde_json::from_str(include_str!("../../../tests/golden/eval/linear.json")).unwrap();
        let labels: Vec<usize> = numbers(&cases[0]["y"]).iter().map(|y| *y as usize).collect();
        let rows = cases[0]["grid"].as_array().unwrap().iter().flat_map(numbers);
        let x = Features::new(8, rows.map(|x| x as f32 / 64.0).collect()).unwrap();
        let epochs = golden["epochs"].as_u64().unwrap() as usize;
        let config = LinearConfig { rates: vec![0.4, 0.05], epochs, batch: labels.len(), momentum: 0.9 };
        let held_out = every_nth(labels.len(), 10);
        let mut sweep = LinearSweep::new(config, 8, &labels, &held_out, 4, 0).unwrap();
        for epoch in 0..epochs {
            for rows in sweep.batches(epoch) {
                sweep.step(&rows, &x.pick(&rows).unwrap()).unwrap();
            }
        }
        let runs = golden["runs"].as_array().unwrap();
        assert_eq!(runs.len(), sweep.heads.len());
        for (run, head) in runs.iter().zip(&sweep.heads) {
            assert_eq!((run["rate"].as_f64(), run["all"].as_bool()), (Some(head.rate), Some(head.all)));
            let logits = sweep.probe(head).logits(&x.values()[..20 * 8]);
            for (ours, theirs) in logits.iter().zip(numbers(&run["logits"])) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-5 * theirs.abs().max(1.0), "{ours}, {theirs}");
            }
        }
    }

    #[test]
    fn an_epoch_has_every_row_once_and_seeds_differ() {
        let labels: Vec<usize> = (0..100).map(|i| i % 2).collect();
        let config = LinearConfig { batch: 32, ..LinearConfig::paper() };
        let sweep =
            |seed| LinearSweep::new(config.clone(), 3, &labels, &every_nth(100, 10), 2, seed).unwrap();
        let batches = sweep(0).batches(3);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
        let mut rows = batches.concat();
        assert_ne!(rows, sweep(0).batches(4).concat());
        assert_ne!(rows, sweep(1).batches(3).concat());
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..100));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let labels = [0, 1, 0, 1];
        let new = |config, held: &[bool], classes| LinearSweep::new(config, 2, &labels, held, classes, 0);
        let held = [false, false, true, true];
        let paper = LinearConfig::paper;
        assert!(new(paper(), &held, 2).is_ok());
        assert!(new(paper(), &held, 1).is_err());
        assert!(new(paper(), &[false; 4], 2).is_err());
        assert!(new(paper(), &held[1..], 2).is_err());
        assert!(new(LinearConfig { rates: vec![], ..paper() }, &held, 2).is_err());
        assert!(new(LinearConfig { rates: vec![f64::NAN], ..paper() }, &held, 2).is_err());
        assert!(new(LinearConfig { batch: 0, ..paper() }, &held, 2).is_err());
        let mut sweep = new(paper(), &held, 2).unwrap();
        assert!(sweep.step(&[0, 1], &Features::new(2, vec![0.0; 2]).unwrap()).is_err());
        assert!(sweep.choose(&Features::new(2, vec![0.0; 2]).unwrap()).is_err());
    }
}
