//! Features of pictures.

use burn::tensor::{Device, Tensor};
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

/// The same, batch by batch to `each` with the numbers of its pictures: memory is that of a
/// batch (at most 256 prepared pictures and what the encoder makes of them; on a GPU another is
/// prepared meanwhile), however many pictures there are.
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
    each: impl FnMut(&[usize], &Features) -> Result<(), F>,
) -> Result<(), F> {
    let encoder = encoder.valid();
    let images = |some: &[usize]| prepare(&[set], some, transform, channels);
    let y = |images| forward(&encoder, images, channels, transform.size, device);
    batches(pictures.chunks(pictures_at_once(transform.size)), images, y, each)
}

/// Features of each batch, read after the next has been prepared: a GPU computes meanwhile.
fn batches<'a, F: From<EvalError>>(
    rows: impl Iterator<Item = &'a [usize]>,
    images: impl Fn(&[usize]) -> Result<Vec<f32>, DataError>,
    y: impl Fn(Vec<f32>) -> Tensor<2>,
    mut each: impl FnMut(&[usize], &Features) -> Result<(), F>,
) -> Result<(), F> {
    let mut read = |(some, y): (&[usize], Tensor<2>)| {
        let [_, dim] = y.dims();
        // Cannot fail: representations are f32.
        each(some, &Features::new(dim, y.into_data().try_into_vec::<f32>().unwrap_or_default())?)
    };
    let mut computed = None;
    for some in rows {
        let images = images(some).map_err(|error| F::from(EvalError::from(error)))?;
        if let Some(before) = computed.replace((some, y(images))) {
            read(before)?;
        }
    }
    computed.map_or(Ok(()), read)
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
    let images = |some: &[usize]| views(sets, some, policy, keys, channels);
    let y = |images| forward(&encoder, images, channels, policy.size, device);
    batches(rows.chunks(pictures_at_once(policy.size)), images, y, |_, features| {
        values.extend_from_slice(features.values());
        Ok::<(), EvalError>(())
    })?;
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

/// As many pictures of that side as an encoder is given at once: they have the pixels of 256 of 64 x 64.
pub fn pictures_at_once(size: usize) -> usize {
    (256 * 64 * 64 / (size * size).max(1)).clamp(16, 256)
}

fn forward<E: Encoder>(
    encoder: &E,
    images: Vec<f32>,
    channels: usize,
    size: usize,
    device: &Device,
) -> Tensor<2> {
    let device = device.clone().without_autodiff();
    encoder.forward(input::tensor(images, channels, size, &device))
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

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::pictures::{as_they_are, set};

    /// The first pixels.
    #[derive(Module, Debug)]
    struct First {
        dim: usize,
    }

    impl Encoder for First {
        fn forward(&self, images: Tensor<4>) -> Tensor<2> {
            let [n, ..] = images.dims();
            images.reshape([n, 16]).narrow(1, 0, self.dim)
        }

        fn dim(&self) -> usize {
            self.dim
        }
    }

    /// Three batches, of which the last is smaller, and an order that is not theirs.
    #[test]
    fn features_are_their_pictures_in_whichever_batch() {
        let n = 2 * pictures_at_once(4) + 38;
        let pictures: Vec<Vec<u8>> = (0..n)
            .map(|i| (0..16).map(|k| if k == 0 { i as u8 } else { (i >> 8) as u8 }).collect())
            .collect();
        let set = set(&pictures, &vec![0; n]);
        let (policy, transform) = as_they_are();
        let (encoder, device) = (First { dim: 2 }, Device::flex());
        let numbers = |features: &Features| -> Vec<usize> {
            let level = |x: f32| (x * 255.0).round() as usize;
            features.values().chunks_exact(2).map(|y| level(y[0]) + 256 * level(y[1])).collect()
        };
        let order: Vec<usize> = (0..n).rev().collect();
        let mut done = Vec::new();
        let all = extract(&encoder, &set, &transform, 1, &device, |n| done.push(n)).unwrap();
        assert_eq!(numbers(&all), (0..n).collect::<Vec<_>>());
        assert_eq!(done, [256, 512, n]);
        let turned = extract_some(&encoder, &set, &order, &transform, 1, &device, |_| ()).unwrap();
        assert_eq!(numbers(&turned), order);
        let views = extract_views(&encoder, &[&set], &order, &policy, [1, 2], 1, &device).unwrap();
        assert_eq!(numbers(&views), order);
        extract_each(&encoder, &set, &order, &transform, 1, &device, |some, features| {
            assert_eq!(numbers(features), some);
            Ok::<(), EvalError>(())
        })
        .unwrap();
        assert!(extract_some(&encoder, &set, &[0, n], &transform, 1, &device, |_| ()).is_err());
    }
}
