//! Resampling and blur as products with matrices, one for each picture and axis, whose values are computed
//! on the device from a few numbers a row.

use burn::tensor::{Int, Tensor};
use byol_augment::{Border, Filter, OpParams, Resample};

use super::colour::Colours;
use crate::TrainError;

/// What is cut out of a picture along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub start: usize,
    pub len: usize,
    pub mirrored: bool,
}

/// Positions 0 to n, `[1, 1, n]`.
fn positions(n: usize, colours: &Colours) -> Tensor<3> {
    Tensor::<1, Int>::arange(0..n as i64, &colours.device).float().reshape([1, 1, n])
}

/// Weights that take `source` positions to `size`, `[N, size, source]`: those of the CPU's `Taps`.
fn weights(
    axes: &[Axis],
    source: usize,
    size: usize,
    resample: Resample,
    gain: f32,
    colours: &Colours,
) -> Tensor<3> {
    let n = axes.len();
    let (mut centres, mut numbers) = (Vec::with_capacity(n * size), [const { Vec::new() }; 3]);
    for Axis { start, len, mirrored } in axes {
        let scale = *len as f64 / size as f64;
        let stretch = if resample.antialias { scale.max(1.0) } else { 1.0 };
        for i in 0..size {
            let at = if *mirrored { size - 1 - i } else { i };
            centres.push((*start as f64 + (at as f64 + 0.5) * scale - 0.5) as f32);
        }
        let [first, end, step] = &mut numbers;
        first.push(*start as f32 - 0.5);
        end.push((start + len) as f32 - 0.5);
        step.push((1.0 / stretch) as f32);
    }
    let [first, end, step] = numbers.map(|values| colours.values(values).reshape([n, 1, 1]));
    let centres = colours.values(centres).reshape([n, size, 1]);
    let positions = positions(source, colours);
    let inside = positions.clone().greater(first).float() * positions.clone().lower(end).float();
    let x = ((positions - centres) * step).abs();
    let weights = match resample.filter {
        // Keys' cubic convolution kernel, a = −0.5.
        Filter::Bicubic => {
            let x = x.clamp_max(2.0);
            let inner = (x.clone() * 1.5 - 2.5) * x.clone() * x.clone() + 1.0;
            let outer = ((x.clone() * -0.5 + 2.5) * x.clone() - 4.0) * x.clone() + 2.0;
            inner.mask_where(x.greater_equal_elem(1.0), outer)
        }
        Filter::Bilinear => (-x + 1.0).clamp_min(0.0),
    };
    let weights = weights * inside;
    let total = weights.clone().sum_dim(2);
    weights * (total.recip() * gain)
}

/// x with `along` applied to its columns, `[N, to, W]` each: `[N, C, H, W]` to `[N, C, H, to]`.
fn along_rows(x: Tensor<4>, along: Tensor<3>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let to = along.dims()[1];
    x.reshape([n, c * h, w]).matmul(along.swap_dims(1, 2)).reshape([n, c, h, to])
}

/// The same with its rows: `[N, C, H, W]` to `[N, C, to, W]`.
fn along_columns(x: Tensor<4>, along: Tensor<3>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let to = along.dims()[1];
    let rows = x.swap_dims(1, 2).reshape([n, h, c * w]);
    along.matmul(rows).reshape([n, to, c, w]).swap_dims(1, 2)
}

/// Crops, resized to a square.
pub(super) fn resized(
    pictures: Tensor<4>,
    x: &[Axis],
    y: &[Axis],
    size: usize,
    resample: Resample,
    colours: &Colours,
) -> Tensor<4> {
    let [_, _, height, width] = pictures.dims();
    let gain = if colours.torchvision { 1.0 } else { 1.0 / 255.0 };
    let across = along_rows(pictures, weights(x, width, size, resample, gain, colours));
    // torchvision rounds between the two axes.
    let across = if colours.torchvision { colours.finished(across) } else { across };
    colours.finished(along_columns(across, weights(y, height, size, resample, 1.0, colours)))
}

/// A Gaussian blur of pictures that have one; the others anyhow.
pub(super) fn blurred(
    x: Tensor<4>,
    drawn: &[Option<&OpParams>],
    colours: &Colours,
) -> Result<Tensor<4>, TrainError> {
    let [_, _, size, _] = x.dims();
    let n = drawn.len();
    let (mut falloffs, mut reaches, mut scales) = (Vec::new(), Vec::new(), Vec::new());
    let mut border = Border::Zero;
    for op in drawn {
        let (falloff, reach, scale) = match op {
            Some(OpParams::Blur { sigma, radius, border: b }) => {
                border = *b;
                kernel(*sigma, *radius, colours.torchvision)
            }
            _ => (-1.0, 0, 1.0),
        };
        if reach >= size {
            return Err(TrainError::Views(format!("a blur over {reach} pixels of a view of {size}")));
        }
        falloffs.push(falloff as f32);
        reaches.push(reach as f32 + 0.5);
        scales.push(scale as f32);
    }
    let [falloffs, reaches, scales] =
        [falloffs, reaches, scales].map(|values| colours.values(values).reshape([n, 1, 1]));
    let columns = positions(size, colours);
    let rows = columns.clone().swap_dims(1, 2);
    let taps = |distance: Tensor<3>| {
        let near = distance.clone().lower(reaches.clone()).float();
        (distance.square() * falloffs.clone()).exp() * near * scales.clone()
    };
    let mut weights = taps((rows.clone() - columns.clone()).abs());
    if border == Border::Reflect {
        // Position j is seen again at −j and at 2 (size − 1) − j, the edges themselves are not.
        let end = (size - 1) as f64;
        let upper = taps(rows.clone() + columns.clone()) * columns.clone().greater_elem(0.5).float();
        let lower = taps((-rows - columns.clone() + 2.0 * end).abs()) * columns.lower_elem(end - 0.5).float();
        weights = weights + upper + lower;
    }
    Ok(colours.finished(along_columns(along_rows(x, weights.clone()), weights)))
}

/// −1 / 2σ², the taps on a side that matter, and what they are multiplied by to sum to 1; as the CPU's.
fn kernel(sigma: f32, radius: usize, torchvision: bool) -> (f64, usize, f64) {
    let negligible = if torchvision { 5e-4 } else { 3e-5 };
    let falloff = -0.5 / (f64::from(sigma) * f64::from(sigma));
    let weight = |d: usize| (falloff * (d * d) as f64).exp();
    let total = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
    let (mut kept, mut left_out) = (radius, 0.0);
    while kept > 0 && left_out + 2.0 * weight(kept) < negligible * total {
        left_out += 2.0 * weight(kept);
        kept -= 1;
    }
    (falloff, kept, 1.0 / (total - left_out))
}
