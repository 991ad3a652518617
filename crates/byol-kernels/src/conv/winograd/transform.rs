//! The transforms: sums of a few vectors of channels.

use super::super::outer::Packing;
use super::super::{After, Shared};
use super::{SIDE, STEP};
use crate::isa::{Isa, load, store};

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

    /// # Safety
    ///
    /// `n` values are writable at the four places.
    #[inline(always)]
    unsafe fn write<I: Isa, const ROUND: bool>(&self, v: [I::V; SIDE], at: usize, n: usize) {
        for s in 0..SIDE {
            // SAFETY: passed on.
            unsafe { store::<I>(self.at(s, at), if ROUND { I::rounded(v[s]) } else { v[s] }, n) };
        }
    }

    /// # Safety
    ///
    /// As [`Row::write`].
    #[inline(always)]
    unsafe fn write_pairs<I: Isa>(&self, v: [[I::V; SIDE]; 2], at: usize, n: usize) {
        for s in 0..SIDE {
            // SAFETY: passed on.
            unsafe { store::<I>(self.at(s, at), I::pairs(v[0][s], v[1][s]), n) };
        }
    }
}

/// The two rows of pixels that row `i` of Bᵀ d takes, and what the second is multiplied with.
#[inline(always)]
fn of_pixels(d: &[[*const f32; SIDE]; SIDE], i: usize) -> ([[*const f32; SIDE]; 2], f32) {
    // d₀ − d₂, d₁ + d₂, d₂ − d₁, d₁ − d₃.
    let (a, b, sign) = [(0, 2, -1.0), (1, 2, 1.0), (2, 1, -1.0), (1, 3, -1.0)][i];
    ([d[a], d[b]], sign)
}

/// `n` channels, at most a vector, of a row of Bᵀ d B.
///
/// # Safety
///
/// `at + n` values are readable at every pixel.
#[inline(always)]
unsafe fn pixels<I: Isa>(
    ([a, b], sign): ([[*const f32; SIDE]; 2], f32),
    at: usize,
    n: usize,
) -> [I::V; SIDE] {
    // SAFETY: passed on.
    unsafe {
        let sign = I::splat(sign);
        let mut u = [sign; SIDE];
        for s in 0..SIDE {
            u[s] = I::mul_add(sign, load::<I>(b[s].add(at), n), load::<I>(a[s].add(at), n));
        }
        filtered::<I>(u)
    }
}

/// d₀ − d₂, d₁ + d₂, d₂ − d₁, d₁ − d₃.
#[inline(always)]
unsafe fn filtered<I: Isa>(d: [I::V; SIDE]) -> [I::V; SIDE] {
    // SAFETY: arithmetic.
    unsafe { [I::sub(d[0], d[2]), I::add(d[1], d[2]), I::sub(d[2], d[1]), I::sub(d[1], d[3])] }
}

/// `n` channels of a pixel, or 0 outside of a row of `w` pixels of `c` channels.
///
/// # Safety
///
/// They are readable.
#[inline(always)]
unsafe fn pixel<I: Isa>(row: *const f32, x: isize, [w, c, n]: [usize; 3]) -> I::V {
    // SAFETY: passed on. What is negative is large.
    unsafe { if (x as usize) < w { load::<I>(row.add(x as usize * c), n) } else { I::splat(0.0) } }
}

/// Rows that are asked for before they are read.
const AHEAD: isize = 2;

/// `n` channels of a row of `w` pixels of `c` channels: of each of `pairs` steps of two pixels from `x` on,
/// four pixels, transformed, as four values `step` floats apart.
///
/// # Safety
///
/// They are readable, and writable at the places.
#[inline(always)]
pub(super) unsafe fn row<I: Isa>(
    row: *const f32,
    of @ [w, c, n]: [usize; 3],
    mut x: isize,
    pairs: usize,
    mut to: *mut f32,
    step: usize,
) {
    // SAFETY: passed on.
    unsafe {
        let mut d = [pixel::<I>(row, x, of), pixel::<I>(row, x + 1, of)];
        for _ in 0..pairs {
            x += STEP as isize;
            let next = [pixel::<I>(row, x, of), pixel::<I>(row, x + 1, of)];
            let ahead = row.wrapping_offset((x + AHEAD * w as isize) * c as isize);
            I::fetch(ahead);
            I::fetch(ahead.wrapping_add(c));
            let u = filtered::<I>([d[0], d[1], next[0], next[1]]);
            for s in 0..SIDE {
                store::<I>(to.wrapping_add(s * step), u[s], n);
            }
            d = next;
            to = to.wrapping_add(c);
        }
    }
}

/// Row `i` of Bᵀ d B; `ROUND`ed to bf16 values, or as it is.
///
/// # Safety
///
/// `c` values are readable at every pixel, and writable at the four places.
#[inline(always)]
pub(super) unsafe fn pixels_row<I: Isa, const ROUND: bool>(
    d: &[[*const f32; SIDE]; SIDE],
    i: usize,
    c: usize,
    to: Row,
) {
    let of = of_pixels(d, i);
    let whole = c / I::LANES * I::LANES;
    // SAFETY: the vectors end at c.
    unsafe {
        for at in (0..whole).step_by(I::LANES) {
            to.write::<I, ROUND>(pixels::<I>(of, at, I::LANES), at, I::LANES);
        }
        if whole < c {
            to.write::<I, ROUND>(pixels::<I>(of, whole, c - whole), whole, c - whole);
        }
    }
}

/// Row `i` of Bᵀ d B, as pairs of neighbouring channels.
///
/// # Safety
///
/// As [`pixels_row`], with half of the places, rounded up.
#[inline(always)]
pub(super) unsafe fn pixels_row_halved<I: Isa>(d: &[[*const f32; SIDE]; SIDE], i: usize, c: usize, to: Row) {
    let of = of_pixels(d, i);
    let whole = c / (2 * I::LANES) * (2 * I::LANES);
    // SAFETY: the vectors end at c.
    unsafe {
        for at in (0..whole).step_by(2 * I::LANES) {
            let both = [pixels::<I>(of, at, I::LANES), pixels::<I>(of, at + I::LANES, I::LANES)];
            for s in 0..SIDE {
                I::store(to.at(s, at / 2), I::halves(both[0][s], both[1][s]));
            }
        }
        if whole < c {
            let n = (c - whole).min(I::LANES);
            let mut both = [pixels::<I>(of, whole, n), [I::splat(0.0); SIDE]];
            if whole + n < c {
                both[1] = pixels::<I>(of, whole + n, c - whole - n);
            }
            for s in 0..SIDE {
                let halves = I::halves(both[0][s], both[1][s]);
                store::<I>(to.at(s, whole / 2), halves, (c - whole).div_ceil(2));
            }
        }
    }
}

/// Row `i` of Bᵀ d B of two samples, as pairs.
///
/// # Safety
///
/// As [`pixels_row`], of both.
#[inline(always)]
pub(super) unsafe fn pixels_row_paired<I: Isa>(
    d: [&[[*const f32; SIDE]; SIDE]; 2],
    i: usize,
    c: usize,
    to: Row,
) {
    let of = [of_pixels(d[0], i), of_pixels(d[1], i)];
    let mut at = 0;
    while at < c {
        let n = (c - at).min(I::LANES);
        // SAFETY: at + n is at most c.
        unsafe { to.write_pairs::<I>([pixels::<I>(of[0], at, n), pixels::<I>(of[1], at, n)], at, n) };
        at += n;
    }
}

/// The two rows of results that row `i` of A y takes, and what the second is multiplied with.
#[inline(always)]
fn of_gradients(
    y: &[[*const f32; STEP]; STEP],
    zeros: *const f32,
    i: usize,
) -> ([[*const f32; STEP]; 2], f32) {
    // y₀, y₀ + y₁, y₀ − y₁, −y₁.
    let none = [zeros; STEP];
    let (a, b, sign) = [(y[0], none, 1.0), (y[0], y[1], 1.0), (y[0], y[1], -1.0), (none, y[1], -1.0)][i];
    ([a, b], sign)
}

/// `n` channels, at most a vector, of a row of A y Aᵀ.
///
/// # Safety
///
/// `at + n` values are readable at every gradient.
#[inline(always)]
unsafe fn gradients<I: Isa>(
    ([a, b], sign): ([[*const f32; STEP]; 2], f32),
    at: usize,
    n: usize,
) -> [I::V; SIDE] {
    // SAFETY: passed on.
    unsafe {
        let sign = I::splat(sign);
        let mut u = [sign; STEP];
        for s in 0..STEP {
            u[s] = I::mul_add(sign, load::<I>(b[s].add(at), n), load::<I>(a[s].add(at), n));
        }
        [u[0], I::add(u[0], u[1]), I::sub(u[0], u[1]), I::sub(I::splat(0.0), u[1])]
    }
}

/// Row `i` of A y Aᵀ, of 2×2 gradients of results, `ROUND`ed or as it is. `zeros` has as many channels.
///
/// # Safety
///
/// As [`pixels_row`].
#[inline(always)]
pub(super) unsafe fn gradients_row<I: Isa, const ROUND: bool>(
    y: &[[*const f32; STEP]; STEP],
    zeros: *const f32,
    i: usize,
    c: usize,
    to: Row,
) {
    let of = of_gradients(y, zeros, i);
    let whole = c / I::LANES * I::LANES;
    // SAFETY: the vectors end at c.
    unsafe {
        for at in (0..whole).step_by(I::LANES) {
            to.write::<I, ROUND>(gradients::<I>(of, at, I::LANES), at, I::LANES);
        }
        if whole < c {
            to.write::<I, ROUND>(gradients::<I>(of, whole, c - whole), whole, c - whole);
        }
    }
}

/// Row `i` of A y Aᵀ of two samples, as pairs.
///
/// # Safety
///
/// As [`gradients_row`], of both.
#[inline(always)]
pub(super) unsafe fn gradients_row_paired<I: Isa>(
    y: [&[[*const f32; STEP]; STEP]; 2],
    zeros: *const f32,
    i: usize,
    c: usize,
    to: Row,
) {
    let of = [of_gradients(y[0], zeros, i), of_gradients(y[1], zeros, i)];
    let mut at = 0;
    while at < c {
        let n = (c - at).min(I::LANES);
        // SAFETY: at + n is at most c.
        unsafe { to.write_pairs::<I>([gradients::<I>(of[0], at, n), gradients::<I>(of[1], at, n)], at, n) };
        at += n;
    }
}

/// What is done to results.
#[derive(Clone, Copy)]
pub(super) struct Then<'a> {
    /// To what is there, or in its place.
    pub add: bool,
    pub after: Option<After<'a>>,
}

impl Then<'_> {
    /// Does it to `n` channels from `channel` on of a result, and writes them to `place`.
    ///
    /// # Safety
    ///
    /// They are writable there (and, to be added to, readable), and what follows has them.
    #[inline(always)]
    pub unsafe fn write<I: Isa>(&self, y: I::V, to: Shared, place: usize, channel: usize, n: usize) {
        let at = to.at(place);
        // SAFETY: passed on.
        unsafe {
            let mut y = if self.add { I::add(load::<I>(at, n), y) } else { y };
            if let Some(after) = self.after {
                y = after.of::<I>(y, place, channel, n);
            }
            store::<I>(at, y, n);
        }
    }
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
            let y = narrowed::<I>(s[i]);
            for j in 0..STEP {
                let Some(place) = places[i][j] else { continue };
                then.write::<I>(y[j], to, place + at, at, n);
            }
        }
    }
}

/// m₀ + m₁ + m₂, m₁ − m₂ − m₃.
#[inline(always)]
pub(super) unsafe fn narrowed<I: Isa>(m: [I::V; SIDE]) -> [I::V; STEP] {
    // SAFETY: arithmetic.
    unsafe { [I::add(I::add(m[0], m[1]), m[2]), I::sub(I::sub(m[1], m[2]), m[3])] }
}
