//! Gradient of the weights: of each tile, transformed pixels times transformed gradients of
//! results, summed over tiles.

use std::ops::Range;

use rayon::prelude::*;

use super::super::Shape;
use super::super::outer::{LINE, Outer, Packing, Partials, SAMPLES, Shares, clear, parts, with_scratch};
use super::super::pack::{most_pixels, vectors};
use super::plane::Plane;
use super::transform::{self, Row};
use super::{SIDE, STEP, Tiles, weights};
use crate::isa::{Factors, Isa, Kernel, Way, run};

/// Gradient of the weights `[out_c, in_c, 3, 3]`. Cut by tiles, rows of the transform and
/// panels in a way that depends on the shape alone; the parts are added in their order.
pub(in super::super) fn weight_grad(way: Way, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    let Shape { n, in_c, out_c, .. } = *shape;
    let [out_h, out_w] = shape.out();
    let from = Plane { h: shape.h, w: shape.w, c: in_c, origin: -(shape.padding as isize) };
    let of = Plane { h: out_h, w: out_w, c: out_c, origin: 0 };
    assert!(images.len() >= n * from.len(), "images are shorter than their shape");
    assert!(dy.len() >= n * of.len(), "gradients are shorter");
    let vectors = vectors(way.lanes(), out_c, usize::MAX);
    let width = vectors * way.lanes();
    let of_one = out_c.div_ceil(width) * in_c * width;
    let grid = Tiles::new(n, out_h, out_w);
    let blocks = grid.blocks(way.values(SAMPLES));
    let shares = Shares::new(SIDE * SIDE, [in_c, out_c], width, blocks.len(), SIDE);
    let parts = parts(most_pixels(way.lanes(), vectors));
    let mut partials = Partials::new(shares.groups, SIDE * SIDE * of_one);
    let to = partials.shared();
    let zeros = vec![0.0; in_c.max(out_c)];
    (0..shares.groups * SIDE * shares.splits).into_par_iter().for_each(|task| {
        let (group, row, split) =
            (task / (SIDE * shares.splits), task / shares.splits % SIDE, task % shares.splits);
        let panels = shares.panels(split);
        let to = to.at((group * SIDE + row) * SIDE * of_one);
        for t in 0..SIDE {
            // SAFETY: this task's row and panels.
            unsafe { clear(to.wrapping_add(t * of_one), panels, in_c * width) };
        }
        for block in &blocks[shares.blocks(group)] {
            let len = way.depth(block.len());
            let floats = Packing::new(len, LINE).floats(in_c);
            let all = SIDE * (floats + Packing::new(len, width).floats(out_c));
            with_scratch(all, |scratch| {
                let outer = Outer {
                    len,
                    in_c,
                    out_c,
                    width,
                    panels,
                    parts: &parts,
                    pixels: scratch,
                    gradients: scratch.wrapping_add(SIDE * floats),
                    to,
                };
                let gradients = scratch.wrapping_add(SIDE * floats);
                let block = block.clone();
                let zeros = &zeros;
                let kernel = Accumulate {
                    way,
                    grid,
                    block,
                    images,
                    from,
                    dy,
                    of,
                    zeros,
                    row,
                    outer,
                    pixels: scratch,
                    gradients,
                    vectors,
                };
                // SAFETY: each task has a row and panels of its own; scratch has room.
                unsafe { run(way, kernel) };
            });
        }
    });
    // SAFETY: the tasks cleared all of it.
    weights::unpack(way.path, unsafe { partials.total(way.path) }, in_c, out_c, width)
}

/// Products of a block in one row of the transform.
struct Accumulate<'a> {
    way: Way,
    grid: Tiles,
    block: Range<usize>,
    images: &'a [f32],
    from: Plane,
    dy: &'a [f32],
    of: Plane,
    zeros: &'a [f32],
    row: usize,
    outer: Outer<'a>,
    pixels: *mut f32,
    gradients: *mut f32,
    vectors: usize,
}

impl Kernel for Accumulate<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: passed on.
        unsafe {
            self.transforms::<I>();
            match self.vectors {
                1 => self.products::<I, 1>(),
                _ => self.products::<I, 2>(),
            }
        }
    }
}

impl Accumulate<'_> {
    fn packings(&self) -> [Packing; 2] {
        [LINE, self.outer.width].map(|wide| Packing::new(self.outer.len, wide))
    }

    #[inline(always)]
    unsafe fn transforms<I: Isa>(&self) {
        let (in_c, out_c, width) = (self.from.c, self.of.c, self.outer.width);
        let [of_pixels, of_gradients] = self.packings();
        // Only the channels of these panels.
        let first = self.outer.panels.0 * width;
        let cols = (self.outer.panels.1 * width).min(out_c) - first;
        let gradients_to = self.gradients.wrapping_add(of_gradients.at(0, first));
        let zeros = self.zeros.as_ptr();
        let row = self.row;
        let mut place = self.grid.at(self.block.start);
        for (sample, tile) in self.block.clone().step_by(self.way.values(1)).enumerate() {
            let to = Row { to: self.pixels, step: of_pixels.floats(in_c), packing: of_pixels, sample };
            let step = of_gradients.floats(out_c);
            let gradients_to = Row { to: gradients_to, step, packing: of_gradients, sample };
            let of = self.from.tile(self.images, place, self.zeros);
            let dy = self.of.results(self.dy, place, first, self.zeros);
            place = self.grid.after(place);
            // SAFETY: pixels and gradients are in the images or zeros, and scratch has room.
            unsafe {
                match self.way.factors {
                    Factors::Whole => {
                        transform::pixels_row::<I, false>(&of, row, in_c, to);
                        transform::gradients_row::<I, false>(&dy, zeros, row, cols, gradients_to);
                    }
                    Factors::Rounded => {
                        transform::pixels_row::<I, true>(&of, row, in_c, to);
                        transform::gradients_row::<I, true>(&dy, zeros, row, cols, gradients_to);
                    }
                    Factors::Pairs => {
                        let (mut next, mut next_dy) = ([[zeros; SIDE]; SIDE], [[zeros; STEP]; STEP]);
                        if tile + 1 < self.block.end {
                            next = self.from.tile(self.images, place, self.zeros);
                            next_dy = self.of.results(self.dy, place, first, self.zeros);
                            place = self.grid.after(place);
                        }
                        transform::pixels_row_paired::<I>([&of, &next], row, in_c, to);
                        transform::gradients_row_paired::<I>([&dy, &next_dy], zeros, row, cols, gradients_to);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn products<I: Isa, const C: usize>(&self) {
        let [of_pixels, of_gradients] = self.packings();
        let Outer { in_c, out_c, width, .. } = self.outer;
        for t in 0..SIDE {
            let outer = Outer {
                pixels: self.pixels.wrapping_add(t * of_pixels.floats(in_c)),
                gradients: self.gradients.wrapping_add(t * of_gradients.floats(out_c)),
                to: self.outer.to.wrapping_add(t * out_c.div_ceil(width) * in_c * width),
                ..self.outer
            };
            // SAFETY: the samples were written just now, the sums are this task's.
            unsafe { outer.add::<I, C>() };
        }
    }
}
