//! Convolution of channels-last images: results, input gradient, weight gradient.
//!
//! All three are loops over the same two tiles (`tile.rs`): some pixels times one or a few
//! vectors of channels, summed in registers. Weights are packed once a call into panels of
//! as many channels; images are cut into slabs that fit into a core's cache and are
//! shared out to threads. Every value is summed in one order, whatever the threads.

mod after;
pub(crate) mod bf16;
mod outer;
mod pack;
mod shape;
mod taps;
pub(crate) mod tile;
mod weight_grad;
mod window;
mod winograd;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Way, run};
pub(crate) use after::After;
use pack::{Layout, Packed, Weights, most_pixels, vectors};
pub(crate) use shape::Shape;
use tile::{Reads, Writes, correlating, correlating_few};
use window::{Slab, Source, Window, tiles};
use winograd::Transformed;

/// Writes to disjoint places from several threads.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: the tasks that share one write to places of their own.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// Weights as [`forward`] reads them.
#[derive(Debug)]
pub(crate) enum Prepared {
    Packed(Packed),
    Transformed(Transformed),
}

impl Prepared {
    /// Weights `[out_c, in_c, kernel]` for images of this shape, however many.
    pub fn new(way: impl Into<Way>, shape: &Shape, weights: &[f32]) -> Self {
        let way = way.into();
        if winograd::fits(way, shape) {
            Self::Transformed(winograd::transformed(way, shape, weights))
        } else {
            Self::Packed(packed(way, shape, &way.operands(weights)))
        }
    }
}

/// Results `[n, out_h, out_w, out_c]` of images `[n, h, w, in_c]` and of weights that were
/// prepared for this shape and way, and what follows them.
pub(crate) fn forward(
    way: impl Into<Way>,
    shape: &Shape,
    images: &[f32],
    weights: &Prepared,
    after: Option<After<'_>>,
) -> Vec<f32> {
    let way = way.into();
    if let Some(after) = after {
        after.check(shape);
    }
    match weights {
        Prepared::Transformed(weights) => winograd::forward(way, shape, images, weights, after),
        Prepared::Packed(weights) => forward_directly(way, shape, &way.operands(images), weights, after),
    }
}

/// Gradient of the images, from that of the results; added to `so_far`, if there is one.
pub(crate) fn input_grad(
    way: impl Into<Way>,
    shape: &Shape,
    weights: &[f32],
    dy: &[f32],
    so_far: Option<Vec<f32>>,
) -> Vec<f32> {
    let way = way.into();
    if winograd::fits(way, shape) {
        winograd::input_grad(way, shape, weights, dy, so_far)
    } else {
        input_grad_directly(way, shape, &way.operands(weights), &way.operands(dy), so_far)
    }
}

/// Input channels below which a row of the window is taken at once by the weight gradient.
const FEW: usize = 32;

/// Gradient of the weights `[out_c, in_c, kernel]`.
pub(crate) fn weight_grad(way: impl Into<Way>, shape: &Shape, images: &[f32], dy: &[f32]) -> Vec<f32> {
    let way = way.into();
    if winograd::squares_fit(shape) {
        return winograd::weight_grad(way, shape, images, dy);
    }
    let of = if shape.in_c < FEW { weight_grad::weight_grad } else { taps::weight_grad };
    of(way, shape, &way.operands(images), &way.operands(dy))
}

/// Weights for [`forward_directly`].
fn packed(way: Way, shape: &Shape, weights: &[f32]) -> Packed {
    let [kh, kw] = shape.kernel;
    let vectors = vectors(way.lanes(), shape.out_c, shape.window(way).flattened().out_w);
    if shape.pairs_in_rows(way) {
        // As pixels have them: `[out_c][row][column][in_c]`.
        let (out, of, in_c) = (shape.in_c * kh * kw, kh * kw, shape.in_c);
        let at = |i: usize| i / out * out + i % in_c * of + i % out / in_c;
        let turned: Vec<f32> = (0..weights.len()).map(|i| weights[at(i)]).collect();
        let row = kw * in_c;
        let weights = Weights { values: &turned, start: 0, out, strides: [row as isize, 0, 1] };
        return Layout { cols: 1, in_c: row, ..shape.layout() }.pack(weights, way, vectors);
    }
    let strides = [kw, 1, kh * kw].map(|stride| stride as isize);
    let weights = Weights { values: weights, start: 0, out: shape.in_c * kh * kw, strides };
    shape.layout().pack(weights, way, vectors)
}

/// [`forward`] of any shape.
fn forward_directly(
    way: Way,
    shape: &Shape,
    images: &[f32],
    packed: &Packed,
    after: Option<After<'_>>,
) -> Vec<f32> {
    let window = shape.window(way).flattened();
    let panel = window.rows * window.row_len() * way.lanes() * packed.vectors;
    let len = shape.out_c.div_ceil(packed.width) * panel;
    assert_eq!((packed.panel, packed.values.len()), (panel, len), "weights prepared for another shape");
    let [out_h, out_w] = shape.out();
    let len = shape.n * out_h * out_w * shape.out_c;
    let mut out: Vec<f32> = Vec::with_capacity(len);
    let place = Place {
        origin: 0,
        pixel: shape.out_c,
        row: window.out_w * shape.out_c,
        image: out_h * out_w * shape.out_c,
        add: false,
    };
    // SAFETY: `place` covers `out`, each result once; all of it is written.
    unsafe {
        correlate_all(way, &window, shape.n, images, packed, Shared(out.as_mut_ptr()), place, after);
        out.set_len(len);
    }
    out
}

/// [`input_grad`] of any shape.
fn input_grad_directly(
    way: Way,
    shape: &Shape,
    weights: &[f32],
    dy: &[f32],
    so_far: Option<Vec<f32>>,
) -> Vec<f32> {
    let [out_h, out_w] = shape.out();
    let ([kh, kw], stride) = (shape.kernel, shape.stride);
    let len = shape.n * shape.h * shape.w * shape.in_c;
    let add = so_far.is_some();
    let mut dx = so_far.unwrap_or_else(|| Vec::with_capacity(len));
    assert!(!add || dx.len() == len, "a gradient of another shape");
    // Input pixels of one phase (row and column modulo the stride) are a correlation of
    // stride 1 of the gradient with every stride-th weight, backwards.
    let phase = |a: usize, kernel: usize| {
        let first = (a + shape.padding) % stride;
        let taps = if first < kernel { (kernel - first).div_ceil(stride) } else { 0 };
        let origin = ((a + shape.padding - first) / stride) as isize - (taps as isize - 1);
        (first, taps, origin)
    };
    for (ay, ax) in (0..stride.min(shape.h)).flat_map(|ay| (0..stride.min(shape.w)).map(move |ax| (ay, ax))) {
        let ((first_y, rows, origin_y), (first_x, cols, origin_x)) = (phase(ay, kh), phase(ax, kw));
        let window = Window {
            in_h: out_h,
            in_w: out_w,
            channels: shape.out_c,
            in_c: way.depth(shape.out_c),
            in_rows: false,
            rows,
            cols,
            step: 1,
            origin: (origin_y, origin_x),
            out_h: (shape.h - ay).div_ceil(stride),
            out_w: (shape.w - ax).div_ceil(stride),
            out_c: shape.in_c,
        };
        let place = Place {
            origin: (ay * shape.w + ax) * shape.in_c,
            pixel: stride * shape.in_c,
            row: stride * shape.w * shape.in_c,
            image: shape.h * shape.w * shape.in_c,
            add,
        };
        let to = Shared(dx.as_mut_ptr());
        if rows * cols == 0 {
            if add {
                continue;
            }
            // SAFETY: these pixels are written by nothing else.
            unsafe { zeros(&window, shape.n, to, place) };
            continue;
        }
        let (window, place) = match (stride, window.flattened()) {
            (1, flat) => (flat, Place { row: flat.out_w * shape.in_c, ..place }),
            _ => (window, place),
        };
        let layout = Layout { out_c: shape.in_c, rows, cols, in_c: shape.out_c };
        let vectors = vectors(way.lanes(), shape.in_c, window.out_w);
        let (last_y, last_x) = (first_y + (rows - 1) * stride, first_x + (cols - 1) * stride);
        let back = stride as isize;
        let strides = [-back * kw as isize, -back, (shape.in_c * kh * kw) as isize];
        let weights = Weights { values: weights, start: last_y * kw + last_x, out: kh * kw, strides };
        let packed = layout.pack(weights, way, vectors);
        // SAFETY: the phases together cover `dx`, each pixel once.
        unsafe { correlate_all(way, &window, shape.n, dy, &packed, to, place, None) };
    }
    // SAFETY: every pixel belongs to one phase.
    unsafe { dx.set_len(len) };
    dx
}

/// Floats between results in memory.
#[derive(Debug, Clone, Copy)]
struct Place {
    origin: usize,
    pixel: usize,
    row: usize,
    image: usize,
    /// To what is there, or in its place.
    add: bool,
}

/// # Safety
///
/// `to` is writable at every result of `place`, by nobody else.
unsafe fn zeros(window: &Window, n: usize, to: Shared, place: Place) {
    (0..n).into_par_iter().for_each(|image| {
        for y in 0..window.out_h {
            for x in 0..window.out_w {
                let at = to.at(place.origin + image * place.image + y * place.row + x * place.pixel);
                // SAFETY: passed on.
                unsafe { at.write_bytes(0, window.out_c) };
            }
        }
    });
}

/// # Safety
///
/// `to` is writable at every result of `place`, by nobody else.
unsafe fn correlate_all(
    way: Way,
    window: &Window,
    n: usize,
    images: &[f32],
    packed: &Packed,
    to: Shared,
    place: Place,
    after: Option<After<'_>>,
) {
    assert!(images.len() >= n * window.in_len(), "images are shorter than their shape");
    let tiles = tiles(window.out_w, most_pixels(way.lanes(), packed.vectors));
    window.slabs(n).par_iter().for_each(|slab| {
        window.with_source(way, images, slab, |source| {
            let kernel = Correlate { window, slab, source, packed, tiles: &tiles, to, place, after };
            // SAFETY: passed on; the source covers the slab.
            unsafe { run(way, kernel) };
        });
    });
}

struct Correlate<'a> {
    window: &'a Window,
    slab: &'a Slab,
    source: Source,
    packed: &'a Packed,
    tiles: &'a [(usize, usize)],
    to: Shared,
    place: Place,
    after: Option<After<'a>>,
}

impl Kernel for Correlate<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: passed on.
        unsafe {
            match self.packed.vectors {
                1 => self.all::<I, 1>(),
                2 => self.all::<I, 2>(),
                _ => self.all::<I, 4>(),
            }
        }
    }
}

impl Correlate<'_> {
    /// Panels outside, and of a large one a row of the window at a time: the weights stay in
    /// the cache while the slab goes by.
    #[inline(always)]
    unsafe fn all<I: Isa, const C: usize>(self) {
        let Self { window, slab, source, packed, tiles, to, place, after } = self;
        let step = source.across;
        let row_of_weights = window.row_len() * packed.width;
        let rows = if packed.panel > PANEL { 1 } else { window.rows };
        for (panel, weights) in packed.values.chunks_exact(packed.panel).enumerate() {
            let channel = panel * packed.width;
            let cols = (window.out_c - channel).min(packed.width);
            for r in (0..window.rows).step_by(rows) {
                let weights = &weights[r * row_of_weights..];
                for (i, image) in slab.images.clone().enumerate() {
                    for (j, y) in slab.ys.clone().enumerate() {
                        let row = (j * source.step + r) * source.row;
                        let x0 = source.base.wrapping_add(i * source.image + row);
                        let out0 = place.origin + image * place.image + y * place.row + channel;
                        for &(x, pixels) in tiles {
                            let reads = Reads {
                                base: x0.wrapping_add(x * step),
                                step,
                                rows,
                                row: source.row,
                                len: window.row_len(),
                            };
                            let to = to.at(out0 + x * place.pixel);
                            let writes = Writes { add: place.add || r > 0, to, step: place.pixel, cols };
                            let weights = weights.as_ptr();
                            // SAFETY: the tile lies within the slab's row, the panel has all weights.
                            unsafe {
                                if C == 4 {
                                    (correlating_few::<I, C>(pixels))(reads, weights, writes);
                                } else {
                                    (correlating::<I, C>(pixels))(reads, weights, writes);
                                }
                            }
                        }
                        if let Some(after) = after
                            && r + rows >= window.rows
                        {
                            // SAFETY: the row was written just now.
                            unsafe { after.row::<I>(to, out0, place.pixel, window.out_w, channel, cols) };
                        }
                    }
                }
            }
        }
    }
}

/// Floats of a panel above which it is used row by row: half of a core's second-level cache.
const PANEL: usize = 128 * 1024;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
