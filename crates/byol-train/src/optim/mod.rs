//! LARS and SGD over the parameters of a module, by role.

mod lars;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::container::TensorContainer;
use burn::tensor::{Gradients, Tensor, TensorData};
use byol_model::{ModelError, NamedTensor, Role, TensorValues, role};

use crate::{LrMultipliers, OptimizerKind, OptimizerSpec};

/// An optimiser with its momentum buffers, one a parameter, kept by path.
///
/// One step, for a weight w with gradient g (DeepMind's `utils/optimizers.py`):
///
/// ```text
/// d = g + weight_decay · w
/// r = trust · ‖w‖ / ‖d‖        (LARS; 1 where a norm is 0, and for SGD)
/// m = momentum · m + r · d
/// w = w − lr · m               (Nesterov: w − lr · (d + momentum · m))
/// ```
///
/// Biases and parameters of normalisations have neither decay nor ratio.
#[derive(Debug)]
pub struct Optimizer {
    spec: OptimizerSpec,
    multipliers: LrMultipliers,
    momenta: TensorContainer<String>,
}

impl Optimizer {
    /// Momentum buffers start at 0.
    pub fn new(spec: OptimizerSpec) -> Self {
        Self { spec, multipliers: LrMultipliers::default(), momenta: TensorContainer::new() }
    }

    /// Gives the fields `projector` and `predictor` of a module rates of their own.
    #[must_use]
    pub fn with_multipliers(self, multipliers: LrMultipliers) -> Self {
        Self { multipliers, ..self }
    }

    /// One step over every parameter of `module` that has a gradient.
    pub fn step<M: Module>(&mut self, module: M, gradients: &mut Gradients, lr: f64) -> M {
        module.map(&mut Step { optimizer: self, gradients, lr, path: Vec::new(), containers: Vec::new() })
    }

    /// Its momentum buffers for the parameters of `module`, by path.
    pub fn state<M: Module>(&self, module: &M) -> Vec<NamedTensor> {
        let mut collect = Collect { optimizer: self, path: Vec::new(), found: Vec::new() };
        module.visit(&mut collect);
        collect.found
    }

    /// Takes over buffers that [`state`](Self::state) gave, and forgets its own.
    ///
    /// # Errors
    ///
    /// Buffers of parameters that `module` has not, or of another shape.
    pub fn load_state<M: Module>(
        &mut self,
        module: &M,
        buffers: BTreeMap<String, TensorValues>,
    ) -> Result<(), ModelError> {
        self.momenta = TensorContainer::new();
        let mut load = Load { momenta: &mut self.momenta, path: Vec::new(), buffers, faults: Vec::new() };
        module.visit(&mut load);
        load.faults.extend(load.buffers.keys().map(|name| format!("momentum of `{name}`, which is unknown")));
        if load.faults.is_empty() { Ok(()) } else { Err(ModelError::Mismatch(load.faults)) }
    }

    fn update<const D: usize>(
        &mut self,
        path: String,
        role: Role,
        w: Tensor<D>,
        g: Tensor<D>,
        lr: f64,
    ) -> Tensor<D> {
        let OptimizerSpec { kind, momentum, nesterov, weight_decay, trust } = self.spec;
        let mut d = g;
        if role == Role::Weight {
            if weight_decay != 0.0 {
                d = d + w.clone().mul_scalar(weight_decay);
            }
            if kind == OptimizerKind::Lars {
                d = lars::adapt(&w, d, trust);
            }
        }
        let m = match self.momenta.remove::<Tensor<D>>(&path) {
            Some(m) => m.mul_scalar(momentum) + d.clone(),
            None => d.clone(),
        };
        let direction = if nesterov { d + m.clone().mul_scalar(momentum) } else { m.clone() };
        self.momenta.register(path, m);
        w - direction.mul_scalar(lr)
    }
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

/// Reads buffers out of an optimiser.
struct Collect<'a> {
    optimizer: &'a Optimizer,
    path: Vec<String>,
    found: Vec<NamedTensor>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let Some(buffer) = self.optimizer.momenta.get::<Tensor<D>>(&name) else { return };
        let shape = buffer.dims().to_vec();
        // Cannot fail: buffers are f32, as parameters are.
        let values = buffer.into_data().try_into_vec().unwrap_or_default();
        self.found.push(NamedTensor { name, role: Role::Buffer, shape, values });
    }
}

/// Puts buffers into one.
struct Load<'a> {
    momenta: &'a mut TensorContainer<String>,
    path: Vec<String>,
    buffers: BTreeMap<String, TensorValues>,
    faults: Vec<String>,
}

impl ModuleVisitor for Load<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let Some((shape, values)) = self.buffers.remove(&name) else { return };
        let w = param.val();
        if shape != w.dims() || values.len() != w.shape().num_elements() {
            self.faults.push(format!("momentum of `{name}` is {shape:?}, the network has {:?}", w.dims()));
            return;
        }
        let device = w.inner().device();
        self.momenta.register(name, Tensor::<D>::from_data(TensorData::new(values, shape), &device));
    }
}
