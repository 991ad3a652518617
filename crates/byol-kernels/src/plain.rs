//! The operations by what every back end of Burn has.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{FloatDType, Shape, TensorData, try_read_sync};

use crate::Precision;
use crate::op::KernelOps;
use crate::shared::{Exchange, of_all};

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
    pub(crate) fn options(self) -> ConvOptions<2> {
        ConvOptions::new([self.stride; 2], [self.padding; 2], [1; 2], 1)
    }

    /// What is multiplied by back ends without kernels.
    fn factor<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        match self.precision {
            Precision::F32 | Precision::F16 => x,
            Precision::Bf16 => {
                let dtype = FloatDType::from(x.dtype());
                B::float_cast(B::float_cast(x, FloatDType::BF16), dtype)
            }
        }
    }
}

/// How a normalisation by the batch goes.
#[derive(Debug, Clone)]
pub struct Norm {
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// With whom mean and variance are shared, if with anybody.
    pub shared: Option<Arc<dyn Exchange>>,
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

/// A normalisation by the batch by the back end's own operations: results, mean and variance.
pub(crate) fn plain_norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    shortcut: Option<FloatTensor<B>>,
    norm: &Norm,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let Some(exchange) = &norm.shared else {
        let batch = B::batch_norm_train(x, gamma, beta, norm.epsilon);
        let y = match shortcut {
            Some(shortcut) => B::float_add(batch.output, shortcut),
            None => batch.output,
        };
        return (if norm.relu { B::relu(y) } else { y }, batch.mean, batch.variance);
    };
    let n = per_channel(&x);
    let mean = B::float_div_scalar(summed::<B>(x.clone()), n.into());
    let from_mean = B::float_sub(x.clone(), by_channel::<B>(mean.clone(), &x));
    let squares = B::float_mul(from_mean.clone(), from_mean);
    let variance = B::float_div_scalar(summed::<B>(squares), n.into());
    let (mean, variance) = of_all(exchange.as_ref(), &read::<B>(mean), &read::<B>(variance));
    let [mean, variance] = [mean, variance].map(|values| written::<B>(values, &x));
    let scale = B::float_mul(gamma, rstd::<B>(variance.clone(), norm.epsilon));
    let offset = B::float_sub(beta, B::float_mul(mean.clone(), scale.clone()));
    (plain_affine::<B>(x, scale, offset, shortcut, norm.relu), mean, variance)
}

/// Gradients of a normalisation by the batch for x, γ and β, and that behind the ReLU, by the back end's own
/// operations. `y` is the result.
pub(crate) fn plain_norm_grad<B: Backend>(
    x: FloatTensor<B>,
    y: FloatTensor<B>,
    [gamma, mean, variance]: [FloatTensor<B>; 3],
    grad: FloatTensor<B>,
    norm: &Norm,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let grad = if norm.relu { B::relu_backward(y, grad) } else { grad };
    let Some(exchange) = &norm.shared else {
        let all = B::batch_norm_train_backward(x, gamma, mean, variance, norm.epsilon, grad.clone());
        return (all.x_grad, all.gamma_grad, all.beta_grad, grad);
    };
    let channels = gamma.shape().num_elements();
    let n = per_channel(&x) * exchange.world() as f64;
    let rstd = rstd::<B>(variance, norm.epsilon);
    let from_mean = B::float_sub(x.clone(), by_channel::<B>(mean, &x));
    let hat = B::float_mul(from_mean, by_channel::<B>(rstd.clone(), &x));
    let gamma_grad = summed::<B>(B::float_mul(grad.clone(), hat.clone()));
    let beta_grad = summed::<B>(grad.clone());
    let mut means = [read::<B>(beta_grad.clone()), read::<B>(gamma_grad.clone())].concat();
    exchange.sum(&mut means);
    means.iter_mut().for_each(|x| *x /= n);
    let products = means.split_off(channels);
    let [sums, products] = [means, products].map(|values| by_channel::<B>(written::<B>(values, &x), &x));
    let left = B::float_sub(B::float_sub(grad.clone(), sums), B::float_mul(hat, products));
    let dx = B::float_mul(left, by_channel::<B>(B::float_mul(gamma, rstd), &x));
    (dx, gamma_grad, beta_grad, grad)
}

/// 1 / √(variance + ε).
fn rstd<B: Backend>(variance: FloatTensor<B>, epsilon: f64) -> FloatTensor<B> {
    B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())))
}

/// Values of a channel of `[N, C, …]`.
fn per_channel(x: &impl TensorMetadata) -> f64 {
    let dims = x.shape().to_vec();
    (dims.iter().product::<usize>() / dims[1].max(1)) as f64
}

/// The sum over all but channels, `[C]`.
fn summed<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let dims = x.shape().to_vec();
    let others: Vec<usize> = (0..dims.len()).filter(|i| *i != 1).collect();
    B::float_reshape(B::float_sum_dims(x, &others), Shape::from(vec![dims[1]]))
}

/// A tensor's numbers, waiting for the device.
#[expect(clippy::expect_used, reason = "as Burn's own `into_data`: a device that cannot be read is lost")]
fn read<B: Backend>(x: FloatTensor<B>) -> Vec<f64> {
    let data = try_read_sync(B::float_into_data(x)).expect("the device can be waited for");
    data.expect("the device can be read").iter::<f64>().collect()
}

/// Such numbers on the device of `like`, in its precision.
fn written<B: Backend>(values: Vec<f64>, like: &FloatTensor<B>) -> FloatTensor<B> {
    let n = values.len();
    let data = TensorData::new(values, [n]).convert_dtype(like.dtype());
    B::float_from_data(data, &like.device())
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
