//! Features of pictures.

use burn::tensor::Device;
use byol_augment::{EvalTransform, Normalize, Pixels, Workspace};
use byol_data::{DataError, ImageDataset, Limits, decode};
use byol_model::{Encoder, input};
use rayon::prelude::*;

use crate::{EvalError, Features};

/// Representations y of every picture of `set`, in order: the encoder in
/// evaluation mode (running statistics), pictures prepared by `transform`.
/// `progress` is told after each batch how many pictures are done.
///
/// # Errors
///
/// If a picture cannot be decoded, or a feature is no number.
pub fn extract<E: Encoder>(
    encoder: &E,
    set: &ImageDataset,
    transform: &EvalTransform,
    channels: usize,
    device: &Device,
    mut progress: impl FnMut(usize),
) -> Result<Features, EvalError> {
    // As many pictures at once as have the pixels of 256 of 64 x 64.
    let batch = (256 * 64 * 64 / (transform.size * transform.size).max(1)).clamp(16, 256);
    let encoder = encoder.valid();
    let device = device.clone().without_autodiff();
    let mut values = Vec::with_capacity(set.len() * encoder.dim());
    for start in (0..set.len()).step_by(batch) {
        let end = (start + batch).min(set.len());
        let images = prepare(set, start..end, transform, channels)?;
        let y = encoder.forward(input::tensor(images, channels, transform.size, &device));
        // Cannot fail: representations are f32.
        values.extend(y.into_data().try_into_vec::<f32>().unwrap_or_default());
        progress(end);
    }
    Features::new(encoder.dim(), values)
}

/// The pictures themselves as features, prepared by `transform` without
/// normalisation: values in [0, 1].
///
/// # Errors
///
/// If a picture cannot be decoded.
pub fn pixels(set: &ImageDataset, transform: &EvalTransform, channels: usize) -> Result<Features, EvalError> {
    let plain =
        EvalTransform { normalize: Normalize { mean: vec![0.0], std: vec![1.0] }, ..transform.clone() };
    let values = prepare(set, 0..set.len(), &plain, channels)?;
    Features::new(channels * transform.size * transform.size, values)
}

fn prepare(
    set: &ImageDataset,
    range: std::ops::Range<usize>,
    transform: &EvalTransform,
    channels: usize,
) -> Result<Vec<f32>, DataError> {
    let slot_len = channels * transform.size * transform.size;
    let mut values = vec![0.0; range.len() * slot_len];
    values
        .par_chunks_exact_mut(slot_len)
        .zip(range)
        .map_init(Workspace::default, |workspace, (slot, index)| {
            let fault = |e: &dyn std::fmt::Display| set.picture_error(index, e);
            let sample = set.sample(index)?;
            let picture = decode(sample.bytes(), channels, Limits::STANDARD).map_err(|e| fault(&e))?;
            let pixels =
                Pixels::new(&picture.data, picture.width, picture.height, channels).map_err(|e| fault(&e))?;
            transform.apply(pixels, workspace, slot).map_err(|e| fault(&e))
        })
        .collect::<Result<Vec<()>, DataError>>()?;
    Ok(values)
}
