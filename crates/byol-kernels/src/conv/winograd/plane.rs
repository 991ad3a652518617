//! Images, and where the pixels of a tile lie in them.

use super::super::outer::LINE;
use super::{Place, SIDE, STEP};
use crate::isa::Isa;

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

    /// Pixels below the tile of the results at `place`: image, row, column.
    #[inline(always)]
    pub fn tile(&self, images: &[f32], place: Place, zeros: &[f32]) -> [[*const f32; SIDE]; SIDE] {
        self.square(images.as_ptr(), place, zeros)
    }

    /// Asks for the pixels that the tile below `place` has and this one and its neighbours do not. Behind
    /// the last row, they are the next image's.
    #[inline(always)]
    pub unsafe fn fetch_below<I: Isa>(&self, images: &[f32], (image, y, x): Place) {
        let row = (image * self.h + y + SIDE) as isize + self.origin;
        let first = (row * self.w as isize + x as isize + self.origin + 1) * self.c as isize;
        let first = images.as_ptr().wrapping_offset(first);
        for at in (0..STEP * self.c).step_by(LINE) {
            for row in 0..STEP {
                // SAFETY: a hint.
                unsafe { I::fetch(first.wrapping_add(row * self.w * self.c + at)) };
            }
        }
    }

    /// The 2×2 pixels of a tile of results, from channel `first` on.
    #[inline(always)]
    pub fn results(
        &self,
        images: &[f32],
        place: Place,
        first: usize,
        zeros: &[f32],
    ) -> [[*const f32; STEP]; STEP] {
        self.square(images.as_ptr().wrapping_add(first), place, zeros)
    }

    /// Loops and plain sums: a closure here would be a function without the kernel's instructions.
    #[inline(always)]
    fn square<const S: usize>(
        &self,
        images: *const f32,
        (image, y, x): Place,
        zeros: &[f32],
    ) -> [[*const f32; S]; S] {
        let (y, x) = (y as isize + self.origin, x as isize + self.origin);
        let row = (image * self.h) as isize + y;
        let first = images.wrapping_offset((row * self.w as isize + x) * self.c as isize);
        let mut at = [[zeros.as_ptr(); S]; S];
        for r in 0..S {
            // What is negative is large.
            if (y + r as isize) as usize >= self.h {
                continue;
            }
            for s in 0..S {
                if ((x + s as isize) as usize) < self.w {
                    at[r][s] = first.wrapping_add((r * self.w + s) * self.c);
                }
            }
        }
        at
    }
}
