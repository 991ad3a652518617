//! Operations on whole square planes: those that move pixels about, and noise.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::{clip, rounded, top};
use crate::CropBox;

/// Mirrors every row.
pub(crate) fn mirror_x(plane: &mut [f32], size: usize) {
    for row in plane.chunks_exact_mut(size) {
        row.reverse();
    }
}

/// Mirrors every column.
pub(crate) fn mirror_y(plane: &mut [f32], size: usize) {
    for y in 0..size / 2 {
        let (above, below) = plane.split_at_mut((size - 1 - y) * size);
        above[y * size..][..size].swap_with_slice(&mut below[..size]);
    }
}

/// Turns counter-clockwise by right angles.
pub(crate) fn right_angle(plane: &mut [f32], size: usize, quarter_turns: u8, scratch: &mut Vec<f32>) {
    scratch.clear();
    scratch.extend_from_slice(plane);
    let end = size - 1;
    for y in 0..size {
        for x in 0..size {
            let (from_x, from_y) = match quarter_turns % 4 {
                0 => (x, y),
                1 => (end - y, x),
                2 => (end - x, end - y),
                _ => (y, end - x),
            };
            plane[y * size + x] = scratch[from_y * size + from_x];
        }
    }
}

/// Turns counter-clockwise about the centre, bilinear; outside lies `fill`. Where
/// a pixel is covered in part, torchvision weighs the picture by the cover twice.
pub(crate) fn rotate<const TV: bool>(
    plane: &mut [f32],
    size: usize,
    degrees: f32,
    fill: f32,
    scratch: &mut Vec<f32>,
) {
    scratch.clear();
    scratch.extend_from_slice(plane);
    let angle = f64::from(degrees).to_radians();
    let (sin, cos) = (libm::sin(angle), libm::cos(angle));
    let (centre, fill) = ((size as f64 - 1.0) / 2.0, f64::from(fill * top::<TV>()));
    for y in 0..size {
        for x in 0..size {
            let (right, down) = (x as f64 - centre, y as f64 - centre);
            let from_x = cos * right - sin * down + centre;
            let from_y = sin * right + cos * down + centre;
            let (left, above) = (from_x.floor(), from_y.floor());
            let (dx, dy) = (from_x - left, from_y - above);
            let (mut sum, mut cover) = (0.0, 0.0);
            for (j, wy) in [(0, 1.0 - dy), (1, dy)] {
                for (i, wx) in [(0, 1.0 - dx), (1, dx)] {
                    let (i, j) = (left as i64 + i, above as i64 + j);
                    if (0..size as i64).contains(&i) && (0..size as i64).contains(&j) {
                        sum += wx * wy * f64::from(scratch[j as usize * size + i as usize]);
                        cover += wx * wy;
                    }
                }
            }
            let picture = if TV { sum * cover } else { sum };
            plane[y * size + x] = rounded::<TV>(clip::<TV>((picture + (1.0 - cover) * fill) as f32));
        }
    }
}

/// Adds Gaussian noise of standard deviation `sigma` (in [0, 1]) to planes of
/// `n` values; torchvision cuts the noise to whole levels.
pub(crate) fn noise<'a, const TV: bool>(planes: impl Iterator<Item = &'a mut [f32]>, sigma: f32, seed: u64) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let sigma = sigma * top::<TV>();
    for plane in planes {
        for x in plane {
            let normal: f32 = StandardNormal.sample(&mut generator);
            let noise = normal * sigma;
            *x = clip::<TV>(*x + if TV { noise.trunc() } else { noise });
        }
    }
}

/// Paints over a rectangle, cut to the plane.
pub(crate) fn erase<const TV: bool>(plane: &mut [f32], size: usize, area: CropBox, value: f32) {
    let value = rounded::<TV>(clip::<TV>(value * top::<TV>()));
    let (left, right) = (area.x.min(size), area.x.saturating_add(area.width).min(size));
    for row in plane.chunks_exact_mut(size).skip(area.y).take(area.height) {
        row[left..right].fill(value);
    }
}
