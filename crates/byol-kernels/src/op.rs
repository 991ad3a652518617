//! The operations as Burn sees them: a default for every back end, kernels for flex,
//! derivatives for autodiff.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, IntDType, backend_extension};

use crate::plain::{
    Conv, Norm, plain_affine, plain_conv2d, plain_momentum_step, plain_norm, plain_norm_grad,
    plain_weight_grad, plain_x_grad,
};

/// Operations of this crate. Bodies that are here are Burn's own operations, for back ends
/// without kernels.
#[backend_extension(Flex: cfg(feature = "flex"), Cube: cfg(feature = "cube"), Autodiff)]
pub trait KernelOps: Backend {
    /// Convolution of `[N, C, H, W]` with `[O, C, h, w]`, no bias.
    fn kernel_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, conv: Conv) -> FloatTensor<Self> {
        plain_conv2d::<Self>(x, weight, conv)
    }

    /// Convolution, then scale · y + offset by channel, then ReLU if asked for.
    fn kernel_conv2d_affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        conv: Conv,
        relu: bool,
    ) -> FloatTensor<Self> {
        Self::kernel_affine(Self::kernel_conv2d(x, weight, conv), scale, offset, relu)
    }

    /// The same with a shortcut that is added before the ReLU.
    fn kernel_conv2d_affine_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        conv: Conv,
        relu: bool,
    ) -> FloatTensor<Self> {
        Self::kernel_affine_add(Self::kernel_conv2d(x, weight, conv), scale, offset, shortcut, relu)
    }

    /// Its gradient for `x`.
    fn kernel_conv2d_x_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        plain_x_grad::<Self>(x, weight, grad, conv)
    }

    /// Its gradient for `x`, added to the gradient that `x` has already.
    fn kernel_conv2d_x_grad_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        so_far: FloatTensor<Self>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        Self::float_add(Self::kernel_conv2d_x_grad(x, weight, grad, conv), so_far)
    }

    /// Its gradient for the weights.
    fn kernel_conv2d_weight_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        conv: Conv,
    ) -> FloatTensor<Self> {
        plain_weight_grad::<Self>(x, weight, grad, conv)
    }

    /// Batch normalisation in training mode of `[N, C, …]`, then ReLU if asked for; with the
    /// batch's mean and (biased) variance.
    fn kernel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain_norm::<Self>(x, gamma, beta, None, &norm)
    }

    /// The same with a shortcut that is added before the ReLU.
    fn kernel_norm_add(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain_norm::<Self>(x, gamma, beta, Some(shortcut), &norm)
    }

    /// Gradients of [`kernel_norm`](Self::kernel_norm): for x, γ, β. `y` is the result.
    fn kernel_norm_grad(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (x, gamma, beta, _) = plain_norm_grad::<Self>(x, y, [gamma, mean, variance], grad, &norm);
        (x, gamma, beta)
    }

    /// Gradients of [`kernel_norm_add`](Self::kernel_norm_add): for x, γ, β, shortcut; the last is
    /// any tensor unless `shortcut`. `y` is the result.
    fn kernel_norm_add_grad(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        norm: Norm,
        _shortcut: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain_norm_grad::<Self>(x, y, [gamma, mean, variance], grad, &norm)
    }

    /// Max pooling of `[N, C, H, W]` with a square window.
    fn kernel_max_pool(
        x: FloatTensor<Self>,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        Self::max_pool2d(x, [kernel; 2], [stride; 2], [padding; 2], [1; 2], false)
    }

    /// Its gradient; `y` is the result.
    fn kernel_max_pool_grad(
        x: FloatTensor<Self>,
        _y: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 2]);
        let indices =
            Self::max_pool2d_with_indices(x.clone(), kernel, stride, padding, [1; 2], false, IntDType::I32)
                .indices;
        Self::max_pool2d_with_indices_backward(x, kernel, stride, padding, [1; 2], false, grad, indices)
            .x_grad
    }

    /// scale · x + offset by channel of `[N, C, …]`, then ReLU if asked for.
    fn kernel_affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        plain_affine::<Self>(x, scale, offset, None, relu)
    }

    /// The same with a shortcut that is added before the ReLU.
    fn kernel_affine_add(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        plain_affine::<Self>(x, scale, offset, Some(shortcut), relu)
    }

    /// α · a + β · b.
    fn kernel_weighted_sum(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        alpha: f64,
        beta: f64,
    ) -> FloatTensor<Self> {
        let (a, b) = (Self::float_mul_scalar(a, alpha.into()), Self::float_mul_scalar(b, beta.into()));
        Self::float_add(a, b)
    }

    /// A step of descent with momentum: w and m.
    fn kernel_momentum_step(
        w: FloatTensor<Self>,
        m: FloatTensor<Self>,
        g: FloatTensor<Self>,
        weight_decay: f64,
        momentum: f64,
        lr: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain_momentum_step::<Self>(w, m, g, weight_decay, momentum, lr)
    }
}

/// Tensors of the inner back end.
type Inner<B> = FloatTensor<B>;
/// Tensors of the outer one.
type AutodiffTensor<B> = FloatTensor<Autodiff<B>>;

#[derive(Debug)]
struct Conv2d;

impl<B: KernelOps> Backward<B, 2> for Conv2d {
    type State = (AutodiffTensor<B>, Inner<B>, Conv);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_weight] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (input, weight, conv) = ops.state;
        let x = input.primitive().clone();
        if let Some(node) = node_weight {
            let (x, weight, grad) = (x.clone(), weight.clone(), grad.clone());
            grads.register::<B>(node.id, B::kernel_conv2d_weight_grad(x, weight, grad, conv));
        }
        if let Some(node) = node_x {
            // What the shortcut left there is added on the way, not by a pass of its own.
            let dx = match grads.remove(&input) {
                Some(so_far) => B::kernel_conv2d_x_grad_add(x, weight, grad, so_far, conv),
                None => B::kernel_conv2d_x_grad(x, weight, grad, conv),
            };
            grads.register::<B>(node.id, dx);
        }
    }
}

#[derive(Debug)]
struct BatchNorm;

impl<B: KernelOps> Backward<B, 3> for BatchNorm {
    /// x, y, γ, β, mean, variance.
    type State = (Inner<B>, Inner<B>, Inner<B>, Inner<B>, Inner<B>, Inner<B>, Norm);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, y, gamma, beta, mean, variance, norm) = ops.state;
        let all = B::kernel_norm_grad(x, y, gamma, beta, mean, variance, grad, norm);
        for (node, grad) in ops.parents.into_iter().zip([all.0, all.1, all.2]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct BatchNormAdd;

impl<B: KernelOps> Backward<B, 4> for BatchNormAdd {
    /// x, y, γ, mean, variance.
    type State = (Inner<B>, Inner<B>, Inner<B>, Inner<B>, Inner<B>, Norm);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, y, gamma, mean, variance, norm) = ops.state;
        let shortcut = ops.parents[3].is_some();
        let all = B::kernel_norm_add_grad(x, y, gamma, mean, variance, grad, norm, shortcut);
        for (node, grad) in ops.parents.into_iter().zip([all.0, all.1, all.2, all.3]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct MaxPool;

impl<B: KernelOps> Backward<B, 1> for MaxPool {
    type State = (Inner<B>, Inner<B>, [usize; 3]);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, y, [kernel, stride, padding]) = ops.state;
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::kernel_max_pool_grad(x, y, grad, kernel, stride, padding));
        }
    }
}

impl<B: KernelOps, C: CheckpointStrategy> KernelOps for Autodiff<B, C> {
    fn kernel_max_pool(
        x: FloatTensor<Self>,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        let y = B::kernel_max_pool(x.clone(), kernel, stride, padding);
        match MaxPool.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, y.clone(), [kernel, stride, padding]), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
    fn kernel_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, conv: Conv) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let weight = weight.into_primitive();
        match Conv2d.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::kernel_conv2d(x.primitive().clone(), weight.clone(), conv);
                prep.finish((x, weight, conv), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::kernel_conv2d(x.into_primitive(), weight, conv)),
        }
    }

    fn kernel_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
        let (output, mean, variance) = match BatchNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, mean, variance) =
                    B::kernel_norm(x.clone(), gamma.clone(), beta.clone(), norm.clone());
                let state = (x, y.clone(), gamma, beta, mean.clone(), variance.clone(), norm);
                (prep.finish(state, y), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                // Nobody else has `x` then, perhaps: it can be written over.
                let (y, mean, variance) = B::kernel_norm(x, gamma, beta, norm);
                (prep.finish(y), mean, variance)
            }
        };
        (output, Self::FloatTensorPrimitive::new(mean), Self::FloatTensorPrimitive::new(variance))
    }

    fn kernel_norm_add(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node(), shortcut.node()];
        let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
        let shortcut = shortcut.into_primitive();
        let (output, mean, variance) = match BatchNormAdd.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, mean, variance) =
                    B::kernel_norm_add(x.clone(), gamma.clone(), beta, shortcut, norm.clone());
                let state = (x, y.clone(), gamma, mean.clone(), variance.clone(), norm);
                (prep.finish(state, y), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                // Nobody else has `x` then, perhaps: it can be written over.
                let (y, mean, variance) = B::kernel_norm_add(x, gamma, beta, shortcut, norm);
                (prep.finish(y), mean, variance)
            }
        };
        (output, Self::FloatTensorPrimitive::new(mean), Self::FloatTensorPrimitive::new(variance))
    }
}
