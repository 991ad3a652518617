//! Batch normalisation whose mode is explicit.

use burn::module::{Flag, Initializer, Module, Param, RunningState};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use crate::conv;

/// Sizes and constants of a [`BatchNorm`].
#[derive(Debug, Clone, Copy)]
pub struct BatchNormConfig {
    /// C.
    pub channels: usize,
    /// Initial γ; 0 for the last normalisation of a residual block with zero-γ.
    pub gamma: f64,
}

impl BatchNormConfig {
    /// Share of the new statistics in the running ones (the paper's decay of 0.9).
    pub const MOMENTUM: f64 = 0.1;
    /// Added to the variance.
    pub const EPSILON: f64 = 1e-5;

    /// For `channels` channels, γ = 1.
    pub fn new(channels: usize) -> Self {
        Self { channels, gamma: 1.0 }
    }

    /// γ as asked (1 unless zero-γ), β = 0, running mean 0, running variance 1.
    pub fn init(&self, device: &Device) -> BatchNorm {
        BatchNorm {
            weight: Initializer::Constant { value: self.gamma }.init([self.channels], device),
            bias: Initializer::Zeros.init([self.channels], device),
            running_mean: RunningState::new(Tensor::zeros([self.channels], device)),
            running_var: RunningState::new(Tensor::ones([self.channels], device)),
            training: Param::from_bool(true),
            momentum: Self::MOMENTUM,
            epsilon: Self::EPSILON,
        }
    }
}

/// Batch normalisation over `[N, C, ...]` (Ioffe and Szegedy 2015), with
/// PyTorch's names and its running variance (unbiased).
///
/// In training mode it uses the batch's statistics and updates the running ones,
/// on whatever device; [`Module::valid`] switches to the running ones. The update
/// is visible at once.
///
/// A clone shares the running statistics (Burn's `RunningState` is behind a
/// shared pointer); `valid()` and `train()` make networks of their own.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// γ, `[C]`.
    pub weight: Param<Tensor<1>>,
    /// β, `[C]`.
    pub bias: Param<Tensor<1>>,
    /// `[C]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// `[C]`, unbiased.
    pub running_var: RunningState<Tensor<1>>,
    /// Whether the batch's statistics are used.
    pub training: Param<Flag>,
    momentum: f64,
    epsilon: f64,
}

impl BatchNorm {
    /// Normalises; same shape out, `[N, C, ...]`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.forward_with(input, None, false)
    }

    /// Normalises, then adds a shortcut and takes a ReLU, if asked for.
    pub fn forward_with<const D: usize>(
        &self,
        input: Tensor<D>,
        shortcut: Option<Tensor<D>>,
        rectify: bool,
    ) -> Tensor<D> {
        if self.training.is_enabled() {
            self.forward_batch(input, shortcut, rectify)
        } else {
            self.forward_running(input, shortcut, rectify)
        }
    }

    /// Convolves, then as [`forward_with`](Self::forward_with); in evaluation mode in one pass,
    /// where the kernels are.
    pub(crate) fn after(
        &self,
        conv: &Conv2d,
        x: Tensor<4>,
        shortcut: Option<Tensor<4>>,
        rectify: bool,
    ) -> Tensor<4> {
        if self.training.is_enabled() {
            return self.forward_batch(conv::forward(conv, x), shortcut, rectify);
        }
        let (scale, offset) = self.factors();
        conv::forward_affine(conv, x, scale, offset, shortcut, rectify)
    }

    fn forward_batch<const D: usize>(
        &self,
        input: Tensor<D>,
        shortcut: Option<Tensor<D>>,
        rectify: bool,
    ) -> Tensor<D> {
        let (output, mean, variance, n) = self.normalized(input, shortcut, rectify);
        let n = n as f64;
        let unbiased = variance.mul_scalar(n / (n - 1.0).max(1.0));
        self.follow(&self.running_mean, mean);
        self.follow(&self.running_var, unbiased);
        output
    }

    /// By the batch; with its mean, biased variance and values a channel.
    #[cfg(feature = "kernels")]
    fn normalized<const D: usize>(
        &self,
        input: Tensor<D>,
        shortcut: Option<Tensor<D>>,
        rectify: bool,
    ) -> (Tensor<D>, Tensor<1>, Tensor<1>, usize) {
        let (gamma, beta) = (self.weight.val(), self.bias.val());
        let batch = byol_kernels::batch_norm_train(input, gamma, beta, shortcut, rectify, self.epsilon);
        (batch.output, batch.mean, batch.variance, batch.count)
    }

    /// By the batch; with its mean, biased variance and values a channel.
    #[cfg(not(feature = "kernels"))]
    fn normalized<const D: usize>(
        &self,
        input: Tensor<D>,
        shortcut: Option<Tensor<D>>,
        rectify: bool,
    ) -> (Tensor<D>, Tensor<1>, Tensor<1>, usize) {
        let n = input.shape().num_elements() / input.dims()[1].max(1);
        let batch =
            burn::tensor::module::batch_norm_train(input, self.weight.val(), self.bias.val(), self.epsilon);
        (finished(batch.output, shortcut, rectify), batch.mean, batch.variance, n)
    }

    fn follow(&self, state: &RunningState<Tensor<1>>, batch: Tensor<1>) {
        let kept = state.value_sync().detach().mul_scalar(1.0 - self.momentum);
        state.update(kept.add(batch.detach().mul_scalar(self.momentum)));
        // Burn shows an update only at the next one; this shows it now.
        state.value_sync();
    }

    /// By the running statistics.
    fn forward_running<const D: usize>(
        &self,
        input: Tensor<D>,
        shortcut: Option<Tensor<D>>,
        rectify: bool,
    ) -> Tensor<D> {
        let (scale, offset) = self.factors();
        affine(input, scale, offset, shortcut, rectify)
    }

    /// Factor and summand of each channel by the running statistics.
    fn factors(&self) -> (Tensor<1>, Tensor<1>) {
        let rstd = self.running_var.value().add_scalar(self.epsilon).sqrt().recip();
        let scale = self.weight.val() * rstd;
        let offset = self.bias.val() - self.running_mean.value() * scale.clone();
        (scale, offset)
    }
}

/// scale · x + offset by channel, with what follows.
#[cfg(feature = "kernels")]
fn affine<const D: usize>(
    x: Tensor<D>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<D>>,
    rectify: bool,
) -> Tensor<D> {
    byol_kernels::affine(x, scale, offset, shortcut, rectify)
}

/// scale · x + offset by channel, with what follows.
#[cfg(not(feature = "kernels"))]
pub(crate) fn affine<const D: usize>(
    x: Tensor<D>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    shortcut: Option<Tensor<D>>,
    rectify: bool,
) -> Tensor<D> {
    let [channels] = scale.dims();
    let mut dims = [1; D];
    dims[1] = channels;
    finished(x * scale.reshape(dims) + offset.reshape(dims), shortcut, rectify)
}

#[cfg(not(feature = "kernels"))]
fn finished<const D: usize>(x: Tensor<D>, shortcut: Option<Tensor<D>>, rectify: bool) -> Tensor<D> {
    let sum = match shortcut {
        Some(shortcut) => x + shortcut,
        None => x,
    };
    if rectify { burn::tensor::activation::relu(sum) } else { sum }
}
