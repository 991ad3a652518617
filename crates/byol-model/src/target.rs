//! The target network: the moving average that the online network learns from.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;
use serde::{Deserialize, Serialize};

use crate::roles::{Role, role};
use crate::sum::weighted_sum;
use crate::weights::{NamedTensor, TensorValues, load_named, named_tensors};
use crate::{Encoder, Mlp, ModelError, OnlineNetwork};

/// Where the target's parameters come from at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetInit {
    /// A copy of the online network's, as most implementations have it.
    Copy,
    /// Drawn by themselves, as in DeepMind's code.
    Independent,
}

/// f and g with parameters ξ.
///
/// The rule for its batch normalisation: always in training mode (the batch's
/// statistics); its running statistics follow its own forward passes, are never
/// averaged with the online network's, and are used by nothing in training.
#[derive(Debug)]
pub struct TargetNetwork<E: Encoder> {
    net: Projected<E>,
}

#[derive(Module, Debug)]
struct Projected<E: Encoder> {
    encoder: E,
    projector: Mlp,
}

impl<E: Encoder> TargetNetwork<E> {
    /// A copy of the online f and g that shares nothing with them.
    pub fn copy_of(online: &OnlineNetwork<E>) -> Self {
        Self::new(online.encoder.clone(), online.projector.clone())
    }

    /// A target with parameters of its own. What is passed in may be shared with
    /// others (clones of Burn modules share running statistics); the target is not.
    pub fn new(encoder: E, projector: Mlp) -> Self {
        // Off the autodiff device and back: new running statistics, same values,
        // training flags on; then no gradient for any parameter.
        let net = Projected { encoder, projector }.valid().train().no_grad();
        Self { net }
    }

    /// z′ of a view, `[N, d]`: batch statistics, and a constant for the gradient.
    pub fn forward(&self, view: Tensor<4>) -> Tensor<2> {
        self.net.projector.forward(self.net.encoder.forward(view)).detach()
    }

    /// ξ ← τ ξ + (1 − τ) θ (Equation 1) over the parameters of f and g. Running
    /// statistics are left alone.
    pub fn update(self, online: &OnlineNetwork<E>, tau: f64) -> Self {
        #[derive(Default)]
        struct Collect {
            place: Place,
            theta: TensorContainer<usize>,
        }
        impl ModuleVisitor for Collect {
            fn enter_module(&mut self, name: &str, container: &str) {
                self.place.enter(name, container);
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.place.exit();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.place.is_parameter() {
                    self.theta.register(self.place.next(), param.val().inner_if_autodiff());
                }
            }
        }
        struct Average {
            place: Place,
            theta: TensorContainer<usize>,
            tau: f64,
        }
        impl ModuleMapper for Average {
            fn enter_module(&mut self, name: &str, container: &str) {
                self.place.enter(name, container);
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.place.exit();
            }
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if !self.place.is_parameter() {
                    return param;
                }
                let theta: Option<Tensor<D>> = self.theta.remove(&self.place.next());
                let (id, xi, mapper) = param.consume();
                let Some(theta) = theta else {
                    return Param::from_mapped_value(id, xi, mapper); // not reached: same modules
                };
                let xi = weighted_sum(xi.inner_if_autodiff(), self.tau, theta, 1.0 - self.tau);
                Param::from_mapped_value(id, Tensor::from_inner(xi).set_require_grad(false), mapper)
            }
        }
        let mut collect = Collect::default();
        collect.place.enter("encoder", "Struct:Projected");
        online.encoder.visit(&mut collect);
        collect.place.exit();
        collect.place.enter("projector", "Struct:Projected");
        online.projector.visit(&mut collect);
        collect.place.exit();
        let mut average = Average { place: Place::default(), theta: collect.theta, tau };
        Self { net: self.net.map(&mut average) }
    }

    /// All its tensors, as [`named_tensors`] of a module that has f as `encoder` and g as
    /// `projector`.
    pub fn named_tensors(&self) -> Vec<NamedTensor> {
        named_tensors(&self.net)
    }

    /// Puts such tensors back, all or nothing.
    ///
    /// # Errors
    ///
    /// As [`load_named`].
    pub fn load_named(self, tensors: BTreeMap<String, TensorValues>) -> Result<Self, ModelError> {
        Ok(Self { net: load_named(self.net, tensors)?.no_grad() })
    }

    /// f. For looking at; it runs in training mode.
    pub fn encoder(&self) -> &E {
        &self.net.encoder
    }

    /// g. For looking at; it runs in training mode.
    pub fn projector(&self) -> &Mlp {
        &self.net.projector
    }
}

/// Counts parameters on the way through a module.
#[derive(Default)]
struct Place {
    names: Vec<(String, String)>,
    count: usize,
}

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.names.pop();
    }

    fn is_parameter(&self) -> bool {
        self.names.last().is_none_or(|(name, container)| role(name, container) != Role::Buffer)
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }
}

/// `inner` panics on a tensor that is not on an autodiff device.
trait InnerIfAutodiff {
    fn inner_if_autodiff(self) -> Self;
}

impl<const D: usize> InnerIfAutodiff for Tensor<D> {
    fn inner_if_autodiff(self) -> Self {
        if self.is_autodiff() { self.inner() } else { self }
    }
}
