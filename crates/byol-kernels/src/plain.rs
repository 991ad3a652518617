//! The operations by what every back end of Burn has.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{FloatDType, Shape};

use crate::Precision;
use crate::op::KernelOps;

/// How a convolution goes: without bias, the same both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Pixels from a window to the next.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// What is multiplied.
    pub precision: Precision,
}

impl Conv {
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new([self.stride; 2], [self.padding; 2], [1; 2], 1)
    }

    /// What is multiplied by back ends without kernels.
    fn factor<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        match self.precision {
            Precision::F32 => x,
            Precision::Bf16 => {
                let dtype = FloatDType::from(x.dtype());
                B::float_cast(B::float_cast(x, FloatDType::BF16), dtype)
            }
        }
    }
}

/// `[C]` as `[1, C, 1, …]` of as many dimensions as `like`.
fn by_channel<B: Backend>(channels: FloatTensor<B>, like: &FloatTensor<B>) -> FloatTensor<B> {
    let n_dims = like.shape().num_dims();
    let n_channels = channels.shape().num_elements();
    let dims: Vec<usize> = (0..n_dims).map(|i| if i == 1 { n_channels } else { 1 }).collect();
    B::float_reshape(channels, Shape::from(dims))
}

/// A convolution by the back end's own operations.
pub(crate) fn plain_conv2d<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    conv: Conv,
) -> FloatTensor<B> {
    B::conv2d(conv.factor::<B>(x), conv.factor::<B>(weight), None, conv.options())
}

/// Its gradient for `x` by the back end's own operations.
pub(crate) fn plain_x_grad<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    grad: FloatTensor<B>,
    conv: Conv,
) -> FloatTensor<B> {
    B::conv2d_x_backward(x, conv.factor::<B>(weight), conv.factor::<B>(grad), conv.options())
}

/// Its gradient for the weights by the back end's own operations.
pub(crate) fn plain_weight_grad<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    grad: FloatTensor<B>,
    conv: Conv,
) -> FloatTensor<B> {
    B::conv2d_weight_backward(conv.factor::<B>(x), weight, conv.factor::<B>(grad), conv.options())
}

/// scale · x + offset by channel by the back end's own operations.
pub(crate) fn plain_affine<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    offset: FloatTensor<B>,
    shortcut: Option<FloatTensor<B>>,
    relu: bool,
) -> FloatTensor<B> {
    let (scale, offset) = (by_channel::<B>(scale, &x), by_channel::<B>(offset, &x));
    let y = B::float_add(B::float_mul(x, scale), offset);
    let y = match shortcut {
        Some(shortcut) => B::float_add(y, shortcut),
        None => y,
    };
    if relu { B::relu(y) } else { y }
}

/// Gradients of a normalisation by the batch for x, γ and β, and that behind the ReLU, by the back end's own
/// operations. `y` is the result.
pub(crate) fn plain_norm_grad<B: Backend>(
    x: FloatTensor<B>,
    y: FloatTensor<B>,
    [gamma, mean, variance]: [FloatTensor<B>; 3],
    grad: FloatTensor<B>,
    epsilon: f64,
    relu: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let grad = if relu { B::relu_backward(y, grad) } else { grad };
    let all = B::batch_norm_train_backward(x, gamma, mean, variance, epsilon, grad.clone());
    (all.x_grad, all.gamma_grad, all.beta_grad, grad)
}

/// A step of descent with momentum by weighted sums.
pub(crate) fn plain_momentum_step<B: KernelOps>(
    w: FloatTensor<B>,
    m: FloatTensor<B>,
    g: FloatTensor<B>,
    weight_decay: f64,
    momentum: f64,
    lr: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let d = match weight_decay {
        0.0 => g,
        _ => B::kernel_weighted_sum(g, w.clone(), 1.0, weight_decay),
    };
    let m = B::kernel_weighted_sum(m, d, momentum, 1.0);
    (B::kernel_weighted_sum(w, m.clone(), 1.0, -lr), m)
}
