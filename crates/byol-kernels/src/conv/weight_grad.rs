//! Gradient of the weights: products of input and gradient, summed over all pixels.

use rayon::prelude::*;

use super::outer::{Partials, Shares, clear};
use super::pack::{most_pixels, vectors};
use super::tile::{Pixels, Sums, accumulating};
use super::window::{Slab, Source, Window, tiles};
use super::{Shape, Shared, bf16};
use crate::isa::{Isa, Kernel, Way, run};

/// Gradient of the weights `[out_c, in_c, kernel]`. Cut by images and panels in a way that
/// depends on the shape alone; the parts are added in their order.
pub(crate) fn weight_grad(way: Way, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    if way.is_pairs() {
        // Two images in the place of one.
        let [out_h, out_w] = shape.out();
        let images = bf16::pairs(way, images, shape.h * shape.w * shape.in_c);
        let dy = bf16::pairs(way, dy, out_h * out_w * shape.out_c);
        let shape = Shape { n: shape.n.div_ceil(2), ..*shape };
        sum(way, &shape, &images, &dy)
    } else {
        sum(way, shape, images, dy)
    }
}

/// Of images of factors.
fn sum(way: Way, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    let as_they_are = Way::from(way.path);
    let window = shape.window(as_they_are).flattened();
    let vectors = vectors(way.lanes(), shape.out_c, usize::MAX);
    let width = vectors * way.lanes();
    let panel = window.rows * window.row_len() * width;
    let n_panels = shape.out_c.div_ceil(width);
    let slabs = window.slabs(shape.n);
    let taps = shape.kernel[0] * shape.kernel[1];
    let shares = Shares::new(taps, [shape.in_c, shape.out_c], width, slabs.len(), 1);
    let rows = tiles(window.row_len(), most_pixels(way.lanes(), vectors));
    let mut partials = Partials::new(shares.groups, n_panels * panel);
    let to = partials.shared();
    assert!(images.len() >= shape.n * window.in_len(), "images are shorter than their shape");
    assert!(dy.len() >= shape.n * window.out_h * window.out_w * shape.out_c, "gradients are shorter");
    (0..shares.groups * shares.splits).into_par_iter().for_each(|task| {
        let (group, split) = (task / shares.splits, task % shares.splits);
        let (first, last) = shares.panels(split);
        let partial = to.at(group * n_panels * panel);
        // SAFETY: this task's panels.
        unsafe { clear(partial, (first, last), panel) };
        for slab in &slabs[shares.blocks(group)] {
            window.with_source(as_they_are, images, slab, |source| {
                let kernel = Accumulate {
                    window: &window,
                    slab,
                    source,
                    dy: dy.as_ptr(),
                    panels: first..last,
                    width,
                    rows: &rows,
                    to: Shared(partial),
                    vectors,
                };
                // SAFETY: each task writes panels of its own; the source covers the slab.
                unsafe { run(way, kernel) };
            });
        }
    });
    // SAFETY: the tasks cleared all of it.
    shape.layout().unpack(unsafe { partials.total(way.path) }, width)
}

struct Accumulate<'a> {
    window: &'a Window,
    slab: &'a Slab,
    source: Source,
    dy: *const f32,
    panels: std::ops::Range<usize>,
    width: usize,
    rows: &'a [(usize, usize)],
    to: Shared,
    vectors: usize,
}

impl Kernel for Accumulate<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: passed on.
        unsafe {
            match self.vectors {
                1 => self.all::<I, 1>(),
                _ => self.all::<I, 2>(),
            }
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    unsafe fn all<I: Isa, const C: usize>(self) {
        let Self { window, slab, source, dy, panels, width, rows, to, .. } = self;
        let (row, len) = (window.out_w * window.out_c, window.row_len());
        let pixels = Pixels {
            images: slab.images.len(),
            ys: slab.ys.len(),
            xs: window.out_w,
            x: [source.image, window.step * source.row, window.step * window.in_c],
            dy: [window.out_h * row, row, window.out_c],
        };
        let first = slab.images.start * window.out_h * row + slab.ys.start * row;
        for panel in panels {
            let channel = panel * width;
            let cols = (window.out_c - channel).min(width);
            let dy = dy.wrapping_add(first + channel);
            for r in 0..window.rows {
                for &(k, size) in rows {
                    let x = source.base.wrapping_add(r * source.row + k);
                    let to = to.at(((panel * window.rows + r) * len + k) * width);
                    let sums = Sums { x, dy, cols, to };
                    // SAFETY: k and size lie within a row of the window, the rest within the slab.
                    unsafe {
                        if cols == width {
                            (accumulating::<I, C, false>(size))(pixels, sums);
                        } else {
                            (accumulating::<I, C, true>(size))(pixels, sums);
                        }
                    }
                }
            }
        }
    }
}
