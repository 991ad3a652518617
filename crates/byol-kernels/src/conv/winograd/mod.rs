//! 3×3 windows of stride 1 by minimal filtering, F(2×2, 3×3) (Winograd 1980; Lavin and Gray
//! 2016): 4×4 pixels and the window are transformed, multiplied value by value, summed over
//! channels, and transformed back to 2×2 results, with 16 products in the place of 36.
//!
//! A block of tiles at a time: transformed pixels `[16][tile][channel]`, sixteen products of
//! matrices by the tiles of `conv/tile.rs`, results. The gradient of the weights has the same
//! products, the other way round. Where channels are few, rows alone are transformed (`rows.rs`).

mod plane;
mod rows;
mod transform;
mod weight_grad;
mod weights;

use std::ops::Range;

use rayon::prelude::*;

use super::outer::{LINE, Packing, with_scratch};
use super::pack::{Weights, most_pixels};
use super::tile::{Reads, Writes, correlating};
use super::window::tiles;
use super::{After, Shape, Shared};
use crate::isa::{Factors, Isa, Kernel, Way, run};
use plane::Plane;
use rows::Rows;
use transform::{Row, Then};
pub(super) use weight_grad::weight_grad;
use weights::Squares;

/// Side of the transformed tile, and of its results.
const SIDE: usize = 4;
const STEP: usize = 2;
/// Channels below which the transforms cost more than they save, of squares and of rows.
const FEWEST: usize = 32;
const FEWEST_OF_ROWS: usize = 16;
/// Results in a row below which its tiles wait for their own sums.
const SHORTEST: usize = 7;
/// Floats of a block's transformed pixels and results: half of a core's second-level cache.
const BLOCK: usize = 64 * 1024;

/// Floats from one of the sixteen matrices to the next: a line more than it has, for what is a multiple
/// of 4 KiB apart shares one set of a core's first-level cache.
fn apart(tiles: usize, channels: usize) -> usize {
    (tiles * channels).next_multiple_of(LINE) + LINE
}

/// Whether it is worth it, of squares or of rows.
pub(super) fn fits(way: Way, shape: &Shape) -> bool {
    squares_fit(shape) || rows_fit(way, shape)
}

/// Whether squares are: in both directions of an image.
pub(super) fn squares_fit(shape: &Shape) -> bool {
    let [out_h, out_w] = shape.out();
    is_plain(shape) && shape.in_c.min(shape.out_c) >= FEWEST && out_h.min(out_w) > 1
}

/// Whether rows are; of f32 values alone: where products take half of the time, so would the transforms save.
fn rows_fit(way: Way, shape: &Shape) -> bool {
    let channels = FEWEST_OF_ROWS..FEWEST;
    let few = channels.contains(&shape.in_c.min(shape.out_c));
    way.factors == Factors::Whole && is_plain(shape) && few && shape.out()[1] >= SHORTEST
}

fn is_plain(shape: &Shape) -> bool {
    shape.kernel == [3, 3] && shape.stride == 1 && shape.padding <= 2
}

/// Weights, transformed.
#[derive(Debug)]
pub(crate) enum Transformed {
    Squares(Squares),
    Rows(Rows),
}

impl Transformed {
    fn new(way: Way, weights: Weights<'_>, in_c: usize, out_c: usize) -> Self {
        if in_c.min(out_c) < FEWEST {
            Self::Rows(Rows::new(way, weights, in_c, out_c))
        } else {
            Self::Squares(Squares::new(way, weights, in_c, out_c))
        }
    }

    /// # Panics
    ///
    /// If they are those of other numbers of channels.
    fn check(&self, way: Way, in_c: usize, out_c: usize) {
        let are = match self {
            Self::Squares(weights) => weights.are_of(way, in_c, out_c),
            Self::Rows(weights) => weights.are_of(way, in_c, out_c),
        };
        assert!(are, "weights prepared for another shape");
    }
}

/// Of a tile: image, and row and column of the first result.
type Place = (usize, usize, usize);

/// Results in tiles of 2×2.
#[derive(Debug, Clone, Copy)]
struct Tiles {
    n: usize,
    rows: usize,
    cols: usize,
}

impl Tiles {
    fn new(n: usize, out_h: usize, out_w: usize) -> Self {
        Self { n, rows: out_h.div_ceil(STEP), cols: out_w.div_ceil(STEP) }
    }

    fn len(&self) -> usize {
        self.n * self.rows * self.cols
    }

    fn at(&self, tile: usize) -> Place {
        let (image, of) = (tile / (self.rows * self.cols), tile % (self.rows * self.cols));
        (image, of / self.cols * STEP, of % self.cols * STEP)
    }

    /// The next.
    #[inline(always)]
    fn after(&self, (image, y, x): Place) -> Place {
        if x + STEP < self.cols * STEP {
            (image, y, x + STEP)
        } else if y + STEP < self.rows * STEP {
            (image, y + STEP, 0)
        } else {
            (image + 1, 0, 0)
        }
    }

    /// Cut into blocks of at most so many tiles. The same for any number of threads.
    fn blocks(&self, most: usize) -> Vec<Range<usize>> {
        tiles(self.len(), most).into_iter().map(|(start, len)| start..start + len).collect()
    }
}

/// Weights for [`forward`].
pub(super) fn transformed(way: Way, shape: &Shape, weights: &[f32]) -> Transformed {
    let of = Weights { values: weights, start: 0, out: 9 * shape.in_c, strides: [3, 1, 9] };
    Transformed::new(way, of, shape.in_c, shape.out_c)
}

/// Results of images and weights, as [`super::forward`].
pub(super) fn forward(
    way: Way,
    shape: &Shape,
    images: &[f32],
    transformed: &Transformed,
    after: Option<After<'_>>,
) -> Vec<f32> {
    let [out_h, out_w] = shape.out();
    transformed.check(way, shape.in_c, shape.out_c);
    let origin = -(shape.padding as isize);
    let from = Plane { h: shape.h, w: shape.w, c: shape.in_c, origin };
    let to = Plane { h: out_h, w: out_w, c: shape.out_c, origin: 0 };
    let len = shape.n * out_h * out_w * shape.out_c;
    let mut out: Vec<f32> = Vec::with_capacity(len);
    // SAFETY: every result is written once.
    unsafe {
        correlate(
            way,
            shape.n,
            images,
            from,
            transformed,
            Shared(out.as_mut_ptr()),
            to,
            Then { add: false, after },
        );
        out.set_len(len);
    }
    out
}

/// Gradient of the images, as [`super::input_grad`].
pub(super) fn input_grad(
    way: Way,
    shape: &Shape,
    weights: &[f32],
    dy: &[f32],
    so_far: Option<Vec<f32>>,
) -> Vec<f32> {
    let [out_h, out_w] = shape.out();
    // A correlation of the results' gradient with the window backwards.
    let of = Weights { values: weights, start: 8, out: 9, strides: [-3, -1, 9 * shape.in_c as isize] };
    let transformed = Transformed::new(way, of, shape.out_c, shape.in_c);
    let from = Plane { h: out_h, w: out_w, c: shape.out_c, origin: shape.padding as isize - 2 };
    let to = Plane { h: shape.h, w: shape.w, c: shape.in_c, origin: 0 };
    let len = shape.n * shape.h * shape.w * shape.in_c;
    let add = so_far.is_some();
    let mut dx = so_far.unwrap_or_else(|| Vec::with_capacity(len));
    assert!(!add || dx.len() == len, "a gradient of another shape");
    // SAFETY: every pixel is written once.
    unsafe {
        correlate(
            way,
            shape.n,
            dy,
            from,
            &transformed,
            Shared(dx.as_mut_ptr()),
            to,
            Then { add, after: None },
        );
        dx.set_len(len);
    }
    dx
}

/// # Safety
///
/// `to` is writable as `n` planes `onto`, by nobody else; to be added to they have values.
unsafe fn correlate(
    way: Way,
    n: usize,
    images: &[f32],
    from: Plane,
    weights: &Transformed,
    to: Shared,
    onto: Plane,
    then: Then<'_>,
) {
    assert!(images.len() >= n * from.len(), "images are shorter than their shape");
    let weights = match weights {
        Transformed::Squares(weights) => weights,
        // SAFETY: passed on.
        Transformed::Rows(weights) => {
            return unsafe { rows::correlate(way, n, images, from, weights, to, onto, then) };
        }
    };
    let grid = Tiles::new(n, onto.h, onto.w);
    let zeros = vec![0.0; from.c];
    let depth = way.depth(from.c);
    let values = SIDE * SIDE * (depth + onto.c);
    let most = (BLOCK / values).clamp(24, 384);
    grid.blocks(most).into_par_iter().for_each(|block| {
        let len = block.len();
        with_scratch(SIDE * SIDE * (apart(len, depth) + apart(len, onto.c)), |scratch| {
            let results = scratch.wrapping_add(SIDE * SIDE * apart(len, depth));
            let groups = tiles(len, most_pixels(way.lanes(), weights.vectors));
            let kernel = Block {
                way,
                grid,
                block,
                images,
                zeros: &zeros,
                from,
                weights,
                groups: &groups,
                pixels: scratch,
                results,
                to,
                onto,
                then,
            };
            // SAFETY: passed on; scratch has what the kernel says.
            unsafe { run(way, kernel) };
        });
    });
}

/// A block of tiles, from images to results; `pixels` and `results` have room for their
/// transforms.
struct Block<'a> {
    way: Way,
    grid: Tiles,
    block: Range<usize>,
    images: &'a [f32],
    zeros: &'a [f32],
    from: Plane,
    weights: &'a Squares,
    groups: &'a [(usize, usize)],
    pixels: *mut f32,
    results: *mut f32,
    to: Shared,
    onto: Plane,
    then: Then<'a>,
}

impl Kernel for Block<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: passed on.
        unsafe {
            self.pixels::<I>();
            match self.weights.vectors {
                1 => self.products::<I, 1>(),
                _ => self.products::<I, 2>(),
            }
            self.results::<I>();
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn pixels<I: Isa>(&self) {
        let (c, len) = (self.from.c, self.block.len());
        let depth = self.way.depth(c);
        let mut place = self.grid.at(self.block.start);
        for nth in 0..len {
            let at = self.from.tile(self.images, place, self.zeros);
            // SAFETY: nothing is read.
            unsafe { self.from.fetch_below::<I>(self.images, place) };
            place = self.grid.after(place);
            for i in 0..SIDE {
                let step = apart(len, depth);
                let to = self.pixels.wrapping_add(SIDE * i * step);
                let row = Row { to, step, packing: Packing::whole(depth), sample: nth };
                // SAFETY: the tile's pixels and the place for their transform are there.
                unsafe {
                    match self.way.factors {
                        Factors::Whole => transform::pixels_row::<I, false>(&at, i, c, row),
                        Factors::Rounded => transform::pixels_row::<I, true>(&at, i, c, row),
                        Factors::Pairs => transform::pixels_row_halved::<I>(&at, i, c, row),
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn products<I: Isa, const C: usize>(&self) {
        let (in_c, out_c, len) = (self.way.depth(self.from.c), self.onto.c, self.block.len());
        let Squares { width, panel, .. } = *self.weights;
        for (t, weights) in self.weights.values.chunks_exact(self.weights.of_one).enumerate() {
            for (p, weights) in weights.chunks_exact(panel).take(out_c.div_ceil(width)).enumerate() {
                let channel = p * width;
                let cols = (out_c - channel).min(width);
                for &(x, size) in self.groups {
                    let base = self.pixels.wrapping_add(t * apart(len, in_c) + x * in_c);
                    let reads = Reads { base, step: in_c, rows: 1, row: 0, len: in_c };
                    let to = self.results.wrapping_add(t * apart(len, out_c) + x * out_c + channel);
                    let writes = Writes { add: false, to, step: out_c, cols };
                    let weights = weights.as_ptr();
                    // SAFETY: both are in the scratch, the panel has all weights.
                    unsafe { (correlating::<I, C>(size))(reads, weights, writes) };
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn results<I: Isa>(&self) {
        let (c, len) = (self.onto.c, self.block.len());
        let Plane { h, w, .. } = self.onto;
        let mut place = self.grid.at(self.block.start);
        for nth in 0..len {
            let from = self.results.wrapping_add(nth * c);
            let (image, y, x) = place;
            place = self.grid.after(place);
            let first = (image * h + y) * w + x;
            let mut places = [[None; STEP]; STEP];
            for dy in 0..STEP.min(h - y) {
                for dx in 0..STEP.min(w - x) {
                    places[dy][dx] = Some((first + dy * w + dx) * c);
                }
            }
            // SAFETY: the sums are there, and the places are in the plane.
            unsafe { transform::results::<I>(from, apart(len, c), c, self.to, places, self.then) };
        }
    }
}
