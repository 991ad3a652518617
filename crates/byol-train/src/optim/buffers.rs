//! Buffers of an optimiser as plain values, and back.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::container::TensorContainer;
use burn::tensor::{Tensor, TensorData};
use byol_model::{ModelError, NamedTensor, Role, TensorValues};

/// Buffers of the parameters of `module`.
pub(super) fn collect<M: Module>(buffers: &TensorContainer<String>, module: &M) -> Vec<NamedTensor> {
    let mut collect = Collect { buffers, path: Vec::new(), found: Vec::new() };
    module.visit(&mut collect);
    collect.found
}

/// Buffers for the parameters of `module`; `what` they are is for errors.
pub(super) fn load<M: Module>(
    module: &M,
    values: BTreeMap<String, TensorValues>,
    what: &'static str,
) -> Result<TensorContainer<String>, ModelError> {
    let mut load =
        Load { buffers: TensorContainer::new(), path: Vec::new(), values, what, faults: Vec::new() };
    module.visit(&mut load);
    load.faults.extend(load.values.keys().map(|name| format!("{what} of `{name}`, which is unknown")));
    if load.faults.is_empty() { Ok(load.buffers) } else { Err(ModelError::Mismatch(load.faults)) }
}

struct Collect<'a> {
    buffers: &'a TensorContainer<String>,
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
        let Some(buffer) = self.buffers.get::<Tensor<D>>(&name) else { return };
        let shape = buffer.dims().to_vec();
        // Cannot fail: buffers are f32, as parameters are.
        let values = buffer.into_data().try_into_vec().unwrap_or_default();
        self.found.push(NamedTensor { name, role: Role::Buffer, shape, values });
    }
}

struct Load {
    buffers: TensorContainer<String>,
    path: Vec<String>,
    values: BTreeMap<String, TensorValues>,
    what: &'static str,
    faults: Vec<String>,
}

impl ModuleVisitor for Load {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let Some((shape, values)) = self.values.remove(&name) else { return };
        let w = param.val();
        if shape != w.dims() || values.len() != w.shape().num_elements() {
            let what = self.what;
            self.faults.push(format!("{what} of `{name}` is {shape:?}, the network has {:?}", w.dims()));
            return;
        }
        let device = w.inner().device();
        self.buffers.register(name, Tensor::<D>::from_data(TensorData::new(values, shape), &device));
    }
}
