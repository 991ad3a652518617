//! Factors by channel, a shortcut, a ReLU: one pass.

use std::borrow::Cow;

use super::{Grid, PART, Pointer, parts};
use crate::isa::{Isa, Kernel, Path, load, run, store};

/// scale · x + offset (+ shortcut), and ReLU if asked for; `[rows, channels]`. Written over `x`, if that
/// is owned.
pub(crate) fn affine<'a>(
    path: Path,
    x: impl Into<Cow<'a, [f32]>>,
    scale: &[f32],
    offset: &[f32],
    shortcut: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let x = x.into();
    let len = x.len();
    assert!(shortcut.is_none_or(|s| s.len() == len) && offset.len() == scale.len(), "lengths differ");
    let grid = Grid::new(len, scale.len());
    let (scale, offset) = (grid.spread(scale), grid.spread(offset));
    let (mut y, x) = match x {
        Cow::Owned(x) => (x, None),
        Cow::Borrowed(x) => (Vec::with_capacity(len), Some(x.as_ptr())),
    };
    let to = Pointer(y.as_mut_ptr());
    let x = Pointer(x.map_or(y.as_mut_ptr(), <*const f32>::cast_mut));
    parts(len, PART / 8 * grid.width, |range| {
        let kernel = Affine {
            width: grid.width,
            len: range.len(),
            x: x.at(range.start),
            scale: &scale,
            offset: &offset,
            shortcut: shortcut.map(|s| &s[range.clone()]),
            relu,
            to: to.at(range.start),
        };
        // SAFETY: whole rows, as long as they `x` and `to`, which no other task writes.
        unsafe { run(path, kernel) };
    });
    // SAFETY: the parts cover it.
    unsafe { y.set_len(len) };
    y
}

/// `to` may be `x`.
struct Affine<'a> {
    width: usize,
    len: usize,
    x: *const f32,
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
        for start in (0..self.len).step_by(width) {
            let mut at = 0;
            while at < width {
                let n = (width - at).min(I::LANES);
                // SAFETY: at + n is within the row.
                unsafe {
                    let x = load::<I>(self.x.add(start + at), n);
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
