//! What only some instruction sets have, value by value.

use super::Isa;
use crate::conv::bf16::{pair, round};

/// Values of the widest vector.
const MOST: usize = 16;

/// [`Isa::rounded`].
///
/// # Safety
///
/// The processor has the instructions of `I`.
#[inline(always)]
pub(super) unsafe fn rounded<I: Isa>(a: I::V) -> I::V {
    let mut values = [0.0; MOST];
    // SAFETY: there is room for a vector.
    unsafe {
        I::store(values.as_mut_ptr(), a);
        for i in 0..I::LANES {
            values[i] = f32::from_bits(round(values[i]));
        }
        I::load(values.as_ptr())
    }
}

/// [`Isa::halves`].
///
/// # Safety
///
/// The processor has the instructions of `I`.
#[inline(always)]
pub(super) unsafe fn halves<I: Isa>(a: I::V, b: I::V) -> I::V {
    let mut values = [0.0; 2 * MOST];
    let mut halves = [0.0; MOST];
    // SAFETY: there is room for two vectors, and for one.
    unsafe {
        I::store(values.as_mut_ptr(), a);
        I::store(values.as_mut_ptr().add(I::LANES), b);
        for i in 0..I::LANES {
            halves[i] = pair(values[2 * i], values[2 * i + 1]);
        }
        I::load(halves.as_ptr())
    }
}

/// [`Isa::pairs`].
///
/// # Safety
///
/// The processor has the instructions of `I`.
#[inline(always)]
pub(super) unsafe fn pairs<I: Isa>(a: I::V, b: I::V) -> I::V {
    let (mut values, mut others) = ([0.0; MOST], [0.0; MOST]);
    // SAFETY: there is room for a vector in each.
    unsafe {
        I::store(values.as_mut_ptr(), a);
        I::store(others.as_mut_ptr(), b);
        for i in 0..I::LANES {
            values[i] = pair(values[i], others[i]);
        }
        I::load(values.as_ptr())
    }
}
