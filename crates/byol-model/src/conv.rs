//! Convolutions without bias, He initialisation, and 1×1 as a matrix product.

use burn::module::Initializer;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
#[cfg(not(feature = "kernels"))]
use burn::tensor::s;
use burn::tensor::{Device, Tensor};

/// A square convolution, "same" padding, no bias, fan-out He-normal weights.
pub(crate) fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: true })
        .init(device)
}

/// `conv.forward(x)` by the kernels of byol-kernels.
#[cfg(feature = "kernels")]
pub(crate) fn forward(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    // The padding of `conv` above.
    let [_, _, kernel, _] = conv.weight.dims();
    byol_kernels::conv2d(x, conv.weight.val(), conv.stride[0], kernel / 2)
}

/// `conv.forward(x)`, through a matrix product where the kernel is 1×1: on CPUs
/// its backward pass is three to four times faster than the convolution's.
#[cfg(not(feature = "kernels"))]
pub(crate) fn forward(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let [out, channels, 1, 1] = conv.weight.dims() else { return conv.forward(x) };
    let [n, _, height, width] = x.dims();
    let stride = conv.stride[0];
    let x = match stride {
        1 => x,
        step => x.slice(s![.., .., 0..height; step as isize, 0..width; step as isize]),
    };
    let (height, width) = (height.div_ceil(stride), width.div_ceil(stride));
    let weight = conv.weight.val().reshape([1, out, channels]);
    let flat = x.reshape([n, channels, height * width]);
    weight.matmul(flat).reshape([n, out, height, width])
}

/// `forward`, then scale · y + offset by channel, a shortcut added and a ReLU, if asked for.
#[cfg(feature = "kernels")]
pub(crate) fn forward_affine(
    conv: &Conv2d,
    x: Tensor<4>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<4>>,
    rectify: bool,
) -> Tensor<4> {
    let [_, _, kernel, _] = conv.weight.dims();
    let (weight, stride) = (conv.weight.val(), conv.stride[0]);
    byol_kernels::conv2d_affine(x, weight, stride, kernel / 2, scale, offset, shortcut, rectify)
}

/// `forward`, then scale · y + offset by channel, a shortcut added and a ReLU, if asked for.
#[cfg(not(feature = "kernels"))]
pub(crate) fn forward_affine(
    conv: &Conv2d,
    x: Tensor<4>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<4>>,
    rectify: bool,
) -> Tensor<4> {
    crate::norm::affine(forward(conv, x), scale, offset, shortcut, rectify)
}
