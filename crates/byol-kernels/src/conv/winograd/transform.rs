//! The transforms: sums of a few vectors of channels.

use super::super::outer::Packing;
use super::super::{After, Shared};
use super::{SIDE, STEP};
use crate::isa::{Isa, load, store};

/// An image of `c` channels; `origin` is the first row and column of the first tile, and what
/// is outside of the image is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub origin: isize,
}

impl Plane {
    pub fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    fn pixel(&self, images: &[f32], image: usize, y: isize, x: isize, zeros: &[f32]) -> *const f32 {
        match (usize::try_from(y), usize::try_from(x)) {
            (Ok(y), Ok(x)) if y < self.h && x < self.w => {
                images[((image * self.h + y) * self.w + x) * self.c..].as_ptr()
            }
            _ => zeros.as_ptr(),
        }
    }

    /// Pixels below the tile of the results from (y, x) on.
    #[inline(always)]
    pub fn tile(
        &self,
        images: &[f32],
        image: usize,
        y: usize,
        x: usize,
        zeros: &[f32],
    ) -> [[*const f32; SIDE]; SIDE] {
        let (y, x) = (y as isize + self.origin, x as isize + self.origin);
        let row = |r: usize| [0, 1, 2, 3].map(|s| self.pixel(images, image, y + r as isize, x + s, zeros));
        [row(0), row(1), row(2), row(3)]
    }

    /// The 2×2 pixels of a tile of results.
    #[inline(always)]
    pub fn results(
        &self,
        images: &[f32],
        image: usize,
        y: usize,
        x: usize,
        zeros: &[f32],
    ) -> [[*const f32; STEP]; STEP] {
        let (y, x) = (y as isize, x as isize);
        let row = |r: isize| [0, 1].map(|s| self.pixel(images, image, y + r, x + s, zeros));
        [row(0), row(1)]
    }
}

/// Where four values of a row go: `step` floats apart, and of each the channels of a sample.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub to: *mut f32,
    pub step: usize,
    pub packing: Packing,
    pub sample: usize,
}

impl Row {
    #[inline(always)]
    fn at(&self, s: usize, channel: usize) -> *mut f32 {
        self.to.wrapping_add(s * self.step + self.packing.at(self.sample, channel))
    }
}

/// Row `i` of Bᵀ d B.
///
/// # Safety
///
/// `c` values are readable at every pixel, and writable at the four places.
#[inline(always)]
pub(super) unsafe fn pixels_row<I: Isa>(d: &[[*const f32; SIDE]; SIDE], i: usize, c: usize, to: Row) {
    // d₀ − d₂, d₁ + d₂, d₂ − d₁, d₁ − d₃.
    let (a, b, sign) = [(0, 2, -1.0), (1, 2, 1.0), (2, 1, -1.0), (1, 3, -1.0)][i];
    let (a, b) = (d[a], d[b]);
    let whole = c / I::LANES * I::LANES;
    // SAFETY: the vectors end at c.
    unsafe {
        for at in (0..whole).step_by(I::LANES) {
            pixels::<I>([a, b], sign, at, I::LANES, to);
        }
        if whole < c {
            pixels::<I>([a, b], sign, whole, c - whole, to);
        }
    }
}

/// A vector of [`pixels_row`].
///
/// # Safety
///
/// As there, with `at + n` for `c`.
#[inline(always)]
unsafe fn pixels<I: Isa>([a, b]: [[*const f32; SIDE]; 2], sign: f32, at: usize, n: usize, to: Row) {
    // SAFETY: passed on.
    unsafe {
        let sign = I::splat(sign);
        let mut u = [sign; SIDE];
        for s in 0..SIDE {
            u[s] = I::mul_add(sign, load::<I>(b[s].add(at), n), load::<I>(a[s].add(at), n));
        }
        let v = [I::sub(u[0], u[2]), I::add(u[1], u[2]), I::sub(u[2], u[1]), I::sub(u[1], u[3])];
        for s in 0..SIDE {
            store::<I>(to.at(s, at), v[s], n);
        }
    }
}

/// Row `i` of A y Aᵀ, of 2×2 gradients of results. `zeros` has as many channels.
///
/// # Safety
///
/// As [`pixels_row`].
#[inline(always)]
pub(super) unsafe fn gradients_row<I: Isa>(
    y: &[[*const f32; STEP]; STEP],
    zeros: *const f32,
    i: usize,
    c: usize,
    to: Row,
) {
    // y₀, y₀ + y₁, y₀ − y₁, −y₁.
    let none = [zeros; STEP];
    let (a, b, sign) = [(y[0], none, 1.0), (y[0], y[1], 1.0), (y[0], y[1], -1.0), (none, y[1], -1.0)][i];
    let whole = c / I::LANES * I::LANES;
    // SAFETY: the vectors end at c.
    unsafe {
        for at in (0..whole).step_by(I::LANES) {
            gradients::<I>([a, b], sign, at, I::LANES, to);
        }
        if whole < c {
            gradients::<I>([a, b], sign, whole, c - whole, to);
        }
    }
}

/// A vector of [`gradients_row`].
///
/// # Safety
///
/// As there, with `at + n` for `c`.
#[inline(always)]
unsafe fn gradients<I: Isa>([a, b]: [[*const f32; STEP]; 2], sign: f32, at: usize, n: usize, to: Row) {
    // SAFETY: passed on.
    unsafe {
        let sign = I::splat(sign);
        let mut u = [sign; STEP];
        for s in 0..STEP {
            u[s] = I::mul_add(sign, load::<I>(b[s].add(at), n), load::<I>(a[s].add(at), n));
        }
        let v = [u[0], I::add(u[0], u[1]), I::sub(u[0], u[1]), I::sub(I::splat(0.0), u[1])];
        for s in 0..SIDE {
            store::<I>(to.at(s, at), v[s], n);
        }
    }
}

/// What is done to results.
#[derive(Clone, Copy)]
pub(super) struct Then<'a> {
    /// To what is there, or in its place.
    pub add: bool,
    pub after: Option<After<'a>>,
}

/// Aᵀ m A of sixteen sums `step` floats apart, to up to 2×2 places.
///
/// # Safety
///
/// `c` values are readable at the sums and writable (and, to be added to, readable) at the places.
#[inline(always)]
pub(super) unsafe fn results<I: Isa>(
    from: *const f32,
    step: usize,
    c: usize,
    to: Shared,
    places: [[Option<usize>; STEP]; STEP],
    then: Then<'_>,
) {
    let whole = c / I::LANES * I::LANES;
    // SAFETY: the vectors end at c.
    unsafe {
        for at in (0..whole).step_by(I::LANES) {
            result::<I>(from, step, at, I::LANES, to, places, then);
        }
        if whole < c {
            result::<I>(from, step, whole, c - whole, to, places, then);
        }
    }
}

/// A vector of [`results`].
///
/// # Safety
///
/// As there, with `at + n` for `c`.
#[inline(always)]
unsafe fn result<I: Isa>(
    from: *const f32,
    step: usize,
    at: usize,
    n: usize,
    to: Shared,
    places: [[Option<usize>; STEP]; STEP],
    then: Then<'_>,
) {
    // SAFETY: passed on.
    unsafe {
        let zero = I::splat(0.0);
        let mut s = [[zero; SIDE]; STEP];
        for j in 0..SIDE {
            let m = |i: usize| load::<I>(from.wrapping_add((SIDE * i + j) * step + at), n);
            let (m1, m2) = (m(1), m(2));
            s[0][j] = I::add(I::add(m(0), m1), m2);
            s[1][j] = I::sub(I::sub(m1, m2), m(3));
        }
        for i in 0..STEP {
            let y = [I::add(I::add(s[i][0], s[i][1]), s[i][2]), I::sub(I::sub(s[i][1], s[i][2]), s[i][3])];
            for j in 0..STEP {
                let Some(place) = places[i][j] else { continue };
                let to = to.at(place + at);
                let mut y = if then.add { I::add(load::<I>(to, n), y[j]) } else { y[j] };
                if let Some(after) = then.after {
                    y = after.of::<I>(y, place + at, at, n);
                }
                store::<I>(to, y, n);
            }
        }
    }
}
