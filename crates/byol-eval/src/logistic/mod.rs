//! Multinomial logistic regression, fitted to its optimum.

mod design;
mod minimize;
mod problem;
mod sweep;

use design::Design;
use faer::Accum;
use minimize::minimize;
use problem::Problem;

use crate::product::{map_blocks, multiply, rows_of};
use crate::score::ranked;
use crate::{EvalError, Features, Ranked};

pub use sweep::{ChosenProbe, ProbeReport, logistic_probe, penalties};

/// Softmax over Wᵀ x + b that minimises
///
/// mean over rows of −log p(label) + penalty / 2 · ‖W‖²   (b is free)
///
/// In scikit-learn's terms C = 1 / (rows · penalty): its penalty is on the sum over rows.
#[derive(Debug, Clone)]
pub struct Probe {
    n_classes: usize,
    /// W, d × classes, row by row.
    weights: Vec<f64>,
    bias: Vec<f64>,
    /// The minimum.
    pub objective: f64,
    /// Steps of the optimiser.
    pub iterations: usize,
    /// What the objective may still be above its minimum, as the optimiser estimates it.
    pub excess: f64,
}

/// Share of the objective that a fit may be off, as estimated: far below what any prediction
/// shows.
const TOLERANCE: f64 = 1e-11;
/// The same while penalties are compared.
const CHOICE_TOLERANCE: f64 = 1e-7;

impl Probe {
    /// Fits to the optimum.
    ///
    /// # Errors
    ///
    /// If rows and labels do not belong together, or the penalty is not positive.
    pub fn fit(
        train: &Features,
        labels: &[usize],
        n_classes: usize,
        penalty: f64,
    ) -> Result<Self, EvalError> {
        Ok(Self::path(train, labels, n_classes, &[penalty], TOLERANCE)?.remove(0))
    }

    /// Fits for several penalties, each from the one before (from strong to weak is fastest), to
    /// within about `tolerance` of the objective.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn path(
        train: &Features,
        labels: &[usize],
        n_classes: usize,
        penalties: &[f64],
        tolerance: f64,
    ) -> Result<Vec<Self>, EvalError> {
        train.check_labels(labels, "train")?;
        check(labels, n_classes, penalties)?;
        let design = Design::new(train);
        let mut last = None;
        let fit = |&penalty: &f64| {
            let problem = Problem { design: &design, labels, n_classes, penalty };
            let fitted = minimize(&problem, last.take(), tolerance);
            last = Some(fitted.at.clone());
            design.probe(&fitted, n_classes)
        };
        Ok(penalties.iter().map(fit).collect())
    }

    /// Classes of the rows, most probable first.
    ///
    /// # Errors
    ///
    /// If the rows have another length than those of the fit.
    pub fn predict(&self, test: &Features) -> Result<Ranked, EvalError> {
        self.check_dim(test)?;
        Ok(self.each_row(test, |_, logits| ranked(logits)))
    }

    /// Mean cross-entropy of rows of these labels.
    fn loss(&self, rows: &Features, labels: &[usize]) -> f64 {
        let of_row = |row: usize, logits: &[f64]| {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            most + logits.iter().map(|x| (x - most).exp()).sum::<f64>().ln() - logits[labels[row]]
        };
        self.each_row(rows, of_row).iter().sum::<f64>() / labels.len().max(1) as f64
    }

    /// What `of` makes of each row's number and logits.
    fn each_row<T: Send>(&self, test: &Features, of: impl Fn(usize, &[f64]) -> T + Sync) -> Vec<T> {
        let (d, k) = (test.dim(), self.n_classes);
        let parts = map_blocks(test.len(), |range| {
            let x: Vec<f64> =
                test.values()[range.start * d..range.end * d].iter().map(|x| f64::from(*x)).collect();
            let mut logits = vec![0.0; range.len() * k];
            multiply(&mut logits, Accum::Replace, rows_of(&x, d), rows_of(&self.weights, k));
            let of_row = |(row, logits): (usize, &mut [f64])| {
                logits.iter_mut().zip(&self.bias).for_each(|(x, b)| *x += b);
                of(row, logits)
            };
            range.zip(logits.chunks_exact_mut(k)).map(of_row).collect::<Vec<_>>()
        });
        parts.into_iter().flatten().collect()
    }

    fn check_dim(&self, test: &Features) -> Result<(), EvalError> {
        let d = self.weights.len() / self.n_classes;
        if test.dim() == d {
            return Ok(());
        }
        Err(EvalError::Disagree(format!("fitted on {d} features a row, asked about {}", test.dim())))
    }
}

fn check(labels: &[usize], n_classes: usize, penalties: &[f64]) -> Result<(), EvalError> {
    if let Some(label) = labels.iter().find(|l| **l >= n_classes) {
        return Err(EvalError::Disagree(format!("label {label} of {n_classes} classes")));
    }
    match penalties.iter().find(|penalty| !(**penalty > 0.0 && penalty.is_finite())) {
        Some(penalty) => Err(EvalError::Disagree(format!("a penalty of {penalty}, expected a positive one"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
