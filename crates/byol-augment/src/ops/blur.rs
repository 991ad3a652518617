//! Separable Gaussian blur on a strip of rows that stays in cache.

#![allow(
    clippy::needless_range_loop,
    reason = "plain loops over lanes and taps stay within the instruction set"
)]

use super::{lanes, lanes_mut, reflect};
use crate::Border;
use crate::kernels::{Buffer, Isa, LANES};

/// Rows that the window holds beyond those that one output row needs.
const SPARE_ROWS: usize = 32;

/// What a blur keeps from view to view.
#[derive(Debug, Default)]
pub(crate) struct BlurBuffers {
    kernel: Vec<f32>,
    padded: Buffer,
    window: Buffer,
}

/// A blur of planes in place, row by row from the top.
///
/// Rows are blurred along themselves into a window, with as many rows of border
/// before the first and behind the last as the kernel reaches; what is weighed
/// together lies together, as in the resampling.
pub(crate) struct Blurrer<'a> {
    buffers: &'a mut BlurBuffers,
    width: usize,
    height: usize,
    channels: usize,
    border: Border,
    /// Taps on each side that matter.
    radius: usize,
    n_strips: usize,
    strip_len: usize,
    capacity: usize,
    /// Rows made so far, those of the upper border counted, and the window's first.
    made: usize,
    origin: usize,
}

/// Calls a method with the radius as a constant where it is a small one.
macro_rules! by_radius {
    ($radius:expr, $self:ident.$method:ident::<$($generic:tt),*>($($argument:expr),*)) => {
        match $radius {
            1 => $self.$method::<$($generic,)* 1>($($argument),*),
            2 => $self.$method::<$($generic,)* 2>($($argument),*),
            3 => $self.$method::<$($generic,)* 3>($($argument),*),
            4 => $self.$method::<$($generic,)* 4>($($argument),*),
            5 => $self.$method::<$($generic,)* 5>($($argument),*),
            6 => $self.$method::<$($generic,)* 6>($($argument),*),
            7 => $self.$method::<$($generic,)* 7>($($argument),*),
            _ => $self.$method::<$($generic,)* 0>($($argument),*),
        }
    };
}

impl<'a> Blurrer<'a> {
    /// Of 2 · radius + 1 taps with weights exp(−d² / 2σ²) that sum to 1. Taps at
    /// the end that together weigh less than 3e-5 (torchvision's semantics: 5e-4,
    /// an eighth of a level) are left out.
    #[inline(always)]
    pub fn new<const TV: bool>(
        buffers: &'a mut BlurBuffers,
        [width, height]: [usize; 2],
        channels: usize,
        radius: usize,
        sigma: f32,
        border: Border,
    ) -> Self {
        let radius = fill_kernel(&mut buffers.kernel, radius, sigma, if TV { 5e-4 } else { 3e-5 });
        let capacity = 2 * radius + 1 + SPARE_ROWS;
        let (n_strips, strip_len) = (width.div_ceil(LANES), (capacity + 1) * LANES);
        buffers.padded.grow(n_strips * LANES + 2 * radius);
        buffers.window.grow(channels * n_strips * strip_len);
        Self {
            buffers,
            width,
            height,
            channels,
            border,
            radius,
            n_strips,
            strip_len,
            capacity,
            made: 0,
            origin: 0,
        }
    }

    /// Row `y` of planes `stride` values apart, in place. Rows come in order.
    #[inline(always)]
    pub fn row<I: Isa, const TV: bool>(&mut self, y: usize, planes: &mut [f32], stride: usize) {
        if self.radius == 0 {
            return; // one tap of weight 1
        }
        while self.made < y + 2 * self.radius + 1 {
            self.make_row::<I>(y, planes, stride);
        }
        by_radius!(self.radius, self.weigh_rows::<I, TV>(y, planes, stride));
    }

    #[inline(always)]
    fn weigh_rows<I: Isa, const TV: bool, const R: usize>(
        &self,
        y: usize,
        planes: &mut [f32],
        stride: usize,
    ) {
        let radius = if R == 0 { self.radius } else { R };
        let (kernel, window) = (&self.buffers.kernel[..=radius], &self.buffers.window[..]);
        let mut held = [I::splat(0.0); R];
        for d in 0..R {
            held[d] = I::splat(kernel[d + 1]);
        }
        let at = (y - self.origin) * LANES;
        for c in 0..self.channels {
            let out = &mut planes[c * stride + y * self.width..][..self.width];
            for (g, out) in out.chunks_mut(LANES).enumerate() {
                let from = (c * self.n_strips + g) * self.strip_len + at;
                let rows = &window[from..][..(2 * radius + 1) * LANES];
                let mut sum = I::mul(I::splat(kernel[0]), I::load(lanes(rows, radius * LANES)));
                for d in 1..=radius {
                    let above = I::load(lanes(rows, (radius - d) * LANES));
                    let below = I::load(lanes(rows, (radius + d) * LANES));
                    let weight = if R == 0 { I::splat(kernel[d]) } else { held[d - 1] };
                    sum = I::mul_add(weight, I::add(above, below), sum);
                }
                let sum = I::finish::<TV>(sum);
                if let Some(out) = out.first_chunk_mut() {
                    I::store(sum, out);
                } else {
                    let mut values = [0.0; LANES];
                    I::store(sum, &mut values);
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = value;
                    }
                }
            }
        }
    }

    /// The next row into the window, for which output row `y` waits.
    #[inline(always)]
    fn make_row<I: Isa>(&mut self, y: usize, planes: &[f32], stride: usize) {
        if self.made - self.origin == self.capacity {
            let kept = (y - self.origin) * LANES..self.capacity * LANES;
            for strip in
                self.buffers.window.chunks_exact_mut(self.strip_len).take(self.channels * self.n_strips)
            {
                strip.copy_within(kept.clone(), 0);
            }
            self.origin = y;
        }
        let at = self.made as isize - self.radius as isize;
        let inside = reflect(at, self.height);
        let beyond = inside as isize != at;
        if beyond && self.border == Border::Zero {
            for strip in
                self.buffers.window.chunks_exact_mut(self.strip_len).take(self.channels * self.n_strips)
            {
                strip[(self.made - self.origin) * LANES..][..LANES].fill(0.0);
            }
        } else if beyond && at > 0 {
            // Below: a row that the window still has; the plane's is blurred by now.
            let from = (inside + self.radius - self.origin) * LANES;
            for strip in
                self.buffers.window.chunks_exact_mut(self.strip_len).take(self.channels * self.n_strips)
            {
                strip.copy_within(from..from + LANES, (self.made - self.origin) * LANES);
            }
        } else {
            by_radius!(self.radius, self.weigh_along::<I>(inside, planes, stride));
        }
        self.made += 1;
    }

    /// Row `y` of the planes, blurred along itself, into the window.
    #[inline(always)]
    fn weigh_along<I: Isa, const R: usize>(&mut self, y: usize, planes: &[f32], stride: usize) {
        let (width, radius) = (self.width, if R == 0 { self.radius } else { R });
        let BlurBuffers { kernel, padded, window } = &mut *self.buffers;
        let (kernel, padded, window) = (&kernel[..=radius], &mut padded[..], &mut window[..]);
        let mut held = [I::splat(0.0); R];
        for d in 0..R {
            held[d] = I::splat(kernel[d + 1]);
        }
        let at = (self.made - self.origin) * LANES;
        for c in 0..self.channels {
            let row = &planes[c * stride + y * width..][..width];
            padded[radius..radius + width].copy_from_slice(row);
            for d in 1..=radius {
                let (left, right) = match self.border {
                    Border::Zero => (0.0, 0.0),
                    Border::Reflect => {
                        (row[reflect(-(d as isize), width)], row[reflect((width - 1 + d) as isize, width)])
                    }
                };
                padded[radius - d] = left;
                padded[radius + width - 1 + d] = right;
            }
            for g in 0..self.n_strips {
                let near = &padded[g * LANES..][..LANES + 2 * radius];
                let mut sum = I::mul(I::splat(kernel[0]), I::load(lanes(near, radius)));
                for d in 1..=radius {
                    let (left, right) = (I::load(lanes(near, radius - d)), I::load(lanes(near, radius + d)));
                    let weight = if R == 0 { I::splat(kernel[d]) } else { held[d - 1] };
                    sum = I::mul_add(weight, I::add(left, right), sum);
                }
                let to = (c * self.n_strips + g) * self.strip_len + at;
                I::store(sum, lanes_mut(window, to));
            }
        }
    }
}

/// Half of the kernel, from the middle; returns the taps on a side.
#[inline(always)]
fn fill_kernel(kernel: &mut Vec<f32>, radius: usize, sigma: f32, negligible: f64) -> usize {
    let falloff = -0.5 / (f64::from(sigma) * f64::from(sigma));
    let weight = |d: usize| libm::exp(falloff * (d * d) as f64);
    let total = 1.0 + 2.0 * (1..=radius).map(weight).sum::<f64>();
    let mut kept = radius;
    let mut left_out = 0.0;
    while kept > 0 && left_out + 2.0 * weight(kept) < negligible * total {
        left_out += 2.0 * weight(kept);
        kept -= 1;
    }
    kernel.clear();
    kernel.extend((0..=kept).map(|d| (weight(d) / (total - left_out)) as f32));
    kept
}
