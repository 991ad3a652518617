//! Convolution and batch normalisation for [Burn](burn), fast on CPUs.
//!
//! Burn's flex back end leaves most of a processor's arithmetic unused when it trains
//! convolutional networks. These operations replace its convolution and batch
//! normalisation through Burn's extension mechanism; on every other back end they are
//! Burn's own. Feature `flex` compiles the kernels.
//!
//! * [`conv2d`]: results and both gradients by direct loops over channels-last images, in
//!   AVX-512, AVX2 or portable code ([`Path`]).
//! * [`batch_norm_train`]: normalisation by the batch, with a shortcut added and a ReLU
//!   if asked for, in two passes each way. [`affine`] is the same with given factors.
//!
//! Tensors are `[N, C, H, W]` as everywhere in Burn. Every result has the same bits on
//! any number of threads.

#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod conv;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
#[allow(unsafe_code, clippy::missing_safety_doc, reason = "instruction sets: see SAFETY and `Isa`")]
mod isa;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod norm;
mod op;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod pool;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

#[cfg(feature = "flex")]
pub use isa::Path;
pub use op::KernelOps;

/// Convolution without bias, the same stride and padding both ways.
///
/// # Shapes
///
/// `x`: `[N, C, H, W]`; `weight`: `[O, C, h, w]`; result:
/// `[N, O, (H + 2 padding − h) / stride + 1, (W + 2 padding − w) / stride + 1]`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    let y =
        <Dispatch as KernelOps>::kernel_conv2d(x.into_dispatch(), weight.into_dispatch(), stride, padding);
    Tensor::from_dispatch(y)
}

/// What [`batch_norm_train`] gives.
#[derive(Debug, Clone)]
pub struct BatchNorm<const D: usize> {
    /// As the input.
    pub output: Tensor<D>,
    /// Of the batch, `[C]`; a constant for the gradient.
    pub mean: Tensor<1>,
    /// Of the batch, biased, `[C]`; a constant for the gradient.
    pub variance: Tensor<1>,
}

/// Batch normalisation in training mode (Ioffe and Szegedy 2015) of `[N, C, …]` by the
/// batch's statistics, γ and β `[C]`; then `shortcut` added and a ReLU, if asked for.
pub fn batch_norm_train<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shortcut: Option<Tensor<D>>,
    relu: bool,
    epsilon: f64,
) -> BatchNorm<D> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (output, mean, variance) = match shortcut {
        None => <Dispatch as KernelOps>::kernel_norm(x, gamma, beta, epsilon, relu),
        Some(shortcut) => {
            let shortcut = shortcut.into_dispatch();
            <Dispatch as KernelOps>::kernel_norm_add(x, gamma, beta, shortcut, epsilon, relu)
        }
    };
    BatchNorm {
        output: Tensor::from_dispatch(output),
        mean: Tensor::from_dispatch(mean),
        variance: Tensor::from_dispatch(variance),
    }
}

/// Max pooling with a square window; what is outside of a picture is in no window.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, C, (H + 2 padding − kernel) / stride + 1, …]`.
pub fn max_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    let y = <Dispatch as KernelOps>::kernel_max_pool(x.into_dispatch(), kernel, stride, padding);
    Tensor::from_dispatch(y)
}

/// scale · x + offset by channel of `[N, C, …]`, then `shortcut` added and a ReLU, if asked
/// for: normalisation in evaluation mode.
pub fn affine<const D: usize>(
    x: Tensor<D>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<D>>,
    relu: bool,
) -> Tensor<D> {
    let (x, scale, offset) = (x.into_dispatch(), scale.into_dispatch(), offset.into_dispatch());
    Tensor::from_dispatch(match shortcut {
        None => <Dispatch as KernelOps>::kernel_affine(x, scale, offset, relu),
        Some(shortcut) => {
            <Dispatch as KernelOps>::kernel_affine_add(x, scale, offset, shortcut.into_dispatch(), relu)
        }
    })
}
