//! Weights by name, in safetensors, under torchvision's names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::roles::{Role, role};
use crate::{Encoder, ModelError};

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

/// Puts `tensors` (name to shape and values) into `module`, all or nothing.
///
/// # Errors
///
/// Every name that is missing, left over or of another shape.
pub fn load_named<M: Module>(
    module: M,
    mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
) -> Result<M, ModelError> {
    let mut faults = Vec::new();
    let wanted_tensors = named_tensors(&module);
    for wanted in &wanted_tensors {
        match tensors.get(&wanted.name) {
            None => faults.push(format!("`{}` is missing", wanted.name)),
            Some((shape, values)) if *shape != wanted.shape || values.len() != wanted.values.len() => {
                faults.push(format!("`{}` is {shape:?}, the network has {:?}", wanted.name, wanted.shape));
            }
            Some(_) => {}
        }
    }
    let is_known = |name: &str| wanted_tensors.iter().any(|wanted| wanted.name == name);
    faults.extend(tensors.keys().filter(|name| !is_known(name)).map(|name| format!("`{name}` is unknown")));
    if !faults.is_empty() {
        return Err(ModelError::Mismatch(faults));
    }

    struct Load<'a> {
        path: ModulePath,
        tensors: &'a mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
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

/// The encoder as a safetensors file: torchvision's names, f32, and `metadata`.
/// The same weights and metadata give the same bytes.
///
/// # Errors
///
/// If the safetensors format refuses, which a float module gives no reason for.
pub fn encoder_bytes<E: Encoder>(
    encoder: &E,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ModelError> {
    let tensors = named_tensors(encoder);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let unreadable = |e: safetensors::SafeTensorError| ModelError::Unreadable(e.to_string());
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, bytes)| {
            Ok((t.name.as_str(), TensorView::new(Dtype::F32, t.shape.clone(), bytes).map_err(unreadable)?))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    // One key: the format's own map has no fixed order, a JSON object of ours has.
    let text = serde_json::to_string(metadata).map_err(|e| ModelError::Unreadable(e.to_string()))?;
    let header = HashMap::from([("byol".to_owned(), text)]);
    serialize(views, Some(header)).map_err(unreadable)
}

/// Writes [`encoder_bytes`] to a file, which appears whole or not at all.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save_encoder<E: Encoder>(
    encoder: &E,
    metadata: &BTreeMap<String, String>,
    path: &Path,
) -> Result<(), ModelError> {
    let bytes = encoder_bytes(encoder, metadata)?;
    let partial = path.with_extension("safetensors.partial");
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&partial); // may not exist
        ModelError::Unreadable(format!("writing {}: {e}", path.display()))
    })
}

/// What [`save_encoder`] recorded beside the weights.
///
/// # Errors
///
/// If `bytes` is not a safetensors file of ours.
pub fn encoder_metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, ModelError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| ModelError::Unreadable(e.to_string()))?;
    let text = header.metadata().as_ref().and_then(|m| m.get("byol"));
    let text = text.ok_or_else(|| {
        ModelError::Unreadable("no description of the encoder in the file's metadata (key `byol`)".into())
    })?;
    serde_json::from_str(text).map_err(|e| ModelError::Unreadable(e.to_string()))
}

/// Loads a safetensors file into `encoder`, all or nothing.
///
/// # Errors
///
/// If the file is damaged, or does not fit, key by key.
pub fn load_encoder<E: Encoder>(encoder: E, bytes: &[u8]) -> Result<E, ModelError> {
    let unreadable = |e: safetensors::SafeTensorError| ModelError::Unreadable(e.to_string());
    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(ModelError::Mismatch(vec![format!("`{name}` is {:?}, expected F32", view.dtype())]));
        }
        let values =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        tensors.insert(name, (view.shape().to_vec(), values));
    }
    load_named(encoder, tensors)
}
