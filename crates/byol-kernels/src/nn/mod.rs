//! Layers under the names of [`burn::nn`], with the same fields, configurations and records:
//! a network that says `use byol_kernels::nn` in the place of `use burn::nn` has the kernels.
//!
//! [`conv::Conv2d`], [`BatchNorm`] and [`pool::MaxPool2d`] are this crate's; everything else is
//! Burn's own, passed on, also [`norm::Normalization`], whose batch normalisation is Burn's. What the kernels do not do (groups, dilation, padding that differs from
//! side to side) goes to Burn, as does everything on other back ends.

pub mod conv;
pub mod norm;
pub mod pool;

pub use burn::nn::*;
pub use norm::{BatchNorm, BatchNormConfig};

/// The padding, where it is the same on all sides of an image; of a window with stride 1, if it is
/// to keep the size.
fn even_padding(padding: &PaddingConfig2d, kernel: [usize; 2], stride: [usize; 2]) -> Option<usize> {
    match *padding {
        PaddingConfig2d::Valid => Some(0),
        PaddingConfig2d::Explicit(a, b, c, d) => (a == b && a == c && a == d).then_some(a),
        PaddingConfig2d::Same => {
            let odd = kernel[0] == kernel[1] && kernel[0] % 2 == 1 && stride == [1, 1];
            odd.then_some(kernel[0] / 2)
        }
    }
}
