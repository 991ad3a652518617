//! Weights by name, under torchvision's names, out of modules and into them.

mod description;
mod files;
mod foreign;
mod infer;
mod load;
#[cfg(feature = "pytorch")]
mod pickle;
#[cfg(feature = "pytorch")]
mod pytorch;
mod state_dict;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};

use crate::ModelError;
use crate::roles::{Role, role};

pub use description::{EncoderDescription, Normalization, Preprocessing, Resampling};
pub use files::{encoder_bytes, load_encoder, save_encoder, write_atomic};
pub use load::{Loaded, load, load_with};

/// A float tensor of a module, out of Burn.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Path in the module, dots between, torchvision's name where it differs.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values, row by row.
    pub values: Vec<f32>,
}

/// A float tensor to be put into a module: its shape, and its values row by row.
pub type TensorValues = (Vec<usize>, Vec<f32>);

/// torchvision has the shortcut as a sequence.
fn public_name(path: &[String]) -> String {
    let mut name = path.join(".");
    for (ours, theirs) in [("downsample.conv.", "downsample.0."), ("downsample.bn.", "downsample.1.")] {
        name = name.replace(ours, theirs);
    }
    name
}

#[derive(Default)]
struct ModulePath {
    names: Vec<String>,
    containers: Vec<String>,
}

impl ModulePath {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn role(&self) -> Role {
        let last = |v: &'_ [String]| v.last().cloned().unwrap_or_default();
        role(&last(&self.names), &last(&self.containers))
    }
}

/// All float tensors of `module` in the module's order: parameters and running
/// statistics. Linear weights are `[input, output]`, as Burn keeps them.
pub fn named_tensors<M: Module>(module: &M) -> Vec<NamedTensor> {
    #[derive(Default)]
    struct Collect {
        path: ModulePath,
        found: Vec<NamedTensor>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            let shape = tensor.dims().to_vec();
            let values = values_of(tensor);
            let name = public_name(&self.path.names);
            self.found.push(NamedTensor { name, role: self.path.role(), shape, values });
        }
    }
    let mut collect = Collect::default();
    module.visit(&mut collect);
    collect.found
}

fn values_of<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Cannot fail: a float tensor converts to f32.
    tensor.into_data().convert_dtype(DType::F32).try_into_vec().unwrap_or_default()
}

/// Every name that is missing, of another shape or unknown to `module`.
fn misfits<M: Module>(module: &M, shapes: &BTreeMap<&str, &[usize]>) -> Vec<String> {
    struct Shapes {
        path: ModulePath,
        found: Vec<(String, Vec<usize>)>,
    }
    impl ModuleVisitor for Shapes {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((public_name(&self.path.names), param.lazy_shape().to_vec()));
        }
    }
    let mut wanted = Shapes { path: ModulePath::default(), found: Vec::new() };
    module.visit(&mut wanted);
    let mut faults = Vec::new();
    for (name, dims) in &wanted.found {
        match shapes.get(name.as_str()) {
            None => faults.push(format!("`{name}` is missing")),
            Some(shape) if shape != dims => {
                faults.push(format!("`{name}` is {shape:?}, the network has {dims:?}"));
            }
            Some(_) => {}
        }
    }
    let is_known = |name: &str| wanted.found.iter().any(|(wanted, _)| wanted == name);
    faults.extend(shapes.keys().filter(|name| !is_known(name)).map(|name| format!("`{name}` is unknown")));
    faults
}

/// Puts `tensors` (name to shape and values) into `module`, all or nothing.
///
/// # Errors
///
/// Every name that is missing, left over or of another shape.
pub fn load_named<M: Module>(
    module: M,
    mut tensors: BTreeMap<String, TensorValues>,
) -> Result<M, ModelError> {
    let shapes = tensors.iter().map(|(name, (shape, _))| (name.as_str(), shape.as_slice()));
    let mut faults = misfits(&module, &shapes.collect());
    faults.extend(tensors.iter().filter_map(|(name, (shape, values))| {
        let n: usize = shape.iter().product();
        (values.len() != n).then(|| format!("`{name}` has {} values for {shape:?}", values.len()))
    }));
    if !faults.is_empty() {
        return Err(ModelError::Mismatch(faults));
    }

    struct Load<'a> {
        path: ModulePath,
        tensors: &'a mut BTreeMap<String, TensorValues>,
    }
    impl ModuleMapper for Load<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some((shape, values)) = self.tensors.remove(&public_name(&self.path.names)) else {
                return param; // not reached: every name was checked above
            };
            let id = param.id;
            let device = param.lazy_device();
            let tensor = Tensor::from_data(TensorData::new(values, shape), &device);
            param.transform_for_load(tensor, id)
        }
    }
    let mut load = Load { path: ModulePath::default(), tensors: &mut tensors };
    Ok(module.map(&mut load))
}
