//! The minimum of a convex function.

use std::collections::VecDeque;

use super::problem::{Problem, Value};

/// A minimum.
#[derive(Debug)]
pub(super) struct Fitted {
    pub at: Vec<f64>,
    pub objective: f64,
    pub iterations: usize,
    /// What is still to be gained, as estimated.
    pub excess: f64,
}

/// Pairs of steps that are remembered.
const HISTORY: usize = 20;
const MAX_ITERATIONS: usize = 1000;
/// Steps after which the diagonal is taken anew.
const REFRESH: usize = 15;
/// Of Armijo's rule.
const DECREASE: f64 = 1e-4;

/// L-BFGS (Nocedal and Wright, Algorithm 7.4) over the inverse of the Hessian's diagonal, from
/// 0 or from another minimum, until what is to be gained is `tolerance` of the objective or
/// numbers end.
pub(super) fn minimize(problem: &Problem<'_>, start: Option<Vec<f64>>, tolerance: f64) -> Fitted {
    let mut at = start.unwrap_or_else(|| vec![0.0; problem.len()]);
    let Value { mut objective, mut gradient, curvature } = problem.evaluate(&at, true);
    let mut diagonal = inverse(&curvature);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut iterations = 0;
    loop {
        let direction = direction(&gradient, &diagonal, &pairs);
        let slope = dot(&gradient, &direction);
        let excess = 0.5 * slope;
        let done = slope.is_nan() || excess <= tolerance * objective || iterations == MAX_ITERATIONS;
        let refresh = iterations % REFRESH == REFRESH - 1;
        let next = if done { None } else { search(problem, &at, &direction, objective, slope, refresh) };
        let Some((there, value)) = next else {
            if done || pairs.is_empty() {
                return Fitted { at, objective, iterations, excess };
            }
            pairs.clear(); // the precision of what they say is at its end
            continue;
        };
        iterations += 1;
        let step: Vec<f64> = there.iter().zip(&at).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = value.gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-16 * dot(&change, &change) {
            pairs.push_back(Pair { step, change, curvature });
            if pairs.len() > HISTORY {
                pairs.pop_front();
            }
        }
        if refresh && !value.curvature.is_empty() {
            diagonal = inverse(&value.curvature);
        }
        (at, objective, gradient) = (there, value.objective, value.gradient);
    }
}

/// A step, what it did to the gradient, and their product.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Sums side by side, which a compiler may not choose by itself.
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_rows, b_rows) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_rows.remainder().iter().zip(b_rows.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_rows.zip(b_rows) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// One by each, with a floor for those that are next to nothing.
fn inverse(diagonal: &[f64]) -> Vec<f64> {
    let most = diagonal.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    diagonal.iter().map(|x| 1.0 / x.max(1e-12 * most)).collect()
}

/// Where to go down: the inverse Hessian, as the pairs know it, times the gradient.
fn direction(gradient: &[f64], diagonal: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut shares = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let share = dot(&pair.step, &q) / pair.curvature;
        q.iter_mut().zip(&pair.change).for_each(|(q, y)| *q -= share * y);
        shares.push(share);
    }
    let scale = pairs.back().map_or(1.0, |pair| {
        let scaled: f64 = pair.change.iter().zip(diagonal).map(|(y, d)| y * y * d).sum();
        pair.curvature / scaled
    });
    q.iter_mut().zip(diagonal).for_each(|(q, d)| *q *= scale * d);
    for (pair, share) in pairs.iter().zip(shares.into_iter().rev()) {
        let more = share - dot(&pair.change, &q) / pair.curvature;
        q.iter_mut().zip(&pair.step).for_each(|(q, s)| *q += more * s);
    }
    q
}

/// The first of shorter and shorter steps that lowers the objective enough.
fn search(
    problem: &Problem<'_>,
    at: &[f64],
    direction: &[f64],
    objective: f64,
    slope: f64,
    with_curvature: bool,
) -> Option<(Vec<f64>, Value)> {
    if slope <= 0.0 {
        return None;
    }
    let mut step = 1.0;
    for _ in 0..40 {
        let there: Vec<f64> = at.iter().zip(direction).map(|(x, d)| x - step * d).collect();
        let value = problem.evaluate(&there, with_curvature);
        let change = value.objective - objective;
        if change <= -DECREASE * step * slope {
            return Some((there, value));
        }
        // Where a parabola through what is known has its minimum.
        let lowest = 0.5 * slope * step * step / (change + slope * step);
        step = if lowest.is_finite() { lowest.clamp(0.1 * step, 0.5 * step) } else { 0.1 * step };
    }
    None
}
