//! Multinomial logistic regression, fitted to its optimum.

use nalgebra::{Cholesky, DMatrix, Dyn};

use crate::knn::ranked;
use crate::matrix::{Block, map_blocks};
use crate::{EvalError, Features, Ranked, Standardize};

/// Softmax over W x + b that minimises
///
/// mean over rows of −log p(label) + penalty / 2 · ‖W‖²   (b is free)
///
/// In scikit-learn's terms C = 1 / (rows · penalty).
#[derive(Debug, Clone)]
pub struct Probe {
    /// (d + 1) × classes, the last row b.
    weights: DMatrix<f64>,
    /// The minimum.
    pub objective: f64,
    /// Steps of the optimiser.
    pub iterations: usize,
    /// Largest entry of the gradient at the end.
    pub gradient: f64,
}

/// Pairs of steps that L-BFGS remembers.
const HISTORY: usize = 20;
const MAX_ITERATIONS: usize = 1000;
/// The gradient's largest entry at which a fit is done.
const TOLERANCE: f64 = 1e-7;
/// The same while penalties are compared, where the last digits decide nothing.
const CHOICE_TOLERANCE: f64 = 1e-5;

struct Problem<'a> {
    blocks: Vec<Block>,
    labels: &'a [usize],
    n_classes: usize,
    penalty: f64,
}

impl Problem<'_> {
    fn n(&self) -> f64 {
        self.labels.len() as f64
    }

    fn dim(&self) -> usize {
        self.blocks[0].rows.ncols()
    }

    /// Objective and gradient. The same bits for any number of threads.
    fn evaluate(&self, weights: &DMatrix<f64>) -> (f64, DMatrix<f64>) {
        let parts = map_blocks(self.labels.len(), |range| {
            let block = &self.blocks[range.start / crate::matrix::BLOCK];
            let mut p = &block.rows * weights;
            let mut loss = 0.0;
            for (i, &label) in self.labels[range].iter().enumerate() {
                let mut row = p.row_mut(i);
                let max = row.max();
                row.iter_mut().for_each(|x| *x = (*x - max).exp());
                let total = row.sum();
                loss -= (row[label] / total).max(f64::MIN_POSITIVE).ln();
                row /= total;
                row[label] -= 1.0;
            }
            (loss, &block.transposed * p)
        });
        let mut objective = 0.0;
        let mut gradient = DMatrix::zeros(weights.nrows(), weights.ncols());
        for (loss, part) in parts {
            objective += loss;
            gradient += part;
        }
        objective /= self.n();
        gradient /= self.n();
        let last = weights.nrows() - 1;
        let penalised = weights.rows(0, last);
        objective += 0.5 * self.penalty * penalised.norm_squared();
        let mut rows = gradient.rows_mut(0, last);
        rows += penalised * self.penalty;
        (objective, gradient)
    }

    /// A quarter of XᵀX / n plus the penalty: the shape of the Hessian, against
    /// which L-BFGS converges in tens of steps however the features are scaled.
    fn preconditioner(&self) -> Option<Cholesky<f64, Dyn>> {
        let grams = map_blocks(self.labels.len(), |range| {
            let block = &self.blocks[range.start / crate::matrix::BLOCK];
            &block.transposed * &block.rows
        });
        let mut matrix = DMatrix::zeros(self.dim(), self.dim());
        for gram in grams {
            matrix += gram;
        }
        matrix *= 0.25 / self.n();
        let floor = 1e-9 * matrix.diagonal().max().max(1e-9);
        for i in 0..self.dim() {
            matrix[(i, i)] += floor + if i + 1 < self.dim() { self.penalty } else { 0.0 };
        }
        matrix.cholesky()
    }
}

impl Probe {
    /// Fits to the optimum, from 0 or from another fit.
    ///
    /// # Errors
    ///
    /// If rows and labels do not belong together.
    pub fn fit(
        train: &Features,
        labels: &[usize],
        n_classes: usize,
        penalty: f64,
        start: Option<&Probe>,
    ) -> Result<Self, EvalError> {
        Self::fit_within(train, labels, n_classes, penalty, start, TOLERANCE)
    }

    fn fit_within(
        train: &Features,
        labels: &[usize],
        n_classes: usize,
        penalty: f64,
        start: Option<&Probe>,
        tolerance: f64,
    ) -> Result<Self, EvalError> {
        train.check_labels(labels, "train")?;
        if labels.iter().any(|l| *l >= n_classes) {
            return Err(EvalError::Disagree(format!("labels reach beyond {n_classes} classes")));
        }
        if penalty.is_nan() || penalty <= 0.0 {
            return Err(EvalError::Disagree(format!("a penalty of {penalty}, expected a positive one")));
        }
        let problem = Problem { blocks: blocks(train), labels, n_classes, penalty };
        Ok(minimise(&problem, start.map(|probe| probe.weights.clone()), tolerance))
    }

    /// Classes of the rows, most probable first.
    ///
    /// # Errors
    ///
    /// If the rows have another length than those of the fit.
    pub fn predict(&self, test: &Features) -> Result<Ranked, EvalError> {
        if test.dim() + 1 != self.weights.nrows() {
            return Err(EvalError::Disagree(format!(
                "fitted on {} features a row, asked about {}",
                self.weights.nrows() - 1,
                test.dim()
            )));
        }
        let parts = map_blocks(test.len(), |range| {
            let logits = with_ones(test, range) * &self.weights;
            logits.row_iter().map(|row| ranked(&row.iter().copied().collect::<Vec<_>>())).collect::<Vec<_>>()
        });
        Ok(parts.into_iter().flatten().collect())
    }
}

fn with_ones(features: &Features, range: std::ops::Range<usize>) -> DMatrix<f64> {
    let n = range.len();
    let values = features
        .rows()
        .skip(range.start)
        .take(n)
        .flat_map(|row| row.iter().map(|&x| f64::from(x)).chain([1.0]));
    DMatrix::from_row_iterator(n, features.dim() + 1, values)
}

fn blocks(features: &Features) -> Vec<Block> {
    map_blocks(features.len(), |range| {
        let rows = with_ones(features, range);
        Block { transposed: rows.transpose(), rows }
    })
}

/// L-BFGS (Nocedal and Wright, Algorithm 7.4) with the preconditioner as its first
/// Hessian and backtracking; the objective is convex.
fn minimise(problem: &Problem<'_>, start: Option<DMatrix<f64>>, tolerance: f64) -> Probe {
    let shape = (problem.dim(), problem.n_classes);
    let mut w = start.filter(|w| w.shape() == shape).unwrap_or_else(|| DMatrix::zeros(shape.0, shape.1));
    let factor = problem.preconditioner();
    let precondition = |g: &DMatrix<f64>| factor.as_ref().map_or_else(|| g.clone(), |f| f.solve(g));
    let (mut objective, mut gradient) = problem.evaluate(&w);
    let mut pairs: std::collections::VecDeque<(DMatrix<f64>, DMatrix<f64>, f64)> = Default::default();
    let mut iterations = 0;
    while gradient.amax() > tolerance && iterations < MAX_ITERATIONS {
        iterations += 1;
        let mut q = gradient.clone();
        let mut alphas = Vec::with_capacity(pairs.len());
        for (s, y, rho) in pairs.iter().rev() {
            let alpha = rho * s.dot(&q);
            q -= y * alpha;
            alphas.push(alpha);
        }
        let mut direction = precondition(&q);
        if let Some((s, y, _)) = pairs.back() {
            let scale = s.dot(y) / y.dot(&precondition(y));
            direction *= scale;
        }
        for ((s, y, rho), alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * y.dot(&direction);
            direction += s * (alpha - beta);
        }
        let slope = -gradient.dot(&direction);
        if slope.is_nan() || slope >= 0.0 {
            if pairs.is_empty() {
                break; // at the precision of the numbers
            }
            pairs.clear();
            continue;
        }
        let Some((step, next_objective, next_gradient)) =
            backtrack(problem, &w, &direction, objective, slope)
        else {
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let s = -&direction * step;
        let y = &next_gradient - &gradient;
        let curvature = s.dot(&y);
        w += &s;
        (objective, gradient) = (next_objective, next_gradient);
        if curvature > 1e-16 * y.norm_squared() {
            pairs.push_back((s, y, 1.0 / curvature));
            if pairs.len() > HISTORY {
                pairs.pop_front();
            }
        }
    }
    Probe { weights: w, objective, iterations, gradient: gradient.amax() }
}

/// The longest of 1, ½, ¼ … that lowers the objective enough (Armijo).
fn backtrack(
    problem: &Problem<'_>,
    w: &DMatrix<f64>,
    direction: &DMatrix<f64>,
    objective: f64,
    slope: f64,
) -> Option<(f64, f64, DMatrix<f64>)> {
    let mut step = 1.0;
    for _ in 0..40 {
        let (next, gradient) = problem.evaluate(&(w - direction * step));
        if next <= objective + 1e-4 * step * slope {
            return Some((step, next, gradient));
        }
        step *= 0.5;
    }
    None
}

/// How a probe was made.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ProbeReport {
    /// The penalties that were tried, from strong to weak.
    pub penalties: Vec<f64>,
    /// Top-1 of each on the held-out training rows.
    pub held_out_top1: Vec<f64>,
    /// Rows that were held out.
    pub n_held_out: usize,
    /// The penalty that was chosen; all training rows were then used with it.
    pub penalty: f64,
    /// Largest entry of the gradient of the final fit, which ends at 1e-7 or at the
    /// precision of the numbers.
    pub gradient: f64,
}

/// Every how many rows one is held out for choosing the penalty.
const HELD_OUT: usize = 10;

/// The linear protocol: features are standardised by the training rows; of the
/// penalties 1 to 1e-6, half a decade apart, the best on every tenth training row
/// is chosen (the stronger among equals); the probe is fitted again on all training
/// rows; the test rows are predicted once.
///
/// # Errors
///
/// If rows and labels do not belong together, or there are fewer than 20 rows.
pub fn logistic_probe(
    train: &Features,
    labels: &[usize],
    test: &Features,
    n_classes: usize,
) -> Result<(Ranked, ProbeReport), EvalError> {
    train.check_labels(labels, "train")?;
    if train.dim() != test.dim() {
        return Err(EvalError::Disagree(format!(
            "train has {} features a row, test {}",
            train.dim(),
            test.dim()
        )));
    }
    if train.len() < 2 * HELD_OUT {
        return Err(EvalError::Disagree(format!(
            "{} labelled training rows; choosing a penalty needs at least {}",
            train.len(),
            2 * HELD_OUT
        )));
    }
    let standardize = Standardize::fit(train);
    let train = standardize.apply(train);
    let is_held_out = |i: usize| i % HELD_OUT == HELD_OUT - 1;
    let pick = |held_out: bool| labels.iter().enumerate().filter(move |(i, _)| is_held_out(*i) == held_out);
    let labels_of = |held_out| pick(held_out).map(|(_, l)| *l).collect::<Vec<_>>();
    let (fit_labels, choice_labels) = (labels_of(false), labels_of(true));
    let fit_rows = train.select(|i| !is_held_out(i))?;
    let choice_rows = train.select(is_held_out)?;

    let penalties: Vec<f64> = (0..=12).map(|i| 10f64.powf(-f64::from(i) / 2.0)).collect();
    let mut held_out_top1 = Vec::new();
    let mut best: Option<(f64, f64, Probe)> = None;
    let mut last: Option<Probe> = None;
    for &penalty in &penalties {
        let probe =
            Probe::fit_within(&fit_rows, &fit_labels, n_classes, penalty, last.as_ref(), CHOICE_TOLERANCE)?;
        let predicted = probe.predict(&choice_rows)?;
        let hits =
            predicted.iter().zip(&choice_labels).filter(|(classes, label)| classes[0] == **label).count();
        let top1 = hits as f64 / choice_labels.len() as f64;
        held_out_top1.push(top1);
        if best.as_ref().is_none_or(|(_, best, _)| top1 > *best) {
            best = Some((penalty, top1, probe.clone()));
        }
        last = Some(probe);
    }
    let (penalty, _, start) = best.ok_or_else(|| EvalError::Disagree("no penalty to choose from".into()))?;
    let probe = Probe::fit(&train, labels, n_classes, penalty, Some(&start))?;
    let ranked = probe.predict(&standardize.apply(test))?;
    let report = ProbeReport {
        penalties,
        held_out_top1,
        n_held_out: choice_labels.len(),
        penalty,
        gradient: probe.gradient,
    };
    Ok((ranked, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_optimum_is_scikit_learns() {
        let text = include_str!("../../../tests/golden/eval/expected.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        let golden = &golden["logistic"];
        let rows = golden["x"].as_array().unwrap();
        let values = rows.iter().flat_map(|r| r.as_array().unwrap()).map(|x| x.as_f64().unwrap() as f32);
        let x = Features::new(rows[0].as_array().unwrap().len(), values.collect()).unwrap();
        let integers = |value: &Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
        };
        let y = integers(&golden["y"]);
        let solutions = golden["solutions"].as_array().unwrap();
        assert_eq!(solutions.len(), 3);
        for case in solutions {
            let penalty = case["lambda"].as_f64().unwrap();
            let n_classes = golden["classes"].as_u64().unwrap() as usize;
            let probe = Probe::fit(&x, &y, n_classes, penalty, None).unwrap();
            let expected = case["objective"].as_f64().unwrap();
            assert!(
                (probe.objective - expected).abs() < 1e-6 * expected,
                "penalty {penalty}: {} against {expected}",
                probe.objective
            );
            let predicted: Vec<usize> = probe.predict(&x).unwrap().iter().map(|c| c[0]).collect();
            assert_eq!(predicted, integers(&case["predicted"]));
        }
    }

    #[test]
    fn the_penalty_is_chosen_without_the_test_rows() {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let labels: Vec<usize> = (0..200).map(|i| i % 3).collect();
        let rows = labels.iter().flat_map(|&l| [l as f32 + noise(), noise(), noise()]).collect();
        let train = Features::new(3, rows).unwrap();
        let tests = [vec![0.0, 0.0, 0.0], vec![2.0, 9.0, -4.0, 1.0, 1.0, 1.0]];
        let reports =
            tests.map(|t| logistic_probe(&train, &labels, &Features::new(3, t).unwrap(), 3).unwrap().1);
        assert_eq!(reports[0], reports[1]);
        assert!(reports[0].gradient <= TOLERANCE);
    }
}
