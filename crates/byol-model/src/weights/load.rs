//! A file of weights, whoever wrote it, as an encoder ready for use.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::description::{EncoderDescription, Preprocessing};
use super::state_dict::StateDict;
use super::{files, foreign, infer, load_named, misfits};
use crate::{ModelError, ResNet, ResNetConfig};

/// What [`load`] gives.
#[derive(Debug)]
pub struct Loaded {
    /// In evaluation mode: normalised by its running statistics.
    pub encoder: ResNet,
    /// Which ResNet.
    pub config: ResNetConfig,
    /// How pictures are prepared; none if the file does not say (files of others:
    /// [`Preprocessing::imagenet`] is torchvision's).
    pub preprocessing: Option<Preprocessing>,
    /// All that the file says of itself; none for files of others.
    pub description: Option<EncoderDescription>,
    /// Names of the file's tensors that are no part of the encoder: classifier, heads,
    /// target, counters, optimiser.
    pub left_out: Vec<String>,
}

/// Loads an encoder, all or nothing: `encoder.safetensors` of a run, or a ResNet of
/// torchvision's or timm's as safetensors or as `torch.save` wrote it, bare or inside a
/// checkpoint (`state_dict`, `module.`, `backbone.`; byol-pytorch's, lightly's and
/// solo-learn's; of an online and a target network the online one). Without a description
/// of ours in the file the shapes say which ResNet it is.
///
/// Running variances are taken as they are: unbiased, as PyTorch's.
///
/// # Errors
///
/// If the file cannot be read, asks to run code, holds another architecture, or lacks a
/// tensor, has one more, or one of another shape or type than `F32`: each by its name.
pub fn load(path: &Path, device: &Device) -> Result<Loaded, ModelError> {
    let in_file = |e: ModelError| e.in_file(path);
    let file = StateDict::open(path)?;
    let description = match &file.description {
        None => None,
        Some(text) => {
            let parsed: Result<EncoderDescription, _> = serde_json::from_str(text);
            Some(parsed.map_err(|e| {
                in_file(ModelError::Unreadable(format!(
                    "the description of the encoder in its metadata: {e}"
                )))
            })?)
        }
    };
    let found = foreign::find(&file).map_err(in_file)?;
    // `find` took the names from the file.
    let stored: BTreeMap<&str, _> = found
        .names
        .iter()
        .filter_map(|(ours, theirs)| Some((ours.as_str(), (theirs, file.tensors.get(theirs)?))))
        .collect();
    let shapes = stored.iter().map(|(&name, (_, stored))| (name, stored.shape.as_slice())).collect();
    let config = match &description {
        Some(description) => description.encoder,
        None => infer::config(&shapes).map_err(in_file)?,
    };
    let encoder = config.init(device).map_err(in_file)?;

    let mut faults = misfits(&encoder, &shapes);
    for (theirs, stored) in stored.values() {
        if stored.dtype != "F32" {
            faults.push(format!("`{theirs}` is {}, expected F32", stored.dtype));
        }
    }
    if !faults.is_empty() {
        return Err(in_file(ModelError::Mismatch(faults)));
    }
    let mut tensors = BTreeMap::new();
    for (name, (_, stored)) in stored {
        let data = (stored.read)().map_err(in_file)?;
        tensors.insert(name.to_owned(), files::values(&stored.shape, &data));
    }
    let encoder = load_named(encoder, tensors).map_err(in_file)?.valid();
    let preprocessing = description.as_ref().map(|description| description.preprocessing.clone());
    Ok(Loaded { encoder, config, preprocessing, description, left_out: found.left_out })
}
