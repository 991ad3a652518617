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
    progress: impl FnMut(usize),
) -> Result<Features, EvalError> {
    let all: Vec<usize> = (0..set.len()).collect();
    extract_some(encoder, set, &all, transform, channels, device, progress)
}

/// The same of the pictures of these numbers alone, in that order.
///
/// # Errors
///
/// As [`extract`], or if there is no picture of a number.
pub fn extract_some<E: Encoder>(
    encoder: &E,
    set: &ImageDataset,
    pictures: &[usize],
    transform: &EvalTransform,
    channels: usize,
    device: &Device,
    mut progress: impl FnMut(usize),
) -> Result<Features, EvalError> {
    // As many pictures at once as have the pixels of 256 of 64 x 64.
    let batch = (256 * 64 * 64 / (transform.size * transform.size).max(1)).clamp(16, 256);
    let encoder = encoder.valid();
    let device = device.clone().without_autodiff();
    let mut values = Vec::with_capacity(pictures.len() * encoder.dim());
    let mut done = 0;
    for some in pictures.chunks(batch) {
        let images = prepare(set, some, transform, channels)?;
        let y = encoder.forward(input::tensor(images, channels, transform.size, &device));
        // Cannot fail: representations are f32.
        values.extend(y.into_data().try_into_vec::<f32>().unwrap_or_default());
        done += some.len();
        progress(done);
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
    let all: Vec<usize> = (0..set.len()).collect();
    let values = prepare(set, &all, &plain, channels)?;
    Features::new(channels * transform.size * transform.size, values)
}

fn prepare(
    set: &ImageDataset,
    pictures: &[usize],
    transform: &EvalTransform,
    channels: usize,
) -> Result<Vec<f32>, DataError> {
    let slot_len = channels * transform.size * transform.size;
    let mut values = vec![0.0; pictures.len() * slot_len];
    values
        .par_chunks_exact_mut(slot_len)
        .zip(pictures)
        .map_init(Workspace::default, |workspace, (slot, &index)| {
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
