//! `encoder.safetensors`: an encoder with its description.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::Serialize;

use super::{TensorValues, load_named, named_tensors};
use crate::{Encoder, ModelError};

/// Key of our description in the metadata of a safetensors file.
pub(super) const DESCRIPTION: &str = "byol";

/// The encoder as a safetensors file: torchvision's names, f32, and `description` as
/// JSON under the metadata key `byol` ([`EncoderDescription`](super::EncoderDescription)
/// for a ResNet; anything for an encoder of your own). The same weights and description
/// give the same bytes.
///
/// # Errors
///
/// If the description is no JSON, or the safetensors format refuses, which a float
/// module gives no reason for.
pub fn encoder_bytes<E: Encoder>(encoder: &E, description: &impl Serialize) -> Result<Vec<u8>, ModelError> {
    let tensors = named_tensors(encoder);
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, bytes)| {
            Ok((t.name.as_str(), TensorView::new(Dtype::F32, t.shape.clone(), bytes).map_err(unreadable)?))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    // One key: the format's own map has no fixed order, a JSON object of ours has.
    let text = serde_json::to_string(description).map_err(|e| ModelError::Unreadable(e.to_string()))?;
    let header = HashMap::from([(DESCRIPTION.to_owned(), text)]);
    serialize(views, Some(header)).map_err(unreadable)
}

/// Writes [`encoder_bytes`] to a file, which appears whole or not at all.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save_encoder<E: Encoder>(
    encoder: &E,
    description: &impl Serialize,
    path: &Path,
) -> Result<(), ModelError> {
    write_atomic(path, &encoder_bytes(encoder, description)?)
}

/// Writes a file that appears whole or not at all, readable by whoever the umask lets.
/// What is there and is no plain file stays as it is.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let failed = |why: String| ModelError::Unreadable(format!("writing {}: {why}", path.display()));
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(failed("it is there and is no plain file".into()));
    }
    // Through a link to the file behind it.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let Some(name) = path.file_name() else { return Err(failed("it has no file name".into())) };
    let partial = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let written = File::create(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, &path));
    written.map_err(|e| {
        let _ = fs::remove_file(&partial); // may not exist
        failed(e.to_string())
    })
}

/// Loads a safetensors file into `encoder`, whichever it is, all or nothing. For
/// ResNets and files of others there is [`load`](super::load).
///
/// # Errors
///
/// If the file is damaged, or does not fit, key by key.
pub fn load_encoder<E: Encoder>(encoder: E, bytes: &[u8]) -> Result<E, ModelError> {
    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut tensors = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, view) in file.tensors() {
        if view.dtype() == Dtype::F32 {
            tensors.insert(name, values(view.shape(), view.data()));
        } else {
            faults.push(format!("`{name}` is {:?}, expected F32", view.dtype()));
        }
    }
    if faults.is_empty() { load_named(encoder, tensors) } else { Err(ModelError::Mismatch(faults)) }
}

/// Little-endian f32.
pub(super) fn values(shape: &[usize], data: &[u8]) -> TensorValues {
    let values = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    (shape.to_vec(), values)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn unreadable(e: safetensors::SafeTensorError) -> ModelError {
    ModelError::Unreadable(e.to_string())
}
