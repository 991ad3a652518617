//! Gradient of the weights where there are enough channels: one place of the window after the
//! other, input times gradient summed over all pixels.

use std::ops::Range;

use rayon::prelude::*;

use super::Shape;
use super::outer::{
    LINE, Outer, Packing, Partials, SAMPLES, Shares, clear, pack, pack_pairs, parts, with_scratch,
};
use super::pack::{most_pixels, vectors};
use super::window::tiles;
use crate::isa::{Isa, Kernel, Way, run};

/// Gradient of the weights `[out_c, in_c, kernel]`. Cut by pixels and panels in a way that
/// depends on the shape alone; the parts are added in their order.
pub(super) fn weight_grad(way: Way, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    let Shape { n, h, w, in_c, out_c, .. } = *shape;
    let ([out_h, out_w], taps) = (shape.out(), shape.kernel[0] * shape.kernel[1]);
    assert!(images.len() >= n * h * w * in_c, "images are shorter than their shape");
    assert!(dy.len() >= n * out_h * out_w * out_c, "gradients are shorter");
    let vectors = vectors(way.lanes(), out_c, usize::MAX);
    let width = vectors * way.lanes();
    let of_one = out_c.div_ceil(width) * in_c * width;
    let blocks = tiles(n * out_h * out_w, way.values(SAMPLES));
    let shares = Shares::new(taps, [in_c, out_c], width, blocks.len(), 1);
    let parts = parts(most_pixels(way.lanes(), vectors));
    let mut partials = Partials::new(shares.groups, taps * of_one);
    let to = partials.shared();
    let zeros = vec![0.0; in_c.max(out_c)];
    (0..shares.groups * shares.splits).into_par_iter().for_each(|task| {
        let (group, split) = (task / shares.splits, task % shares.splits);
        let panels = shares.panels(split);
        let to = to.at(group * taps * of_one);
        for tap in 0..taps {
            // SAFETY: this task's panels.
            unsafe { clear(to.wrapping_add(tap * of_one), panels, in_c * width) };
        }
        for &(start, samples) in &blocks[shares.blocks(group)] {
            let len = way.depth(samples);
            let floats = Packing::new(len, LINE).floats(in_c);
            let all = floats + Packing::new(len, width).floats(out_c);
            with_scratch(all, |scratch| {
                let gradients = scratch.wrapping_add(floats);
                let outer =
                    Outer { len, in_c, out_c, width, panels, parts: &parts, pixels: scratch, gradients, to };
                let (block, zeros) = (start..start + samples, &zeros);
                let kernel = Accumulate {
                    way,
                    shape,
                    out: [out_h, out_w],
                    block,
                    images,
                    dy,
                    zeros,
                    outer,
                    of_one,
                    pixels: scratch,
                    gradients,
                    vectors,
                };
                // SAFETY: each task has panels of its own; scratch has room.
                unsafe { run(way, kernel) };
            });
        }
    });
    // SAFETY: the tasks cleared all of it.
    unpack(unsafe { partials.total(way.path) }, taps, in_c, out_c, width)
}

/// `[out_c][in_c][tap]` out of `[tap][panel][in_c][result channel of the panel]`.
fn unpack(sums: &[f32], taps: usize, in_c: usize, out_c: usize, width: usize) -> Vec<f32> {
    let panel = in_c * width;
    let of_one = out_c.div_ceil(width) * panel;
    let len = out_c * in_c * taps;
    let mut weights = Vec::with_capacity(len);
    let to = &mut weights.spare_capacity_mut()[..len];
    to.par_chunks_mut(width * in_c * taps).enumerate().for_each(|(p, to)| {
        // A line of input channels at a time, so that both sides stay in the cache.
        for first in (0..in_c).step_by(LINE) {
            let lines = first..(first + LINE).min(in_c);
            for (o, to) in to.chunks_exact_mut(in_c * taps).enumerate() {
                for tap in 0..taps {
                    let from = &sums[tap * of_one + p * panel..][..panel];
                    for i in lines.clone() {
                        to[i * taps + tap].write(from[i * width + o]);
                    }
                }
            }
        }
    });
    // SAFETY: every channel of every panel was written.
    unsafe { weights.set_len(len) };
    weights
}

/// Products of a block of pixels of the results.
struct Accumulate<'a> {
    way: Way,
    shape: &'a Shape,
    /// Height and width of the results.
    out: [usize; 2],
    block: Range<usize>,
    images: &'a [f32],
    dy: &'a [f32],
    zeros: &'a [f32],
    outer: Outer<'a>,
    of_one: usize,
    pixels: *mut f32,
    gradients: *mut f32,
    vectors: usize,
}

impl Kernel for Accumulate<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Shape { in_c, out_c, .. } = *self.shape;
        let Outer { len, width, panels, .. } = self.outer;
        let [of_pixels, of_gradients] = [Packing::new(len, LINE), Packing::new(len, width)];
        // Only the channels of these panels.
        let first = panels.0 * width;
        let cols = (panels.1 * width).min(out_c) - first;
        let to = self.gradients.wrapping_add(of_gradients.at(0, first));
        let zeros = self.zeros.as_ptr();
        let gradients = |pixel: usize| self.dy[pixel * out_c + first..][..cols].as_ptr();
        for (sample, pixel) in self.block.clone().step_by(self.way.values(1)).enumerate() {
            let from = gradients(pixel);
            // SAFETY: as many channels, and scratch has room.
            unsafe {
                if self.way.is_pairs() {
                    let next = if pixel + 1 < self.block.end { gradients(pixel + 1) } else { zeros };
                    pack_pairs::<I>([from, next], cols, to, of_gradients, sample);
                } else {
                    pack::<I>(from, cols, to, of_gradients, sample);
                }
            }
        }
        for tap in 0..self.shape.kernel[0] * self.shape.kernel[1] {
            let of_window = [tap / self.shape.kernel[1], tap % self.shape.kernel[1]];
            let mut place = self.place(self.block.start);
            for (sample, pixel) in self.block.clone().step_by(self.way.values(1)).enumerate() {
                let from = self.source(place, of_window);
                place = self.after(place);
                // SAFETY: a pixel's channels or as many zeros, and scratch has room.
                unsafe {
                    if self.way.is_pairs() {
                        let mut next = zeros;
                        if pixel + 1 < self.block.end {
                            next = self.source(place, of_window);
                            place = self.after(place);
                        }
                        pack_pairs::<I>([from, next], in_c, self.pixels, of_pixels, sample);
                    } else {
                        pack::<I>(from, in_c, self.pixels, of_pixels, sample);
                    }
                }
            }
            let outer = Outer { to: self.outer.to.wrapping_add(tap * self.of_one), ..self.outer };
            // SAFETY: the samples were packed just now, the sums are this task's.
            unsafe {
                match self.vectors {
                    1 => outer.add::<I, 1>(),
                    _ => outer.add::<I, 2>(),
                }
            }
        }
    }
}

impl Accumulate<'_> {
    /// Image, row and column of a result.
    fn place(&self, pixel: usize) -> [usize; 3] {
        let [out_h, out_w] = self.out;
        let (image, of) = (pixel / (out_h * out_w), pixel % (out_h * out_w));
        [image, of / out_w, of % out_w]
    }

    /// The next: a division takes as long as some vectors do.
    #[inline(always)]
    fn after(&self, [image, y, x]: [usize; 3]) -> [usize; 3] {
        let [out_h, out_w] = self.out;
        match (y + 1 < out_h, x + 1 < out_w) {
            (_, true) => [image, y, x + 1],
            (true, _) => [image, y + 1, 0],
            _ => [image + 1, 0, 0],
        }
    }

    /// Input below row and column `[r, s]` of the window of a result.
    #[inline(always)]
    fn source(&self, [image, y, x]: [usize; 3], [r, s]: [usize; 2]) -> *const f32 {
        let Shape { h, w, in_c, stride, padding, .. } = *self.shape;
        // Below zero wraps to what is far outside.
        let y = (y * stride + r).wrapping_sub(padding);
        let x = (x * stride + s).wrapping_sub(padding);
        if y < h && x < w {
            self.images[((image * h + y) * w + x) * in_c..][..in_c].as_ptr()
        } else {
            self.zeros.as_ptr()
        }
    }
}
