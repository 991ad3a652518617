//! Operations on each pixel by itself, over stretches of the planes that are
//! whole vectors long.

use super::{lanes, lanes_mut, top};
use crate::kernels::{Isa, LANES};

const LUMA: [f32; 3] = [0.2989, 0.5870, 0.1140];

/// Red, green and blue of the same pixels.
pub(crate) type Rgb<'a> = [&'a mut [f32]; 3];

/// Into the range of values.
#[inline(always)]
fn clip<I: Isa, const TV: bool>(x: I::V) -> I::V {
    I::min(I::max(x, I::splat(0.0)), I::splat(top::<TV>()))
}

/// To the level below under torchvision's semantics, as its colour operations
/// convert to 8 bits.
#[inline(always)]
fn cut<I: Isa, const TV: bool>(x: I::V) -> I::V {
    if TV { I::floor(x) } else { x }
}

// Loops as macros: a closure would be a function of its own, and the compiler may
// leave it outside, without the instruction set.

/// Every vector of a plane.
macro_rules! each {
    ($plane:expr, |$x:ident| $body:expr) => {
        for values in $plane.chunks_exact_mut(LANES) {
            let $x = I::load(lanes(values, 0));
            I::store($body, lanes_mut(values, 0));
        }
    };
}

/// Every vector of three planes.
macro_rules! each_rgb {
    ($rgb:expr, |$r:ident, $g:ident, $b:ident| $body:expr) => {
        let [red, green, blue] = $rgb;
        let planes = red.chunks_exact_mut(LANES).zip(green.chunks_exact_mut(LANES));
        for ((red, green), blue) in planes.zip(blue.chunks_exact_mut(LANES)) {
            let ($r, $g, $b) = (I::load(lanes(red, 0)), I::load(lanes(green, 0)), I::load(lanes(blue, 0)));
            let [r, g, b] = $body;
            I::store(r, lanes_mut(red, 0));
            I::store(g, lanes_mut(green, 0));
            I::store(b, lanes_mut(blue, 0));
        }
    };
}

/// Paper: x + value. Torchvision: x · value.
#[inline(always)]
pub(crate) fn brightness<I: Isa, const TV: bool>(plane: &mut [f32], value: f32) {
    let value = I::splat(value);
    if TV {
        each!(plane, |x| cut::<I, TV>(clip::<I, TV>(I::mul(x, value))));
    } else {
        each!(plane, |x| clip::<I, TV>(I::add(x, value)));
    }
}

/// (x − mean) · factor + mean, each semantics in its own order of operations.
#[inline(always)]
pub(crate) fn contrast<I: Isa, const TV: bool>(plane: &mut [f32], factor: f32, mean: f32) {
    let (rest, factor, mean) = (I::splat(mean * (1.0 - factor)), I::splat(factor), I::splat(mean));
    each!(plane, |x| {
        let x =
            if TV { I::add(I::mul(x, factor), rest) } else { I::add(I::mul(I::sub(x, mean), factor), mean) };
        cut::<I, TV>(clip::<I, TV>(x))
    });
}

/// A channel times `gain` plus `offset` (of values in [0, 1]).
#[inline(always)]
pub(crate) fn channel_gain<I: Isa, const TV: bool>(plane: &mut [f32], gain: f32, offset: f32) {
    let (gain, offset) = (I::splat(gain), I::splat(offset * top::<TV>()));
    each!(plane, |x| I::finish::<TV>(I::add(I::mul(x, gain), offset)));
}

/// Inverts what is at least `threshold` (in [0, 1]).
#[inline(always)]
pub(crate) fn solarize<I: Isa, const TV: bool>(plane: &mut [f32], threshold: f32) {
    let (threshold, top) = (I::splat(threshold * top::<TV>()), I::splat(top::<TV>()));
    each!(plane, |x| I::where_ge(x, threshold, I::sub(top, x), x));
}

/// Keeps the highest `bits` of the nearest 8-bit level.
#[inline(always)]
pub(crate) fn posterize<I: Isa, const TV: bool>(plane: &mut [f32], bits: u32) {
    let step = (1u32 << (8 - bits.clamp(1, 8))) as f32;
    let scale = 255.0 / top::<TV>();
    let (up, down) = (I::splat(scale / step), I::splat(step / scale));
    let half = I::splat(0.5 / step); // the nearest level, not the one below
    each!(plane, |x| I::mul(I::floor(I::add(I::mul(x, up), half)), down));
}

#[inline(always)]
fn luma<I: Isa, const TV: bool>(r: I::V, g: I::V, b: I::V) -> I::V {
    let rg = I::add(I::mul(r, I::splat(LUMA[0])), I::mul(g, I::splat(LUMA[1])));
    cut::<I, TV>(I::add(rg, I::mul(b, I::splat(LUMA[2]))))
}

/// Luma (ITU-R BT.601) in all three channels.
#[inline(always)]
pub(crate) fn grayscale<I: Isa, const TV: bool>(rgb: Rgb<'_>) {
    each_rgb!(rgb, |r, g, b| [luma::<I, TV>(r, g, b); 3]);
}

/// Paper: HSV saturation · factor, at most 1, which moves each channel from the
/// value v by the same factor. Torchvision: blend with the grey picture.
#[inline(always)]
pub(crate) fn saturation<I: Isa, const TV: bool>(rgb: Rgb<'_>, factor: f32) {
    let (rest, factor) = (I::splat(1.0 - factor), I::splat(factor));
    if TV {
        each_rgb!(rgb, |r, g, b| {
            let grey = I::mul(luma::<I, TV>(r, g, b), rest);
            [blend::<I>(r, factor, grey), blend::<I>(g, factor, grey), blend::<I>(b, factor, grey)]
        });
    } else {
        each_rgb!(rgb, |r, g, b| {
            let value = I::max(I::max(r, g), b);
            let range = I::sub(value, I::min(I::min(r, g), b));
            let most = I::div(value, I::max(range, I::splat(1e-12))); // 1 / saturation
            let factor = I::min(factor, most);
            [
                from_value::<I>(r, value, factor),
                from_value::<I>(g, value, factor),
                from_value::<I>(b, value, factor),
            ]
        });
    }
}

#[inline(always)]
fn blend<I: Isa>(x: I::V, factor: I::V, grey: I::V) -> I::V {
    cut::<I, true>(clip::<I, true>(I::add(I::mul(x, factor), grey)))
}

#[inline(always)]
fn from_value<I: Isa>(x: I::V, value: I::V, factor: I::V) -> I::V {
    clip::<I, false>(I::sub(value, I::mul(I::sub(value, x), factor)))
}

/// HSV hue + delta turns, modulo 1.
#[inline(always)]
pub(crate) fn hue<I: Isa, const TV: bool>(rgb: Rgb<'_>, delta: f32) {
    let (zero, one, two) = (I::splat(0.0), I::splat(1.0), I::splat(2.0));
    let (three, four, six, sixth) = (I::splat(3.0), I::splat(4.0), I::splat(6.0), I::splat(1.0 / 6.0));
    let (tiny, delta) = (I::splat(1e-12), I::splat(6.0 * delta));
    each_rgb!(rgb, |r, g, b| {
        let value = I::max(I::max(r, g), b);
        let least = I::min(I::min(r, g), b);
        let range = I::sub(value, least);
        let inverse = I::div(one, I::max(range, tiny));
        // Hue in sixths of a turn from red, green or blue, whichever is largest.
        let (from, base) = (I::sub(r, g), four);
        let (from, base) = (I::where_ge(g, value, I::sub(b, r), from), I::where_ge(g, value, two, base));
        let (from, base) = (I::where_ge(r, value, I::sub(g, b), from), I::where_ge(r, value, zero, base));
        let sixths = I::add(I::add(I::mul(from, inverse), base), delta);
        let turns = I::floor(I::mul(sixths, sixth));
        let sixths = I::sub(sixths, I::mul(turns, six));
        // And back: how much of the range each channel has above the least.
        let red = I::sub(I::abs(I::sub(sixths, three)), one);
        let green = I::sub(two, I::abs(I::sub(sixths, two)));
        let blue = I::sub(two, I::abs(I::sub(sixths, four)));
        [
            above_least::<I, TV>(least, range, red),
            above_least::<I, TV>(least, range, green),
            above_least::<I, TV>(least, range, blue),
        ]
    });
}

/// torchvision converts back to 8 bits by x · (256 − 0.001), cut.
#[inline(always)]
fn above_least<I: Isa, const TV: bool>(least: I::V, range: I::V, share: I::V) -> I::V {
    let share = I::min(I::max(share, I::splat(0.0)), I::splat(1.0));
    let x = I::add(least, I::mul(range, share));
    if TV { I::floor(I::mul(x, I::splat(255.999 / 255.0))) } else { x }
}

/// x · scale + shift, into the view, any length.
#[inline(always)]
pub(crate) fn normalize(plane: &[f32], view: &mut [f32], scale: f32, shift: f32) {
    for (out, x) in view.iter_mut().zip(plane) {
        *out = *x * scale + shift;
    }
}

/// Pixels whose sum is taken in `f32`; longer stretches are added up in `f64`.
const BLOCK: usize = 2048;

/// Lanes added up.
#[inline(always)]
fn total<I: Isa>(sum: I::V) -> f64 {
    let mut values = [0.0; LANES];
    I::store(sum, &mut values);
    values.iter().map(|&x| f64::from(x)).sum()
}

/// The first vector of `values`, zeros behind its end.
#[inline(always)]
fn padded<I: Isa>(values: &[f32]) -> I::V {
    let mut whole = [0.0; LANES];
    whole[..values.len()].copy_from_slice(values);
    I::load(&whole)
}

/// Sum of a plane, in one order on every path.
#[inline(always)]
pub(crate) fn sum<I: Isa>(plane: &[f32]) -> f64 {
    let mut sum = 0.0;
    for block in plane.chunks(BLOCK) {
        let mut lanes_sum = I::splat(0.0);
        let mut chunks = block.chunks_exact(LANES);
        for values in &mut chunks {
            lanes_sum = I::add(lanes_sum, I::load(lanes(values, 0)));
        }
        sum += total::<I>(I::add(lanes_sum, padded::<I>(chunks.remainder())));
    }
    sum
}

/// Sum of the luma.
#[inline(always)]
pub(crate) fn sum_luma<I: Isa, const TV: bool>([red, green, blue]: [&[f32]; 3]) -> f64 {
    let mut sum = 0.0;
    for ((red, green), blue) in red.chunks(BLOCK).zip(green.chunks(BLOCK)).zip(blue.chunks(BLOCK)) {
        let mut lanes_sum = I::splat(0.0);
        let whole = red.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            let grey =
                luma::<I, TV>(I::load(lanes(red, at)), I::load(lanes(green, at)), I::load(lanes(blue, at)));
            lanes_sum = I::add(lanes_sum, grey);
        }
        let rest = luma::<I, TV>(
            padded::<I>(&red[whole..]),
            padded::<I>(&green[whole..]),
            padded::<I>(&blue[whole..]),
        );
        sum += total::<I>(I::add(lanes_sum, rest));
    }
    sum
}
