//! Features in the form in which fits are fast.

use faer::{Accum, Mat, MatRef, Scale, Side};
use rayon::prelude::*;

use super::Probe;
use super::minimize::Fitted;
use crate::Features;
use crate::product::{BLOCK, blocks, leave_vectors, map_parts, multiply, rows_of};

/// Rows that are centred and turned to the axes of their covariance, so that the Hessian of a
/// fit is near to diagonal. Of more features than rows only the directions that the rows span
/// are left: the optimum has no others.
#[derive(Debug)]
pub(super) struct Design {
    /// Features in a row here.
    pub rank: usize,
    /// n × rank, row by row.
    pub rows: Vec<f64>,
    mean: Vec<f64>,
    /// d × rank with orthonormal columns: a row is (x − mean) · basis.
    basis: Mat<f64>,
}

impl Design {
    pub(super) fn new(features: &Features) -> Self {
        let (n, d) = (features.len(), features.dim());
        let mean = features.mean();
        let mut rows = vec![0.0; n * d];
        rows.par_chunks_exact_mut(d).zip(features.values().par_chunks_exact(d)).for_each(|(row, x)| {
            row.iter_mut().zip(x).zip(&mean).for_each(|((row, x), mean)| *row = f64::from(*x) - mean);
        });
        let mut span = None;
        if d > n {
            let q = rows_of(&rows, d).transpose().qr().compute_thin_Q();
            rows = turned(&rows, d, q.as_ref());
            span = Some(q);
        }
        let rank = d.min(n);
        let covariance = covariance(&rows, rank);
        // Without axes fits are slower, and no less right.
        let axes = covariance.self_adjoint_eigen(Side::Lower).map(|eigen| eigen.U().to_owned());
        let axes = axes.unwrap_or_else(|_| Mat::identity(rank, rank));
        rows = turned(&rows, rank, axes.as_ref());
        let basis = match span {
            Some(span) => span * axes,
            None => axes,
        };
        leave_vectors();
        Self { rank, rows, mean, basis }
    }

    /// A fit here as one on the features as they were.
    pub(super) fn probe(&self, fitted: &Fitted, n_classes: usize) -> Probe {
        let (d, k) = (self.mean.len(), n_classes);
        let (turned, bias) = fitted.at.split_at(self.rank * k);
        let mut weights = vec![0.0; d * k];
        multiply(&mut weights, Accum::Replace, self.basis.as_ref(), rows_of(turned, k));
        let mut bias = bias.to_vec();
        for (row, mean) in weights.chunks_exact(k).zip(&self.mean) {
            bias.iter_mut().zip(row).for_each(|(b, w)| *b -= mean * w);
        }
        let Fitted { objective, iterations, excess, .. } = *fitted;
        Probe { n_classes, weights, bias, objective, iterations, excess }
    }
}

fn covariance(rows: &[f64], d: usize) -> Mat<f64> {
    let n = rows.len() / d;
    let parts = map_parts(n, |part| {
        let mut gram = vec![0.0; d * d];
        for block in blocks(part) {
            let x = rows_of(&rows[block.start * d..block.end * d], d);
            multiply(&mut gram, Accum::Add, x.transpose(), x);
        }
        gram
    });
    let gram = crate::product::total(parts, d * d);
    rows_of(&gram, d) * Scale(1.0 / n as f64)
}

/// Rows times a matrix.
fn turned(rows: &[f64], d: usize, by: MatRef<'_, f64>) -> Vec<f64> {
    let r = by.ncols();
    let mut turned = vec![0.0; rows.len() / d * r];
    turned
        .par_chunks_mut(BLOCK * r)
        .zip(rows.par_chunks(BLOCK * d))
        .for_each(|(turned, rows)| multiply(turned, Accum::Replace, rows_of(rows, d), by));
    turned
}
