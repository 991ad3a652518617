//! What is minimised.

use faer::Accum;

use super::design::Design;
use crate::product::{blocks, map_parts, multiply, rows_of, total};

/// Logistic regression on the first rows of a design, as many as there are labels.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub design: &'a Design,
    pub labels: &'a [usize],
    pub n_classes: usize,
    pub penalty: f64,
}

/// The objective at a point. Points are W (rank × classes, row by row) and then b.
#[derive(Debug)]
pub(super) struct Value {
    pub objective: f64,
    pub gradient: Vec<f64>,
    /// Diagonal of the Hessian, if it was asked for.
    pub curvature: Vec<f64>,
}

impl Problem<'_> {
    /// Numbers in a point.
    pub(super) fn len(&self) -> usize {
        (self.design.rank + 1) * self.n_classes
    }

    /// The same bits for any number of threads.
    pub(super) fn evaluate(&self, at: &[f64], with_curvature: bool) -> Value {
        let parts = map_parts(self.labels.len(), |part| self.of_part(part, at, with_curvature));
        let n = self.labels.len() as f64;
        let mut objective = 0.0;
        let (mut gradients, mut curvatures) = (Vec::new(), Vec::new());
        for part in parts {
            objective += part.objective;
            gradients.push(part.gradient);
            curvatures.push(part.curvature);
        }
        objective /= n;
        let mean = |parts: Vec<Vec<f64>>, len: usize| -> Vec<f64> {
            total(parts, len).into_iter().map(|x| x / n).collect()
        };
        let mut gradient = mean(gradients, self.len());
        let mut curvature = mean(curvatures, if with_curvature { self.len() } else { 0 });
        let penalised = self.design.rank * self.n_classes;
        for (g, w) in gradient.iter_mut().zip(&at[..penalised]) {
            objective += 0.5 * self.penalty * w * w;
            *g += self.penalty * w;
        }
        curvature.iter_mut().take(penalised).for_each(|h| *h += self.penalty);
        Value { objective, gradient, curvature }
    }

    fn of_part(&self, part: std::ops::Range<usize>, at: &[f64], with_curvature: bool) -> Value {
        let (r, k) = (self.design.rank, self.n_classes);
        let (w, bias) = at.split_at(r * k);
        let mut objective = 0.0;
        let mut gradient = vec![0.0; self.len()];
        let mut curvature = vec![0.0; if with_curvature { self.len() } else { 0 }];
        let (mut probabilities, mut squares) = (Vec::new(), Vec::new());
        for block in blocks(part) {
            let values = &self.design.rows[block.start * r..block.end * r];
            let labels = &self.labels[block];
            let z = rows_of(values, r);
            probabilities.resize(labels.len() * k, 0.0);
            multiply(&mut probabilities, Accum::Replace, z, rows_of(w, k));
            for (row, &label) in probabilities.chunks_exact_mut(k).zip(labels) {
                objective += softmax(row, bias, label);
            }
            if with_curvature {
                let (of_w, of_bias) = curvature.split_at_mut(r * k);
                let variances: Vec<f64> = probabilities.iter().map(|p| p * (1.0 - p)).collect();
                squares.clear();
                squares.extend(values.iter().map(|x| x * x));
                multiply(of_w, Accum::Add, rows_of(&squares, r).transpose(), rows_of(&variances, k));
                for row in variances.chunks_exact(k) {
                    of_bias.iter_mut().zip(row).for_each(|(h, v)| *h += v);
                }
            }
            let (of_w, of_bias) = gradient.split_at_mut(r * k);
            for (row, &label) in probabilities.chunks_exact_mut(k).zip(labels) {
                row[label] -= 1.0;
                of_bias.iter_mut().zip(&*row).for_each(|(g, x)| *g += x);
            }
            multiply(of_w, Accum::Add, z.transpose(), rows_of(&probabilities, k));
        }
        Value { objective, gradient, curvature }
    }
}

/// Logits (still without their bias) become probabilities; −log of the label's.
fn softmax(row: &mut [f64], bias: &[f64], label: usize) -> f64 {
    row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = row[label] - most;
    row.iter_mut().for_each(|x| *x = (*x - most).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
    sum.ln() - own
}
