//! Burn's flex tensors as rows of channels and back. A tensor is `[N, C, H, W]` to Burn;
//! what the kernels make lies channels last behind that, so that from one of them to the
//! next nothing is copied.

mod layout;
mod norms;

use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::backend::{Flex, IntDType};
use burn::tensor::{DType, TensorData};

use crate::conv::{self, Shape};
use crate::isa::{Path, Way};
use crate::kept;
use crate::norm::{self, Rectified};
use crate::op::KernelOps;
use crate::plain::{
    Conv, Norm, plain_conv2d, plain_momentum_step, plain_norm, plain_norm_grad, plain_weight_grad,
    plain_x_grad,
};
use crate::pool;
use crate::sum;
pub(crate) use layout::values;
use layout::{channels_first, channels_last, owned, straight};
use norms::{affine, norm_forward, norm_grad};

pub(crate) type Tensor = <Flex as burn::backend::BackendTypes>::FloatTensorPrimitive;

/// Whether all are f32 and of one shape.
fn alike(tensors: &[&Tensor]) -> bool {
    let same = |pair: &[&Tensor]| pair[0].layout().shape().to_vec() == pair[1].layout().shape().to_vec();
    is_f32(tensors) && tensors.windows(2).all(same)
}

/// Whether the kernels can do it: f32, two or four dimensions, something to do.
fn is_ours(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.dtype() == DType::F32 && t.layout().num_elements() > 0)
        && tensors.first().is_some_and(|x| matches!(x.layout().num_dims(), 2 | 4))
}

/// Whether parameters are one a channel of `x`, and a shortcut is shaped as it.
fn fits(x: &Tensor, channels: &[&Tensor], shortcut: Option<&Tensor>) -> bool {
    let dims = x.layout().shape().to_vec();
    let n = dims.get(1).copied().unwrap_or(0);
    let ours = is_ours(&[x]) && is_f32(channels) && shortcut.is_none_or(|s| is_ours(&[s]));
    ours && channels.iter().all(|c| c.layout().shape().to_vec() == [n])
        && shortcut.is_none_or(|s| s.layout().shape().to_vec() == dims)
}

fn is_f32(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.dtype() == DType::F32)
}

fn shape(x: &Tensor, weight: &Tensor, conv: Conv) -> Option<Shape> {
    let Conv { stride, padding, .. } = conv;
    let (x, weight) = (x.layout().shape().to_vec(), weight.layout().shape().to_vec());
    let (&[n, in_c, h, w], &[out_c, of, kh, kw]) = (x.as_slice(), weight.as_slice()) else { return None };
    let fits = of == in_c && stride > 0 && h + 2 * padding >= kh && w + 2 * padding >= kw;
    fits.then_some(Shape { n, h, w, in_c, out_c, kernel: [kh, kw], stride, padding })
}

fn way(conv: Conv) -> Way {
    Way::of(Path::current(), conv.precision)
}

fn pooling(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Option<pool::Shape> {
    let &[n, channels, h, w] = x.layout().shape().to_vec().as_slice() else { return None };
    // Every window has a pixel in it.
    let fits = stride > 0 && padding < kernel && h + 2 * padding >= kernel && w + 2 * padding >= kernel;
    (is_ours(&[x]) && fits).then_some(pool::Shape { n, h, w, channels, kernel, stride, padding })
}

impl KernelOps for Flex {
    fn kernel_conv2d(x: Tensor, weight: Tensor, conv: Conv) -> Tensor {
        let Some(shape) = shape(&x, &weight, conv).filter(|_| is_ours(&[&x, &weight])) else {
            return plain_conv2d::<Self>(x, weight, conv);
        };
        let (x, way) = (channels_last(&x), way(conv));
        let y =
            kept::with(way, &shape, &weight, |weights| conv::forward(way, &shape, values(&x), weights, None));
        let [h, w] = shape.out();
        channels_first(y, &[shape.n, h, w, shape.out_c])
    }

    fn kernel_conv2d_affine(
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        offset: Tensor,
        conv: Conv,
        relu: bool,
    ) -> Tensor {
        conv2d_affine(x, weight, [scale, offset], None, conv, relu)
    }

    fn kernel_conv2d_affine_add(
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        offset: Tensor,
        shortcut: Tensor,
        conv: Conv,
        relu: bool,
    ) -> Tensor {
        conv2d_affine(x, weight, [scale, offset], Some(shortcut), conv, relu)
    }

    fn kernel_conv2d_x_grad(x: Tensor, weight: Tensor, grad: Tensor, conv: Conv) -> Tensor {
        let Some(shape) = shape(&x, &weight, conv).filter(|_| is_ours(&[&grad, &weight])) else {
            return plain_x_grad::<Self>(x, weight, grad, conv);
        };
        input_grad(&shape, &weight, &grad, None, conv)
    }

    fn kernel_conv2d_x_grad_add(
        x: Tensor,
        weight: Tensor,
        grad: Tensor,
        so_far: Tensor,
        conv: Conv,
    ) -> Tensor {
        let Some(shape) =
            shape(&x, &weight, conv).filter(|_| is_ours(&[&grad, &weight]) && is_ours(&[&so_far]))
        else {
            return Self::float_add(Self::kernel_conv2d_x_grad(x, weight, grad, conv), so_far);
        };
        input_grad(&shape, &weight, &grad, Some(owned(so_far)), conv)
    }

    fn kernel_conv2d_weight_grad(x: Tensor, weight: Tensor, grad: Tensor, conv: Conv) -> Tensor {
        let Some(shape) = shape(&x, &weight, conv).filter(|_| is_ours(&[&x, &grad])) else {
            return plain_weight_grad::<Self>(x, weight, grad, conv);
        };
        let (x, grad) = (channels_last(&x), channels_last(&grad));
        let dw = conv::weight_grad(way(conv), &shape, values(&x), values(&grad));
        let [kh, kw] = shape.kernel;
        Tensor::from_data(TensorData::new(dw, [shape.out_c, shape.in_c, kh, kw]))
    }

    fn kernel_norm(x: Tensor, gamma: Tensor, beta: Tensor, norm: Norm) -> (Tensor, Tensor, Tensor) {
        if !fits(&x, &[&gamma, &beta], None) {
            return plain_norm::<Self>(x, gamma, beta, None, &norm);
        }
        norm_forward(x, &gamma, &beta, None, &norm)
    }

    fn kernel_norm_add(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        shortcut: Tensor,
        norm: Norm,
    ) -> (Tensor, Tensor, Tensor) {
        if !fits(&x, &[&gamma, &beta], Some(&shortcut)) {
            return plain_norm::<Self>(x, gamma, beta, Some(shortcut), &norm);
        }
        norm_forward(x, &gamma, &beta, Some(&shortcut), &norm)
    }

    fn kernel_norm_grad(
        x: Tensor,
        y: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        grad: Tensor,
        norm: Norm,
    ) -> (Tensor, Tensor, Tensor) {
        if !fits(&x, &[&gamma, &beta, &mean, &variance], Some(&grad)) {
            let by_channel = [gamma, mean, variance];
            let (dx, dgamma, dbeta, _) = plain_norm_grad::<Self>(x, y, by_channel, grad, &norm);
            return (dx, dgamma, dbeta);
        }
        let [gamma, beta, mean, variance] = [gamma, beta, mean, variance].map(|t| t.to_contiguous());
        let of = [&gamma, &beta, &mean, &variance].map(values);
        let (scale, offset) = norm::fold(of[0], of[1], of[2], of[3], norm.epsilon);
        let relu =
            if norm.relu { Rectified::Again { scale: &scale, offset: &offset } } else { Rectified::Not };
        let (dx, dgamma, dbeta, _) = norm_grad(x, relu, [&gamma, &mean, &variance], grad, &norm, false);
        (dx, dgamma, dbeta)
    }

    fn kernel_norm_add_grad(
        x: Tensor,
        y: Tensor,
        gamma: Tensor,
        mean: Tensor,
        variance: Tensor,
        grad: Tensor,
        norm: Norm,
        shortcut: bool,
    ) -> (Tensor, Tensor, Tensor, Tensor) {
        if !fits(&x, &[&gamma, &mean, &variance], Some(&grad)) {
            return plain_norm_grad::<Self>(x, y, [gamma, mean, variance], grad, &norm);
        }
        let [gamma, mean, variance] = [gamma, mean, variance].map(|t| t.to_contiguous());
        let (by_channel, y) = ([&gamma, &mean, &variance], channels_last(&y));
        // Without a ReLU the gradient itself is the shortcut's.
        let kept = (shortcut && !norm.relu).then(|| grad.clone());
        let relu = if norm.relu { Rectified::By(values(&y)) } else { Rectified::Not };
        let (dx, dgamma, dbeta, g) = norm_grad(x, relu, by_channel, grad, &norm, kept.is_none() && shortcut);
        (dx, dgamma, dbeta, g.or(kept).unwrap_or(gamma))
    }

    fn kernel_max_pool(x: Tensor, kernel: usize, stride: usize, padding: usize) -> Tensor {
        let Some(shape) = pooling(&x, kernel, stride, padding) else {
            return Self::max_pool2d(x, [kernel; 2], [stride; 2], [padding; 2], [1; 2], false);
        };
        let x = channels_last(&x);
        let [h, w] = shape.out();
        let y = pool::forward(Path::current(), &shape, values(&x));
        channels_first(y, &[shape.n, h, w, shape.channels])
    }

    fn kernel_max_pool_grad(
        x: Tensor,
        y: Tensor,
        grad: Tensor,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Tensor {
        let Some(shape) = pooling(&x, kernel, stride, padding) else {
            let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 2]);
            let found = Self::max_pool2d_with_indices(
                x.clone(),
                kernel,
                stride,
                padding,
                [1; 2],
                false,
                IntDType::I64,
            );
            let indices = found.indices;
            return Self::max_pool2d_with_indices_backward(
                x, kernel, stride, padding, [1; 2], false, grad, indices,
            )
            .x_grad;
        };
        let [x, y, grad] = [x, y, grad].map(|t| channels_last(&t));
        let dx = pool::backward(Path::current(), &shape, values(&x), values(&y), values(&grad));
        channels_first(dx, &[shape.n, shape.h, shape.w, shape.channels])
    }

    fn kernel_affine(x: Tensor, scale: Tensor, offset: Tensor, relu: bool) -> Tensor {
        affine(x, scale, offset, None, relu)
    }

    fn kernel_affine_add(x: Tensor, scale: Tensor, offset: Tensor, shortcut: Tensor, relu: bool) -> Tensor {
        affine(x, scale, offset, Some(shortcut), relu)
    }

    fn kernel_weighted_sum(a: Tensor, b: Tensor, alpha: f64, beta: f64) -> Tensor {
        if !alike(&[&a, &b]) || !a.is_contiguous() {
            let (a, b) = (Self::float_mul_scalar(a, alpha.into()), Self::float_mul_scalar(b, beta.into()));
            return Self::float_add(a, b);
        }
        let (dims, b) = (a.layout().shape().to_vec(), b.to_contiguous());
        let sum = sum::weighted(Path::current(), straight(a), alpha as f32, values(&b), beta as f32);
        Tensor::from_data(TensorData::new(sum, dims))
    }

    fn kernel_momentum_step(
        w: Tensor,
        m: Tensor,
        g: Tensor,
        weight_decay: f64,
        momentum: f64,
        lr: f64,
    ) -> (Tensor, Tensor) {
        if !alike(&[&w, &m, &g]) || !w.is_contiguous() || !m.is_contiguous() {
            return plain_momentum_step::<Self>(w, m, g, weight_decay, momentum, lr);
        }
        let (dims, g) = (w.layout().shape().to_vec(), g.to_contiguous());
        let by = [weight_decay as f32, momentum as f32, lr as f32];
        let (w, m) = sum::momentum_step(Path::current(), straight(w), straight(m), values(&g), by);
        (Tensor::from_data(TensorData::new(w, dims.clone())), Tensor::from_data(TensorData::new(m, dims)))
    }
}

fn input_grad(shape: &Shape, weight: &Tensor, grad: &Tensor, so_far: Option<Vec<f32>>, conv: Conv) -> Tensor {
    let (weight, grad) = (weight.to_contiguous(), channels_last(grad));
    let dx = conv::input_grad(way(conv), shape, values(&weight), values(&grad), so_far);
    channels_first(dx, &[shape.n, shape.h, shape.w, shape.in_c])
}

fn conv2d_affine(
    x: Tensor,
    weight: Tensor,
    [scale, offset]: [Tensor; 2],
    shortcut: Option<Tensor>,
    conv: Conv,
    relu: bool,
) -> Tensor {
    let fits = |shape: &Shape| {
        let [h, w] = shape.out();
        let (n, c) = (shape.n, shape.out_c);
        let one_each = |t: &Tensor| t.dtype() == DType::F32 && t.layout().shape().to_vec() == [c];
        is_ours(&[&x, &weight])
            && one_each(&scale)
            && one_each(&offset)
            && shortcut.as_ref().is_none_or(|s| is_ours(&[s]) && s.layout().shape().to_vec() == [n, c, h, w])
    };
    let Some(shape) = shape(&x, &weight, conv).filter(fits) else {
        let y = Flex::kernel_conv2d(x, weight, conv);
        return affine(y, scale, offset, shortcut, relu);
    };
    let [scale, offset] = [scale, offset].map(|t| t.to_contiguous());
    let (x, shortcut) = (channels_last(&x), shortcut.as_ref().map(channels_last));
    let after = conv::After {
        scale: values(&scale),
        offset: values(&offset),
        shortcut: shortcut.as_ref().map(values),
        relu,
    };
    let way = way(conv);
    let y = kept::with(way, &shape, &weight, |weights| {
        conv::forward(way, &shape, values(&x), weights, Some(after))
    });
    let [h, w] = shape.out();
    channels_first(y, &[shape.n, h, w, shape.out_c])
}
