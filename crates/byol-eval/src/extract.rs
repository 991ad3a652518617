//! Features of pictures.

use burn::tensor::Device;
use byol_augment::{
    AugmentError, EvalTransform, Normalize, Pixels, ViewKey, ViewParams, ViewPolicy, Workspace,
};
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
    let mut values = Vec::with_capacity(pictures.len() * encoder.dim());
    let mut done = 0;
    extract_each(encoder, set, pictures, transform, channels, device, |some, features| {
        values.extend_from_slice(features.values());
        done += some.len();
        progress(done);
        Ok::<(), EvalError>(())
    })?;
    Features::new(encoder.dim(), values)
}

/// The same, batch by batch to `each` with the numbers of its pictures: memory is that of one
/// batch (at most 256 prepared pictures and what the encoder makes of them), however many
/// pictures there are.
///
/// # Errors
///
/// As [`extract_some`], or what `each` says.
pub fn extract_each<E: Encoder, F: From<EvalError>>(
    encoder: &E,
    set: &ImageDataset,
    pictures: &[usize],
    transform: &EvalTransform,
    channels: usize,
    device: &Device,
    mut each: impl FnMut(&[usize], &Features) -> Result<(), F>,
) -> Result<(), F> {
    let encoder = encoder.valid();
    for some in pictures.chunks(batch(transform.size)) {
        let images =
            prepare(&[set], some, transform, channels).map_err(|error| F::from(EvalError::from(error)))?;
        each(some, &forward(&encoder, images, channels, transform.size, device)?)?;
    }
    Ok(())
}

/// Representations of random views of pictures, as `policy` makes them of seed and epoch: what a
/// linear classifier learns from in the paper's protocol. `rows` are numbers of pictures of
/// several sets, one set after the other.
///
/// # Errors
///
/// As [`extract_some`].
pub fn extract_views<E: Encoder>(
    encoder: &E,
    sets: &[&ImageDataset],
    rows: &[usize],
    policy: &ViewPolicy,
    keys: [u64; 2],
    channels: usize,
    device: &Device,
) -> Result<Features, EvalError> {
    let encoder = encoder.valid();
    let mut values = Vec::with_capacity(rows.len() * encoder.dim());
    for some in rows.chunks(batch(policy.size)) {
        let images = views(sets, some, policy, keys, channels)?;
        values.extend_from_slice(forward(&encoder, images, channels, policy.size, device)?.values());
    }
    Features::new(encoder.dim(), values)
}

/// A random view of each picture, as `policy` makes it of seed and epoch.
pub(crate) fn views(
    sets: &[&ImageDataset],
    rows: &[usize],
    policy: &ViewPolicy,
    [seed, epoch]: [u64; 2],
    channels: usize,
) -> Result<Vec<f32>, DataError> {
    let make = |row: usize, pixels: Pixels<'_>, state: &mut (Workspace, ViewParams), slot: &mut [f32]| {
        let (workspace, params) = state;
        let key = ViewKey { seed, epoch, sample: row as u64, view: 0 };
        policy.sample_into(key, pixels.shape(), params)?;
        policy.apply(params, pixels, workspace, slot)
    };
    each_picture(sets, rows, channels, policy.output_len(channels), make)
}

/// As many pictures at once as have the pixels of 256 of 64 x 64.
pub(crate) fn batch(size: usize) -> usize {
    (256 * 64 * 64 / (size * size).max(1)).clamp(16, 256)
}

fn forward<E: Encoder>(
    encoder: &E,
    images: Vec<f32>,
    channels: usize,
    size: usize,
    device: &Device,
) -> Result<Features, EvalError> {
    let device = device.clone().without_autodiff();
    let y = encoder.forward(input::tensor(images, channels, size, &device));
    // Cannot fail: representations are f32.
    Features::new(encoder.dim(), y.into_data().try_into_vec::<f32>().unwrap_or_default())
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
    let values = prepare(&[set], &all, &plain, channels)?;
    Features::new(channels * transform.size * transform.size, values)
}

pub(crate) fn prepare(
    sets: &[&ImageDataset],
    rows: &[usize],
    transform: &EvalTransform,
    channels: usize,
) -> Result<Vec<f32>, DataError> {
    each_picture(sets, rows, channels, transform.output_len(channels), |_, pixels, (workspace, _), slot| {
        transform.apply(pixels, workspace, slot)
    })
}

/// Decodes pictures and lets `make` fill a slot of each, in parallel.
fn each_picture(
    sets: &[&ImageDataset],
    rows: &[usize],
    channels: usize,
    slot_len: usize,
    make: impl Fn(usize, Pixels<'_>, &mut (Workspace, ViewParams), &mut [f32]) -> Result<(), AugmentError> + Sync,
) -> Result<Vec<f32>, DataError> {
    let mut values = vec![0.0; rows.len() * slot_len];
    values
        .par_chunks_exact_mut(slot_len)
        .zip(rows)
        .map_init(Default::default, |state, (slot, &row)| {
            let (set, index) = place(sets, row)?;
            let fault = |e: &dyn std::fmt::Display| set.picture_error(index, e);
            let sample = set.sample(index)?;
            let picture = decode(sample.bytes(), channels, Limits::STANDARD).map_err(|e| fault(&e))?;
            let pixels =
                Pixels::new(&picture.data, picture.width, picture.height, channels).map_err(|e| fault(&e))?;
            make(row, pixels, state, slot).map_err(|e| fault(&e))
        })
        .collect::<Result<Vec<()>, DataError>>()?;
    Ok(values)
}

/// The set that has the picture of this number, where several come one after the other, and its
/// number there.
fn place<'a>(sets: &[&'a ImageDataset], row: usize) -> Result<(&'a ImageDataset, usize), DataError> {
    let mut left = row;
    for &set in sets {
        if left < set.len() {
            return Ok((set, left));
        }
        left -= set.len();
    }
    Err(DataError::Loader(format!("there is no picture {row}")))
}
