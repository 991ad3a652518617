//! The weights of a resampling, one axis.

use super::{larger, smaller};
use crate::kernels::LANES;
use crate::{Filter, Resample};

/// For each output position the first source position and `n` weights.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// First source position, by output position.
    pub starts: Vec<usize>,
    /// Which of the source positions that are needed at all the first one is.
    pub ordinals: Vec<usize>,
    weights: Vec<f32>,
    /// Weights of an output position.
    pub n: usize,
    /// Output positions, padded by copies of the last.
    stride: usize,
    offsets: Vec<f32>,
    totals: Vec<f32>,
    /// The same weights, those of one tap together: how they are computed.
    by_tap: Vec<f32>,
}

impl Taps {
    /// The weights of output position `i`.
    #[inline(always)]
    pub fn of(&self, i: usize) -> &[f32] {
        &self.weights[i * self.n..][..self.n]
    }

    /// Weights that take `source` positions to `size`, half-pixel centres. What
    /// would lie outside is left out and the rest scaled to sum to `gain`
    /// (TensorFlow's resize with `half_pixel_centers`, and Pillow's). Mirrored,
    /// the last output position comes first.
    #[inline(always)]
    pub fn fill(&mut self, source: usize, size: usize, resample: Resample, mirrored: bool, gain: f32) {
        let scale = source as f64 / size as f64;
        let stretch = if resample.antialias { scale.max(1.0) } else { 1.0 };
        let support = match resample.filter {
            Filter::Bicubic => 2.0,
            Filter::Bilinear => 1.0,
        };
        let reach = support * stretch;
        self.n = ((2.0 * reach).ceil() as usize).min(source);
        self.stride = size.next_multiple_of(LANES);
        let last_start = source - self.n;
        self.starts.clear();
        self.offsets.clear();
        for i in 0..self.stride {
            let i = i.min(size - 1);
            let at = if mirrored { size - 1 - i } else { i };
            let centre = (at as f64 + 0.5) * scale - 0.5;
            let first = (centre - reach).floor() + 1.0; // the first that is nearer than `reach`
            let first = (first.max(0.0) as usize).min(last_start);
            self.starts.push(first);
            self.offsets.push(((first as f64 - centre) / stretch) as f32);
        }
        let step = (1.0 / stretch) as f32;
        match resample.filter {
            Filter::Bicubic => self.weigh(step, gain, keys_cubic),
            Filter::Bilinear => self.weigh(step, gain, |x| larger(1.0 - x.abs(), 0.0)),
        }
    }

    #[inline(always)]
    fn weigh(&mut self, step: f32, gain: f32, kernel: impl Fn(f32) -> f32) {
        let (n, stride) = (self.n, self.stride);
        // No `clear` before `resize`: every value is written below.
        self.by_tap.resize(n * stride, 0.0);
        self.weights.resize(n * stride, 0.0);
        self.totals.clear();
        self.totals.resize(stride, 0.0);
        let (offsets, totals) = (&self.offsets[..stride], &mut self.totals[..stride]);
        for (t, weights) in self.by_tap.chunks_exact_mut(stride).enumerate() {
            let shift = t as f32 * step;
            for i in 0..stride {
                let weight = kernel(offsets[i] + shift);
                weights[i] = weight;
                totals[i] += weight;
            }
        }
        for total in totals.iter_mut() {
            *total = gain / *total;
        }
        for (t, by_tap) in self.by_tap.chunks_exact(stride).enumerate() {
            for i in 0..stride {
                self.weights[i * n + t] = by_tap[i] * totals[i];
            }
        }
    }

    /// Numbers the source positions that are needed, for [`ordinals`](Self::ordinals).
    /// Not for mirrored taps.
    #[inline(always)]
    pub fn number(&mut self, size: usize) {
        self.ordinals.clear();
        let (mut ordinal, mut previous) = (0, self.starts[0]);
        for &start in &self.starts[..size] {
            ordinal += (start - previous).min(self.n); // beyond n there is a gap
            previous = start;
            self.ordinals.push(ordinal);
        }
    }
}

/// Keys' cubic convolution kernel, a = −0.5.
#[inline(always)]
fn keys_cubic(x: f32) -> f32 {
    let x = smaller(x.abs(), 2.0);
    let inner = (1.5 * x - 2.5) * x * x + 1.0;
    let outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
    if x < 1.0 { inner } else { outer }
}
