//! What a step of the optimiser is about to do, in numbers.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use byol_model::{Role, role};
use serde::Serialize;

use super::lars;
use crate::{OptimizerKind, OptimizerSpec};

/// The least, the quarters and the greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min: f64,
    /// A quarter is not above it.
    pub q25: f64,
    /// Half are not above it.
    pub median: f64,
    /// Three quarters are not above it.
    pub q75: f64,
    /// The greatest.
    pub max: f64,
}

impl Quantiles {
    /// Of `values`, by nearest rank; none of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(share * last as f64).round() as usize];
        Some(Self { min: at(0.0), q25: at(0.25), median: at(0.5), q75: at(0.75), max: at(1.0) })
    }
}

/// Norms over all parameters that have a gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norms {
    /// ‖∇‖.
    pub gradient: f64,
    /// ‖w‖.
    pub parameters: f64,
    /// Of LARS' trust ratios of the weights.
    pub trust_ratio: Option<Quantiles>,
}

impl Norms {
    /// Of the parameters and gradients of `module`.
    pub(super) fn of<M: Module>(spec: OptimizerSpec, module: &M, gradients: &Gradients) -> Self {
        let mut visit =
            Visit { spec, gradients, names: Vec::new(), containers: Vec::new(), norms: Vec::new() };
        module.visit(&mut visit);
        let n = visit.norms.len() / 3;
        if n == 0 {
            return Self { gradient: 0.0, parameters: 0.0, trust_ratio: None };
        }
        // Cannot fail: norms of f32 parameters are f32. One reading for all of them.
        let norms: Vec<f32> = Tensor::cat(visit.norms, 0).into_data().try_into_vec().unwrap_or_default();
        let of = |which: usize| norms.iter().skip(which).step_by(3).map(|x| f64::from(*x));
        let total = |which| of(which).map(|x| x * x).sum::<f64>().sqrt();
        let lars = spec.kind == OptimizerKind::Lars;
        let ratios = of(2).filter(|ratio| lars && *ratio >= 0.0).collect();
        Self { gradient: total(0), parameters: total(1), trust_ratio: Quantiles::of(ratios) }
    }
}

struct Visit<'a> {
    spec: OptimizerSpec,
    gradients: &'a Gradients,
    names: Vec<String>,
    containers: Vec<String>,
    /// Of each parameter: gradient, parameter, ratio (−1 where there is none), `[1, 1]` each.
    norms: Vec<Tensor<2>>,
}

impl ModuleVisitor for Visit<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let w = param.val();
        let Some(g) = w.grad(self.gradients) else { return };
        let (w, word) = (w.inner(), |words: &[String]| words.last().cloned().unwrap_or_default());
        let weight = role(&word(&self.names), &word(&self.containers)) == Role::Weight;
        let gradient = lars::norm(g.clone());
        let ratio = if weight && self.spec.kind == OptimizerKind::Lars {
            let d = g + w.clone().mul_scalar(self.spec.weight_decay);
            lars::ratio(&w, &d, self.spec.trust)
        } else {
            gradient.zeros_like().sub_scalar(1.0)
        };
        self.norms.extend([gradient, lars::norm(w), ratio]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted() {
        let quantiles = Quantiles::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        let Quantiles { min, q25, median, q75, max } = quantiles;
        assert_eq!([min, q25, median, q75, max], [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(Quantiles::of(vec![]), None);
    }
}
