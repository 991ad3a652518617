//! Gradient of the weights: products of input and gradient, summed over all pixels.

use rayon::prelude::*;

use super::pack::{most_pixels, vectors};
use super::tile::{Pixels, Sums, for_few_pixels, for_pixels};
use super::window::{Slab, Source, Window, tiles};
use super::{Shape, Shared};
use crate::isa::{Isa, Kernel, Path, run};

/// Floats of partial weight gradients at most.
const PARTIALS: usize = 4 << 20;
/// Result channels of the widest panel of weight gradients.
const WIDEST: usize = 32;
/// Tasks that a weight gradient is cut into at least, where it can be.
const TASKS: usize = 32;

/// Gradient of the weights `[out_c, in_c, kernel]`. Cut by images and panels in a way that
/// depends on the shape alone; the parts are added in their order.
pub(crate) fn weight_grad(path: Path, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    let window = shape.window().flattened();
    let vectors = vectors(path.lanes(), shape.out_c, usize::MAX);
    let width = vectors * path.lanes();
    let panel = window.rows * window.row_len() * width;
    let n_panels = shape.out_c.div_ceil(width);
    let slabs = window.slabs(shape.n);
    // By what the widest panel takes, so that every path adds the same parts.
    let padded = window.rows * window.row_len() * shape.out_c.next_multiple_of(WIDEST);
    let groups = (PARTIALS / padded.max(1)).clamp(1, TASKS.min(slabs.len().max(1)));
    let panels_each = n_panels.div_ceil(TASKS.div_ceil(groups)).max(1);
    let splits = n_panels.div_ceil(panels_each);
    let rows = tiles(window.row_len(), most_pixels(path.lanes(), vectors));
    let mut partials = vec![0.0f32; groups * n_panels * panel];
    let to = Shared(partials.as_mut_ptr());
    assert!(images.len() >= shape.n * window.in_len(), "images are shorter than their shape");
    assert!(dy.len() >= shape.n * window.out_h * window.out_w * shape.out_c, "gradients are shorter");
    (0..groups * splits).into_par_iter().for_each(|task| {
        let (group, split) = (task / splits, task % splits);
        let panels = split * panels_each..((split + 1) * panels_each).min(n_panels);
        let range = group * slabs.len() / groups..(group + 1) * slabs.len() / groups;
        for slab in &slabs[range] {
            window.with_source(images, slab, |source| {
                let partial = to.at(group * n_panels * panel);
                let kernel = Accumulate {
                    window: &window,
                    slab,
                    source,
                    dy: dy.as_ptr(),
                    panels: panels.clone(),
                    width,
                    rows: &rows,
                    to: Shared(partial),
                    vectors,
                };
                // SAFETY: each task writes panels of its own; the source covers the slab.
                unsafe { run(path, kernel) };
            });
        }
    });
    let (sum, rest) = partials.split_at_mut(n_panels * panel);
    sum.par_chunks_mut(4096).enumerate().for_each(|(i, sum)| {
        for part in rest.chunks_exact(n_panels * panel) {
            for (sum, x) in sum.iter_mut().zip(&part[i * 4096..]) {
                *sum += x;
            }
        }
    });
    shape.layout().unpack(sum, width)
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
                            for_pixels!(size, I, accumulate, [C, false], (pixels, sums));
                        } else {
                            for_pixels!(size, I, accumulate, [C, true], (pixels, sums));
                        }
                    }
                }
            }
        }
    }
}
