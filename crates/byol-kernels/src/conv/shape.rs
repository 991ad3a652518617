//! Sizes of a convolution.

use super::pack::Layout;
use super::window::Window;
use crate::isa::Way;

/// Sizes of a convolution with square stride and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub in_c: usize,
    pub out_c: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
}

impl Shape {
    /// Height and width of the results.
    pub fn out(&self) -> [usize; 2] {
        let side = |side: usize, kernel: usize| (side + 2 * self.padding - kernel) / self.stride + 1;
        [side(self.h, self.kernel[0]), side(self.w, self.kernel[1])]
    }

    pub(super) fn window(&self, way: Way) -> Window {
        let [out_h, out_w] = self.out();
        let origin = -(self.padding as isize);
        Window {
            in_h: self.h,
            in_w: self.w,
            channels: self.in_c,
            in_c: way.depth(self.in_c),
            in_rows: self.pairs_in_rows(way),
            rows: self.kernel[0],
            cols: self.kernel[1],
            step: self.stride,
            origin: (origin, origin),
            out_h,
            out_w,
            out_c: self.out_c,
        }
    }

    /// Whether values are paired along rows: where a pair is never split between two windows.
    pub(super) fn pairs_in_rows(&self, way: Way) -> bool {
        let few = self.in_c < 8 && !self.in_c.is_multiple_of(2);
        way.is_pairs() && few && self.kernel[1] > 1 && self.stride.is_multiple_of(2)
    }

    pub(super) fn layout(&self) -> Layout {
        Layout { out_c: self.out_c, rows: self.kernel[0], cols: self.kernel[1], in_c: self.in_c }
    }
}
