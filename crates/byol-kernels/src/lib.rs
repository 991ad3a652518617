//! Convolution and batch normalisation for [Burn](burn), fast on CPUs.
//!
//! Burn's flex back end leaves most of a processor's arithmetic unused when it trains
//! convolutional networks. These operations replace its convolution and batch
//! normalisation through Burn's extension mechanism; on every other back end they are
//! Burn's own. Feature `flex` compiles the kernels.
//!
//! * [`conv2d`]: results and both gradients over channels-last images, directly or, where a 3×3
//!   window pays for it, by minimal filtering (Winograd 1980), in AVX-512, AVX2 or portable code
//!   ([`Path`]). [`conv2d_affine`] has normalisation in evaluation mode in the same pass.
//! * [`batch_norm_train`]: normalisation by the batch, with a shortcut added and a ReLU
//!   if asked for, in two passes each way. [`affine`] is the same with given factors.
//! * [`statistics_shared`]: normalisation by a batch that is spread over processes ([`Exchange`]).
//! * [`autocast`]: convolutions of bf16 values, summed in f32 ([`Precision`]). [`weights_kept`]: weights
//!   are packed once for several passes.
//! * [`max_pool2d`], and [`weighted_sum`] and [`momentum_step`] for averages and optimisers.
//! * [`Floor`]: what the machine could do at most, beside which a time is seen.
//! * [`nn`]: Burn's layers by these operations, under Burn's names: change `use burn::nn` to
//!   `use byol_kernels::nn`.
//!
//! Tensors are `[N, C, H, W]` as everywhere in Burn. Every result has the same bits on
//! any number of threads.

#![allow(clippy::needless_range_loop, reason = "an index tells the compiler to unroll; iterators spill sums")]
#![allow(clippy::too_many_arguments, reason = "Burn's operations are functions of plain tensors")]

#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod conv;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "vectors: see SAFETY")]
mod floor;
#[cfg(feature = "flex")]
#[allow(unsafe_code, clippy::missing_safety_doc, reason = "instruction sets: see SAFETY and `Isa`")]
mod isa;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod norm;
#[cfg(feature = "operations")]
mod op;
#[cfg(feature = "operations")]
mod plain;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod pool;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "loops over raw rows: see SAFETY")]
mod sum;
#[cfg(feature = "flex")]
#[allow(unsafe_code, reason = "memory that is written once: see SAFETY")]
mod turn;

mod kept;
pub mod nn;
mod precision;
mod shared;

use burn::nn::PaddingConfig2d;
use burn::nn::pool::MaxPool2dConfig;
use burn::tensor::activation::relu;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor};

#[cfg(feature = "operations")]
use burn::backend::{Dispatch, DispatchDevice};

#[cfg(feature = "flex")]
pub use floor::Floor;
#[cfg(feature = "flex")]
pub use isa::Path;
pub use kept::weights_kept;
#[cfg(feature = "operations")]
pub use op::KernelOps;
#[cfg(feature = "operations")]
pub use plain::{Conv, Norm};
pub use precision::{Precision, autocast};
pub use shared::{Exchange, statistics_shared};

/// Whether the operations are this crate's where the tensor lives.
#[cfg(feature = "operations")]
fn is_ours<const D: usize>(x: &Tensor<D>) -> bool {
    match x.device().without_autodiff().as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(_) => true,
        #[allow(unreachable_patterns, reason = "there are only those two, perhaps")]
        _ => false,
    }
}

/// Whether an operation on the tensor is the kernels'.
#[cfg(feature = "flex")]
fn has_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    let on_flex = matches!(x.device().without_autodiff().as_dispatch(), DispatchDevice::Flex(_));
    on_flex && x.dtype() == DType::F32
}

/// Whether an operation on the tensor is the kernels'.
#[cfg(not(feature = "flex"))]
fn has_kernels<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

/// Convolution without bias, the same stride and padding both ways.
///
/// Factors are f32, or bf16 within [`autocast`].
///
/// A tracked result wants a backward pass: a graph that is dropped without one keeps its
/// values until the parameters it was made with are gone.
///
/// # Shapes
///
/// `x`: `[N, C, H, W]`; `weight`: `[O, C, h, w]`; result:
/// `[N, O, (H + 2 padding − h) / stride + 1, (W + 2 padding − w) / stride + 1]`.
///
/// A 3×3 window, and in bf16 one of few channels, may see up to a pixel beyond its own where a value is
/// infinite or no number: the results near it are no numbers then.
///
/// # Panics
///
/// If the weights are for another number of channels.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    check_channels(&x, &weight);
    #[cfg(feature = "operations")]
    if is_ours(&x) {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        let conv = Conv { stride, padding, precision: Precision::current() };
        return Tensor::from_dispatch(<Dispatch as KernelOps>::kernel_conv2d(x, weight, conv));
    }
    let (x, weight) = match Precision::current() {
        Precision::F32 | Precision::F16 => (x, weight),
        Precision::Bf16 => (rounded(x), rounded(weight)),
    };
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
    burn::tensor::module::conv2d(x, weight, None, options)
}

/// The nearest bf16 values; a gradient goes through as it is.
fn rounded(x: Tensor<4>) -> Tensor<4> {
    let dtype = x.dtype();
    x.cast(DType::BF16).cast(dtype)
}

/// Burn's own operations take it for granted below the checks of its layers.
fn check_channels(x: &Tensor<4>, weight: &Tensor<4>) {
    let (channels, expected) = (x.dims()[1], weight.dims()[1]);
    assert!(channels == expected, "images of {channels} channels, and weights for {expected}");
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
    /// Values of a channel that they are of; of all processes, where those share.
    pub count: usize,
}

/// Batch normalisation in training mode (Ioffe and Szegedy 2015) of `[N, C, …]` by the
/// batch's statistics, γ and β `[C]`; then `shortcut` added and a ReLU, if asked for.
///
/// # Panics
///
/// Within [`statistics_shared`] on a back end that this crate has no feature for.
pub fn batch_norm_train<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shortcut: Option<Tensor<D>>,
    rectify: bool,
    epsilon: f64,
) -> BatchNorm<D> {
    let shared = shared::current();
    let count = x.shape().num_elements() / x.dims()[1].max(1);
    let count = count * shared.as_ref().map_or(1, |exchange| exchange.world());
    #[cfg(feature = "operations")]
    if is_ours(&x) {
        let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
        let norm = Norm { epsilon, relu: rectify, shared };
        let (output, mean, variance) = match shortcut {
            None => <Dispatch as KernelOps>::kernel_norm(x, gamma, beta, norm),
            Some(shortcut) => {
                let shortcut = shortcut.into_dispatch();
                <Dispatch as KernelOps>::kernel_norm_add(x, gamma, beta, shortcut, norm)
            }
        };
        return BatchNorm {
            output: Tensor::from_dispatch(output),
            mean: Tensor::from_dispatch(mean),
            variance: Tensor::from_dispatch(variance),
            count,
        };
    }
    assert!(shared.is_none(), "statistics are shared on flex and on GPUs, by this crate's features for them");
    let batch = burn::tensor::module::batch_norm_train(x, gamma, beta, epsilon);
    BatchNorm {
        output: finished(batch.output, shortcut, rectify),
        mean: batch.mean.detach(),
        variance: batch.variance.detach(),
        count,
    }
}

fn finished<const D: usize>(x: Tensor<D>, shortcut: Option<Tensor<D>>, rectify: bool) -> Tensor<D> {
    let sum = match shortcut {
        Some(shortcut) => x + shortcut,
        None => x,
    };
    if rectify { relu(sum) } else { sum }
}

/// Max pooling with a square window; what is outside of a picture is in no window.
///
/// # Shapes
///
/// `[N, C, H, W]` to `[N, C, (H + 2 padding − kernel) / stride + 1, …]`.
pub fn max_pool2d(x: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    #[cfg(feature = "operations")]
    if is_ours(&x) {
        let y = <Dispatch as KernelOps>::kernel_max_pool(x.into_dispatch(), kernel, stride, padding);
        return Tensor::from_dispatch(y);
    }
    let pool = MaxPool2dConfig::new([kernel; 2])
        .with_strides([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding));
    pool.init().forward(x)
}

/// scale · x + offset by channel of `[N, C, …]`, then `shortcut` added and a ReLU, if asked
/// for: normalisation in evaluation mode.
pub fn affine<const D: usize>(
    x: Tensor<D>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<D>>,
    rectify: bool,
) -> Tensor<D> {
    #[cfg(feature = "operations")]
    if is_ours(&x) {
        let (x, scale, offset) = (x.into_dispatch(), scale.into_dispatch(), offset.into_dispatch());
        return Tensor::from_dispatch(match shortcut {
            None => <Dispatch as KernelOps>::kernel_affine(x, scale, offset, rectify),
            Some(shortcut) => {
                let shortcut = shortcut.into_dispatch();
                <Dispatch as KernelOps>::kernel_affine_add(x, scale, offset, shortcut, rectify)
            }
        });
    }
    let mut dims = [1; D];
    dims[1] = scale.dims()[0];
    finished(x * scale.reshape(dims) + offset.reshape(dims), shortcut, rectify)
}

/// [`conv2d`], then scale · y + offset by channel, `shortcut` added and a ReLU, if asked for: a
/// convolution and its normalisation in evaluation mode. The same bits as [`affine`] afterwards,
/// without a pass over the results; where a gradient is wanted, it is just that.
///
/// # Panics
///
/// As [`conv2d`].
pub fn conv2d_affine(
    x: Tensor<4>,
    weight: Tensor<4>,
    stride: usize,
    padding: usize,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<4>>,
    rectify: bool,
) -> Tensor<4> {
    check_channels(&x, &weight);
    #[cfg(feature = "operations")]
    if is_ours(&x) {
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        let (scale, offset) = (scale.into_dispatch(), offset.into_dispatch());
        let conv = Conv { stride, padding, precision: Precision::current() };
        return Tensor::from_dispatch(match shortcut {
            None => <Dispatch as KernelOps>::kernel_conv2d_affine(x, weight, scale, offset, conv, rectify),
            Some(shortcut) => {
                let shortcut = shortcut.into_dispatch();
                <Dispatch as KernelOps>::kernel_conv2d_affine_add(
                    x, weight, scale, offset, shortcut, conv, rectify,
                )
            }
        });
    }
    affine(conv2d(x, weight, stride, padding), scale, offset, shortcut, rectify)
}

/// α · a + β · b of tensors of one shape, in a's memory where nobody else has it: moving averages
/// and steps of optimisers, in one pass.
pub fn weighted_sum<const D: usize>(a: Tensor<D>, alpha: f64, b: Tensor<D>, beta: f64) -> Tensor<D> {
    #[cfg(feature = "operations")]
    if is_ours(&a) {
        let (a, b) = (a.into_dispatch(), b.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as KernelOps>::kernel_weighted_sum(a, b, alpha, beta));
    }
    a.mul_scalar(alpha) + b.mul_scalar(beta)
}

/// A step of descent with momentum, in one pass and in the memory of w and m where nobody else has it:
///
/// ```text
/// m = momentum · m + (g + weight_decay · w)
/// w = w − lr · m
/// ```
///
/// The values afterwards, w before m.
pub fn momentum_step<const D: usize>(
    w: Tensor<D>,
    m: Tensor<D>,
    g: Tensor<D>,
    weight_decay: f64,
    momentum: f64,
    lr: f64,
) -> (Tensor<D>, Tensor<D>) {
    #[cfg(feature = "operations")]
    if is_ours(&w) {
        let (w, m, g) = (w.into_dispatch(), m.into_dispatch(), g.into_dispatch());
        let (w, m) = <Dispatch as KernelOps>::kernel_momentum_step(w, m, g, weight_decay, momentum, lr);
        return (Tensor::from_dispatch(w), Tensor::from_dispatch(m));
    }
    let d = if weight_decay == 0.0 { g } else { g + w.clone().mul_scalar(weight_decay) };
    let m = m.mul_scalar(momentum) + d;
    (w - m.clone().mul_scalar(lr), m)
}

/// The crate's page, whose example is a test.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
