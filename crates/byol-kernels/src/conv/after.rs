//! What follows a convolution in evaluation mode, done to results that are still in the cache.

use super::{Shape, Shared};
use crate::isa::{Isa, load, store};

/// scale · y + offset by channel, then a shortcut added and a ReLU, if asked for. The same bits
/// as [`affine`](crate::norm::affine) afterwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct After<'a> {
    pub scale: &'a [f32],
    pub offset: &'a [f32],
    /// As the results.
    pub shortcut: Option<&'a [f32]>,
    pub relu: bool,
}

impl After<'_> {
    pub fn check(&self, shape: &Shape) {
        let [h, w] = shape.out();
        let channels = self.scale.len() == shape.out_c && self.offset.len() == shape.out_c;
        let len = shape.n * h * w * shape.out_c;
        assert!(channels && self.shortcut.is_none_or(|s| s.len() == len), "lengths differ");
    }

    /// Of `n` channels from `channel` on of the result at `at`.
    ///
    /// # Safety
    ///
    /// They are channels, and the result is one.
    #[inline(always)]
    pub unsafe fn of<I: Isa>(&self, y: I::V, at: usize, channel: usize, n: usize) -> I::V {
        // SAFETY: see above; the lengths were checked.
        unsafe {
            let scale = load::<I>(self.scale.as_ptr().add(channel), n);
            let mut y = I::mul_add(y, scale, load::<I>(self.offset.as_ptr().add(channel), n));
            if let Some(shortcut) = self.shortcut {
                y = I::add(y, load::<I>(shortcut.as_ptr().add(at), n));
            }
            // In this order what is no number stays none.
            if self.relu { I::max(I::splat(0.0), y) } else { y }
        }
    }

    /// Of `cols` channels from `channel` on of `pixels` results `step` floats apart, in place.
    ///
    /// # Safety
    ///
    /// They are results, and nobody else writes them.
    #[inline(always)]
    pub(super) unsafe fn row<I: Isa>(
        &self,
        to: Shared,
        at: usize,
        step: usize,
        pixels: usize,
        channel: usize,
        cols: usize,
    ) {
        for pixel in 0..pixels {
            for first in (0..cols).step_by(I::LANES) {
                let n = (cols - first).min(I::LANES);
                let at = at + pixel * step + first;
                // SAFETY: passed on.
                unsafe {
                    let y = self.of::<I>(load::<I>(to.at(at), n), at, channel + first, n);
                    store::<I>(to.at(at), y, n);
                }
            }
        }
    }
}
