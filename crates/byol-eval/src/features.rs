use crate::EvalError;
use crate::product::{map_parts, total};

/// n rows of d features each.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    dim: usize,
    values: Vec<f32>,
}

impl Features {
    /// Rows of length `dim`, one after the other.
    ///
    /// # Errors
    ///
    /// If the values do not fill whole rows, or one is not finite.
    pub fn new(dim: usize, values: Vec<f32>) -> Result<Self, EvalError> {
        if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
            return Err(EvalError::Shape { dim, values: values.len() });
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(EvalError::NotFinite { row: at / dim });
        }
        Ok(Self { dim, values })
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Never true: features have at least one row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Row `i`.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Mean of each feature.
    pub fn mean(&self) -> Vec<f64> {
        let parts = map_parts(self.len(), |part| {
            let mut sum = vec![0.0; self.dim];
            for row in self.values[part.start * self.dim..part.end * self.dim].chunks_exact(self.dim) {
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            sum
        });
        total(parts, self.dim).into_iter().map(|sum| sum / self.len() as f64).collect()
    }

    /// The rows of these numbers, in that order.
    ///
    /// # Errors
    ///
    /// If there are none.
    ///
    /// # Panics
    ///
    /// If a number is not that of a row.
    pub fn pick(&self, rows: &[usize]) -> Result<Self, EvalError> {
        Self::new(self.dim, rows.iter().flat_map(|&i| self.row(i)).copied().collect())
    }

    /// The rows whose number `keep` accepts.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> Result<Self, EvalError> {
        let rows = self.rows().enumerate().filter(|(i, _)| keep(*i));
        Self::new(self.dim, rows.flat_map(|(_, row)| row.iter().copied()).collect())
    }

    /// Whether rows of `test` are as long.
    pub(crate) fn check_dim(&self, test: &Self) -> Result<(), EvalError> {
        if self.dim != test.dim {
            let (train, test) = (self.dim, test.dim);
            return Err(EvalError::Disagree(format!("train has {train} features a row, test {test}")));
        }
        Ok(())
    }

    pub(crate) fn check_labels(&self, labels: &[usize], what: &str) -> Result<(), EvalError> {
        if self.len() != labels.len() {
            return Err(EvalError::Disagree(format!(
                "{what}: {} rows of features, but {} labels",
                self.len(),
                labels.len()
            )));
        }
        Ok(())
    }
}

/// Shift and scale of each feature to mean 0 and variance 1, from training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardize {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardize {
    /// From the rows of `train`. A constant feature is only shifted.
    pub fn fit(train: &Features) -> Self {
        let n = train.len() as f64;
        let mean = train.mean();
        let mut variance = vec![0.0; train.dim];
        for row in train.rows() {
            for ((v, m), &x) in variance.iter_mut().zip(&mean).zip(row) {
                *v += (f64::from(x) - m).powi(2) / n;
            }
        }
        // What is left of a constant is the rounding of its mean.
        let varies = |v: f64, m: f64| v > 0.0 && v.sqrt() > 1e-7 * m.abs();
        let scale = |(&v, &m): (&f64, &f64)| if varies(v, m) { v.sqrt().recip() } else { 1.0 };
        let scale = variance.iter().zip(&mean).map(scale).collect();
        Self { mean, scale }
    }

    /// The rows, shifted and scaled.
    pub fn apply(&self, features: &Features) -> Features {
        let values = features
            .rows()
            .flat_map(|row| {
                row.iter()
                    .zip(self.mean.iter().zip(&self.scale))
                    .map(|(&x, (m, s))| ((f64::from(x) - m) * s) as f32)
            })
            .collect();
        Features { dim: features.dim, values }
    }
}
