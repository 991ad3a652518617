//! Factors by channel, a shortcut, a ReLU: one pass.

use super::{Grid, PART, map};
use crate::isa::{Isa, Kernel, Path, load, run, store};

/// scale · x + offset (+ shortcut), and ReLU if asked for; `[rows, channels]`.
pub(crate) fn affine(
    path: Path,
    x: &[f32],
    scale: &[f32],
    offset: &[f32],
    shortcut: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    assert!(shortcut.is_none_or(|s| s.len() == x.len()) && offset.len() == scale.len(), "lengths differ");
    let grid = Grid::new(x.len(), scale.len());
    let (scale, offset) = (grid.spread(scale), grid.spread(offset));
    let part = PART / 8 * grid.width;
    map(x.len(), part, |range, to| {
        let kernel = Affine {
            width: grid.width,
            x: &x[range.clone()],
            scale: &scale,
            offset: &offset,
            shortcut: shortcut.map(|s| &s[range]),
            relu,
            to,
        };
        // SAFETY: whole rows, `to` as long as they.
        unsafe { run(path, kernel) };
    })
}

struct Affine<'a> {
    width: usize,
    x: &'a [f32],
    scale: &'a [f32],
    offset: &'a [f32],
    shortcut: Option<&'a [f32]>,
    relu: bool,
    to: *mut f32,
}

impl Kernel for Affine<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let width = self.width;
        for start in (0..self.x.len()).step_by(width) {
            let mut at = 0;
            while at < width {
                let n = (width - at).min(I::LANES);
                // SAFETY: at + n is within the row.
                unsafe {
                    let x = load::<I>(self.x.as_ptr().add(start + at), n);
                    let mut y = I::mul_add(
                        x,
                        load::<I>(self.scale.as_ptr().add(at), n),
                        load::<I>(self.offset.as_ptr().add(at), n),
                    );
                    if let Some(shortcut) = self.shortcut {
                        y = I::add(y, load::<I>(shortcut.as_ptr().add(start + at), n));
                    }
                    if self.relu {
                        // In this order what is no number stays none.
                        y = I::max(I::splat(0.0), y);
                    }
                    let to = self.to.add(start + at);
                    store::<I>(to, y, n);
                }
                at += n;
            }
        }
    }
}
