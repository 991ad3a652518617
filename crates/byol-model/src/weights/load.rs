//! A file of weights, whoever wrote it, as an encoder ready for use.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::description::{EncoderDescription, Preprocessing};
use super::state_dict::StateDict;
use super::{files, foreign, infer, load_named, misfits};
use crate::{ModelError, ResNet, ResNetConfig, Stem};

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
/// **What shapes cannot say** is taken as torchvision has it: no dilation, no blurred
/// pooling (timm's `resnetblur`); and a 3×3 first convolution has stride 1 and no pooling
/// behind it ([`Stem::Small`]). [`load_with`] takes another stem.
///
/// # Errors
///
/// If the file cannot be read, asks to run code, holds another architecture, or lacks a
/// tensor, has one more, or one of another shape or type than `F32`: each by its name.
pub fn load(path: &Path, device: &Device) -> Result<Loaded, ModelError> {
    load_with(path, None, device)
}

/// [`load`], with the stem of a file that does not describe its encoder.
///
/// # Errors
///
/// As [`load`], and if the stem is not the file's.
pub fn load_with(path: &Path, stem: Option<Stem>, device: &Device) -> Result<Loaded, ModelError> {
    let in_file = |e: ModelError| e.in_file(path);
    let file = StateDict::open(path)?;
    let description = match &file.description {
        None => None,
        Some(text) => {
            let parsed: Result<EncoderDescription, _> = serde_json::from_str(text);
            let mut description = parsed.map_err(|e| {
                in_file(ModelError::Unreadable(format!(
                    "the description of the encoder in its metadata: {e}"
                )))
            })?;
            // For people; what counts is `encoder`.
            description.architecture = description.encoder.name();
            Some(description)
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
    let config = match stem {
        Some(stem)
            if stem.kernel_and_stride().0 == config.stem.kernel_and_stride().0 && description.is_none() =>
        {
            ResNetConfig { stem, ..config }
        }
        Some(stem) if stem != config.stem => {
            let why = format!("its encoder is a {}, whose stem is not {stem:?}", config.name());
            return Err(in_file(ModelError::Architecture(why)));
        }
        _ => config,
    };
    let encoder = config.init(device).map_err(in_file)?;

    let mut faults = misfits(&encoder, &shapes);
    let other: Vec<_> = stored.values().filter(|(_, stored)| stored.dtype != "F32").collect();
    match other.as_slice() {
        [(_, first), ..] if other.len() == stored.len() => faults.push(format!(
            "every tensor is {}, expected F32; from Python: {{k: v.float() for k, v in state_dict.items()}}",
            first.dtype
        )),
        some => faults
            .extend(some.iter().map(|(name, stored)| format!("`{name}` is {}, expected F32", stored.dtype))),
    }
    if !faults.is_empty() {
        return Err(in_file(ModelError::Mismatch(faults)));
    }
    let mut tensors = BTreeMap::new();
    for (name, (_, stored)) in stored {
        let data = (stored.read)().map_err(in_file)?;
        let (shape, values) = files::values(&stored.shape, &data);
        if values.iter().any(|x| !x.is_finite()) {
            faults.push(format!("`{name}` has values that are no finite numbers"));
        } else if name.ends_with("running_var") && values.iter().any(|x| *x < 0.0) {
            faults.push(format!("`{name}` has negative variances"));
        }
        tensors.insert(name.to_owned(), (shape, values));
    }
    if !faults.is_empty() {
        return Err(in_file(ModelError::Mismatch(faults)));
    }
    let encoder = load_named(encoder, tensors).map_err(in_file)?.valid();
    let preprocessing = description.as_ref().map(|description| description.preprocessing.clone());
    Ok(Loaded { encoder, config, preprocessing, description, left_out: found.left_out })
}
