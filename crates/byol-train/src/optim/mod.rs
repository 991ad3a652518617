//! LARS, SGD and AdamW over the parameters of a module, by role.

mod buffers;
mod lars;
mod norms;
mod scale;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::container::TensorContainer;
use burn::tensor::{Gradients, Tensor};
use byol_model::{ModelError, NamedTensor, Role, TensorValues, momentum_step, role, weighted_sum};

use crate::{LrMultipliers, OptimizerKind, OptimizerSpec};

pub use norms::{Norms, Quantiles};
pub(crate) use scale::LossScale;

/// An optimiser with its buffers, kept by path: momentum, and AdamW's second moment.
///
/// One step of LARS or SGD, for a weight w with gradient g (DeepMind's
/// `utils/optimizers.py`):
///
/// ```text
/// d = g + weight_decay · w
/// r = trust · ‖w‖ / ‖d‖        (LARS; 1 where a norm is 0, and for SGD)
/// m = momentum · m + r · d
/// w = w − lr · m               (Nesterov: w − lr · (d + momentum · m))
/// ```
///
/// and of AdamW, at step t from 1 (Loshchilov and Hutter 2019, as PyTorch has it):
///
/// ```text
/// w = w − lr · weight_decay · w
/// m = momentum · m + (1 − momentum) · g
/// s = beta2 · s + (1 − beta2) · g²
/// w = w − lr / (1 − momentum^t) · m / (√s / √(1 − beta2^t) + epsilon)
/// ```
///
/// Biases and parameters of normalisations have neither decay nor ratio.
#[derive(Debug)]
pub struct Optimizer {
    spec: OptimizerSpec,
    multipliers: LrMultipliers,
    momenta: TensorContainer<String>,
    squares: TensorContainer<String>,
    /// Steps taken.
    steps: u64,
    measure: bool,
    norms: Option<Norms>,
    /// Of f16.
    pub(crate) loss_scale: Option<LossScale>,
}

/// The buffers of an optimiser, by the paths of their parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptimizerState<T> {
    /// m.
    pub momentum: T,
    /// s, of AdamW alone.
    pub square: T,
}

impl Optimizer {
    /// Momentum buffers start at 0.
    pub fn new(spec: OptimizerSpec) -> Self {
        Self {
            spec,
            multipliers: LrMultipliers::default(),
            momenta: TensorContainer::new(),
            squares: TensorContainer::new(),
            steps: 0,
            measure: false,
            norms: None,
            loss_scale: None,
        }
    }

    /// Gives the fields `projector` and `predictor` of a module rates of their own.
    #[must_use]
    pub fn with_multipliers(self, multipliers: LrMultipliers) -> Self {
        Self { multipliers, ..self }
    }

    /// Has the next step measured.
    pub fn measure(&mut self) {
        self.measure = true;
    }

    /// What the last step measured, if it was to.
    pub fn norms(&mut self) -> Option<Norms> {
        self.norms.take()
    }

    /// One step over every parameter of `module` that has a gradient.
    pub fn step<M: Module>(&mut self, module: M, gradients: &mut Gradients, lr: f64) -> M {
        if std::mem::take(&mut self.measure) {
            self.norms = Some(Norms::of(self.spec, &module, gradients));
        }
        self.steps += 1;
        module.map(&mut Step { optimizer: self, gradients, lr, path: Vec::new(), containers: Vec::new() })
    }

    /// Its buffers for the parameters of `module`.
    pub fn state<M: Module>(&self, module: &M) -> OptimizerState<Vec<NamedTensor>> {
        OptimizerState {
            momentum: buffers::collect(&self.momenta, module),
            square: buffers::collect(&self.squares, module),
        }
    }

    /// Takes over buffers that [`state`](Self::state) gave after so many steps, and forgets
    /// its own.
    ///
    /// # Errors
    ///
    /// Buffers of parameters that `module` has not, or of another shape.
    pub fn load_state<M: Module>(
        &mut self,
        module: &M,
        state: OptimizerState<BTreeMap<String, TensorValues>>,
        steps: u64,
    ) -> Result<(), ModelError> {
        self.steps = steps;
        self.momenta = buffers::load(module, state.momentum, "momentum")?;
        self.squares = buffers::load(module, state.square, "second moment")?;
        Ok(())
    }

    fn update<const D: usize>(
        &mut self,
        path: String,
        role: Role,
        w: Tensor<D>,
        g: Tensor<D>,
        lr: f64,
    ) -> Tensor<D> {
        let OptimizerSpec { kind, momentum, nesterov, weight_decay, trust, .. } = self.spec;
        if kind == OptimizerKind::Adamw {
            let decay = if role == Role::Weight { weight_decay } else { 0.0 };
            return self.adamw(path, w, g, lr, decay);
        }
        let mut decay = if role == Role::Weight { weight_decay } else { 0.0 };
        let mut d = g;
        if role == Role::Weight && kind == OptimizerKind::Lars {
            d = lars::adapt(&w, with_decay(d, &w, std::mem::take(&mut decay)), trust);
        }
        let (w, m) = match self.momenta.remove::<Tensor<D>>(&path) {
            Some(m) if !nesterov => momentum_step(w, m, d, decay, momentum, lr),
            m => {
                let d = with_decay(d, &w, decay);
                let m = m.map_or(d.clone(), |m| weighted_sum(m, momentum, d.clone(), 1.0));
                let direction = if nesterov { weighted_sum(d, 1.0, m.clone(), momentum) } else { m.clone() };
                (weighted_sum(w, 1.0, direction, -lr), m)
            }
        };
        self.momenta.register(path, m);
        w
    }

    fn adamw<const D: usize>(
        &mut self,
        path: String,
        w: Tensor<D>,
        g: Tensor<D>,
        lr: f64,
        decay: f64,
    ) -> Tensor<D> {
        let OptimizerSpec { momentum, beta2, epsilon, .. } = self.spec;
        let grown = |buffer: Option<Tensor<D>>, beta: f64, with: Tensor<D>| {
            let with = with.mul_scalar(1.0 - beta);
            buffer.map_or(with.clone(), |buffer| buffer.mul_scalar(beta) + with)
        };
        let m = grown(self.momenta.remove(&path), momentum, g.clone());
        let s = grown(self.squares.remove(&path), beta2, g.square());
        self.momenta.register(path.clone(), m.clone());
        self.squares.register(path, s.clone());
        let t = self.steps as f64;
        let (rate, correction) = (lr / (1.0 - momentum.powf(t)), (1.0 - beta2.powf(t)).sqrt());
        let w = if decay == 0.0 { w } else { w.mul_scalar(1.0 - lr * decay) };
        w - m.mul_scalar(rate).div(s.sqrt().div_scalar(correction).add_scalar(epsilon))
    }
}

/// g + weight_decay · w.
fn with_decay<const D: usize>(g: Tensor<D>, w: &Tensor<D>, weight_decay: f64) -> Tensor<D> {
    if weight_decay == 0.0 { g } else { weighted_sum(g, 1.0, w.clone(), weight_decay) }
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a mut Gradients,
    lr: f64,
    path: Vec<String>,
    containers: Vec<String>,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.last().map_or("", String::as_str);
        let role = role(name, self.containers.last().map_or("", String::as_str));
        if role == Role::Buffer {
            return param;
        }
        let (id, w, mapper) = param.consume();
        let Some(g) = w.grad_remove(self.gradients) else {
            return Param::from_mapped_value(id, w, mapper);
        };
        let lr = self.lr
            * match self.path.first().map(String::as_str) {
                Some("projector") => self.optimizer.multipliers.projector,
                Some("predictor") => self.optimizer.multipliers.predictor,
                _ => 1.0,
            };
        let w = self.optimizer.update(self.path.join("."), role, w.inner(), g, lr);
        Param::from_mapped_value(id, Tensor::from_inner(w).require_grad(), mapper)
    }
}
