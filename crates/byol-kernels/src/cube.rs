//! The operations on GPUs: the back end's own, but that convolutions multiply halves where that is asked
//! for, which is what its tensor cores are for.

use burn::backend::Cube;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::FloatDType;

use crate::Precision;
use crate::op::KernelOps;
use crate::plain::{Conv, plain_conv2d, plain_weight_grad, plain_x_grad};

type Tensor = <Cube as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// What a convolution of that precision is given.
fn half(conv: Conv) -> Option<FloatDType> {
    match conv.precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(FloatDType::BF16),
        Precision::F16 => Some(FloatDType::F16),
    }
}

fn whole(x: Tensor) -> Tensor {
    Cube::float_cast(x, FloatDType::F32)
}

/// Such a convolution of halves: what it multiplies is narrow, what it gives is f32 again.
impl KernelOps for Cube {
    fn kernel_conv2d(x: Tensor, weight: Tensor, conv: Conv) -> Tensor {
        let Some(dtype) = half(conv) else { return plain_conv2d::<Self>(x, weight, conv) };
        let [x, weight] = [x, weight].map(|x| Self::float_cast(x, dtype));
        whole(Self::conv2d(x, weight, None, conv.options()))
    }

    fn kernel_conv2d_x_grad(x: Tensor, weight: Tensor, grad: Tensor, conv: Conv) -> Tensor {
        let Some(dtype) = half(conv) else { return plain_x_grad::<Self>(x, weight, grad, conv) };
        let [x, weight, grad] = [x, weight, grad].map(|x| Self::float_cast(x, dtype));
        whole(Self::conv2d_x_backward(x, weight, grad, conv.options()))
    }

    fn kernel_conv2d_weight_grad(x: Tensor, weight: Tensor, grad: Tensor, conv: Conv) -> Tensor {
        let Some(dtype) = half(conv) else { return plain_weight_grad::<Self>(x, weight, grad, conv) };
        let [x, weight, grad] = [x, weight, grad].map(|x| Self::float_cast(x, dtype));
        whole(Self::conv2d_weight_backward(x, weight, grad, conv.options()))
    }
}
