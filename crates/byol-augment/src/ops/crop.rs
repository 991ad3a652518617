//! Crop and resize in one: separable, rows first.

use crate::{CropBox, Filter, Pixels, Resample, Workspace};

/// For each output position the first source position and the weights.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    starts: Vec<usize>,
    ends: Vec<usize>,
    weights: Vec<f32>,
}

impl Taps {
    fn of(&self, i: usize) -> (usize, &[f32]) {
        let from = if i == 0 { 0 } else { self.ends[i - 1] };
        (self.starts[i], &self.weights[from..self.ends[i]])
    }

    /// Weights that take `source` positions to `size`, half-pixel centres. What
    /// would lie outside of the crop is left out and the rest scaled to sum to 1
    /// (TensorFlow's resize with `half_pixel_centers`, and Pillow's).
    fn fill(&mut self, source: usize, size: usize, resample: Resample) {
        self.starts.clear();
        self.ends.clear();
        self.weights.clear();
        let scale = source as f64 / size as f64;
        let (kernel, support): (fn(f64) -> f64, f64) = match resample.filter {
            Filter::Bicubic => (keys_cubic, 2.0),
            Filter::Bilinear => (|x| (1.0 - x.abs()).max(0.0), 1.0),
        };
        let stretch = if resample.antialias { scale.max(1.0) } else { 1.0 };
        for i in 0..size {
            let centre = (i as f64 + 0.5) * scale - 0.5;
            let first = (centre - support * stretch).ceil().max(0.0) as usize;
            let last = (centre + support * stretch).floor().min(source as f64 - 1.0) as usize;
            let weight = |at: usize| kernel((at as f64 - centre) / stretch);
            let total: f64 = (first..=last).map(weight).sum();
            self.starts.push(first);
            self.weights.extend((first..=last).map(|at| (weight(at) / total) as f32));
            self.ends.push(self.weights.len());
        }
    }
}

/// Keys' cubic convolution kernel, a = −0.5.
fn keys_cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Writes the crop, resized to `size` x `size`, to `view` as planes in [0, 1].
pub(crate) fn crop_resize(
    pixels: Pixels<'_>,
    crop: CropBox,
    resample: Resample,
    size: usize,
    workspace: &mut Workspace,
    view: &mut [f32],
) {
    let Workspace { rows, taps_x, taps_y, .. } = workspace;
    taps_x.fill(crop.width, size, resample);
    taps_y.fill(crop.height, size, resample);
    let shape = pixels.shape();
    let channels = shape.channels;
    // Rows of the crop, resized horizontally: [channel][row][size].
    rows.clear();
    rows.resize(channels * crop.height * size, 0.0);
    for y in 0..crop.height {
        let start = ((crop.y + y) * shape.width + crop.x) * channels;
        let source = &pixels.data()[start..start + crop.width * channels];
        for c in 0..channels {
            let out = &mut rows[(c * crop.height + y) * size..][..size];
            for (i, value) in out.iter_mut().enumerate() {
                let (first, weights) = taps_x.of(i);
                let taps = source[first * channels + c..].iter().step_by(channels);
                *value = weights.iter().zip(taps).map(|(w, &x)| w * f32::from(x)).sum::<f32>() / 255.0;
            }
        }
    }
    for (plane, source) in view.chunks_exact_mut(size * size).zip(rows.chunks_exact(crop.height * size)) {
        for (i, out) in plane.chunks_exact_mut(size).enumerate() {
            let (first, weights) = taps_y.of(i);
            out.fill(0.0);
            for (row, &weight) in source[first * size..].chunks_exact(size).zip(weights) {
                for (o, x) in out.iter_mut().zip(row) {
                    *o += weight * x;
                }
            }
            for o in out {
                *o = o.clamp(0.0, 1.0); // the cubic overshoots
            }
        }
    }
}
