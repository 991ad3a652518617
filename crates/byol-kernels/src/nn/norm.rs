//! [`burn::nn::norm`], with a batch normalisation by the kernels.

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, RunningState};
use burn::tensor::{Device, Tensor};

use super::conv::Conv2d;

pub use burn::nn::norm::*;

/// Configuration of a [`BatchNorm`]; as [`burn::nn::BatchNormConfig`].
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// C.
    pub num_features: usize,
    /// Added to the variance.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Share of the new statistics in the running ones.
    #[config(default = 0.1)]
    pub momentum: f64,
}

impl BatchNormConfig {
    /// γ = 1, β = 0, running mean 0, running variance 1.
    ///
    /// # Panics
    ///
    /// As Burn's, if a number is out of its range.
    pub fn init(&self, device: &Device) -> BatchNorm {
        let burns = burn::nn::BatchNormConfig {
            num_features: self.num_features,
            epsilon: self.epsilon,
            momentum: self.momentum,
        };
        burns.init(device).into()
    }
}

/// Batch normalisation of `[N, C, …]`; as [`burn::nn::BatchNorm`], whose modes and running
/// statistics it has.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm {
    /// γ, `[C]`.
    pub gamma: Param<Tensor<1>>,
    /// β, `[C]`.
    pub beta: Param<Tensor<1>>,
    /// Whether the batch's statistics are used, where a gradient can be.
    pub training: Param<Flag>,
    /// `[C]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// `[C]`, biased, as Burn has it.
    pub running_var: RunningState<Tensor<1>>,
    /// Share of the new statistics in the running ones.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// Normalises; the same shape out.
    ///
    /// # Panics
    ///
    /// If the second dimension is not C.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.forward_with(input, None, false)
    }

    /// Normalises, then adds a shortcut and takes a ReLU, if asked for, in the same pass.
    ///
    /// # Panics
    ///
    /// If the second dimension is not C.
    pub fn forward_with<const D: usize>(
        &self,
        input: Tensor<D>,
        shortcut: Option<Tensor<D>>,
        rectify: bool,
    ) -> Tensor<D> {
        let [channels] = self.gamma.dims();
        assert_eq!(input.dims().get(1), Some(&channels), "input of other channels than {channels}");
        let (gamma, beta, device) = (self.gamma.val(), self.beta.val(), input.device());
        if device.is_autodiff() && self.training.is_enabled() {
            let batch = crate::batch_norm_train(input, gamma, beta, shortcut, rectify, self.epsilon);
            self.follow(&self.running_mean, batch.mean);
            self.follow(&self.running_var, batch.variance);
            return batch.output;
        }
        if !crate::has_kernels(&input) {
            let mean = self.running_mean.value().to_device(&device);
            let variance = self.running_var.value().to_device(&device);
            let y = burn::tensor::module::batch_norm(input, gamma, beta, mean, variance, self.epsilon);
            return crate::finished(y, shortcut, rectify);
        }
        let (scale, offset) = self.factors(&device);
        crate::affine(input, scale, offset, shortcut, rectify)
    }

    /// Convolves, then as [`forward_with`](Self::forward_with): a block of a residual network. In
    /// evaluation mode in one pass, with the same bits, where the convolution is one of the kernels'
    /// and has no bias.
    ///
    /// # Panics
    ///
    /// If the convolution's results have other channels than C.
    pub fn after(
        &self,
        conv: &Conv2d,
        input: Tensor<4>,
        shortcut: Option<Tensor<4>>,
        rectify: bool,
    ) -> Tensor<4> {
        let device = input.device();
        let by_batch = device.is_autodiff() && self.training.is_enabled();
        match conv.plain_padding().filter(|_| !by_batch && conv.bias.is_none()) {
            Some(padding) if crate::has_kernels(&input) => {
                let (channels, results) = (self.gamma.dims()[0], conv.weight.dims()[0]);
                assert!(channels == results, "input of other channels than {channels}");
                let ((scale, offset), weight) = (self.factors(&device), conv.weight.val());
                crate::conv2d_affine(input, weight, conv.stride[0], padding, scale, offset, shortcut, rectify)
            }
            _ => self.forward_with(conv.forward(input), shortcut, rectify),
        }
    }

    /// By the running statistics: scale · x + offset.
    fn factors(&self, device: &Device) -> (Tensor<1>, Tensor<1>) {
        let mean = self.running_mean.value().to_device(device);
        let variance = self.running_var.value().to_device(device);
        let scale = self.gamma.val() / variance.add_scalar(self.epsilon).sqrt();
        let offset = self.beta.val() - mean * scale.clone();
        (scale, offset)
    }

    fn follow(&self, state: &RunningState<Tensor<1>>, batch: Tensor<1>) {
        let kept = state.value_sync().to_device(&batch.device()).mul_scalar(1.0 - self.momentum);
        state.update(kept.add(batch.mul_scalar(self.momentum)).detach());
    }
}

impl From<burn::nn::BatchNorm> for BatchNorm {
    fn from(burns: burn::nn::BatchNorm) -> Self {
        Self {
            gamma: burns.gamma,
            beta: burns.beta,
            training: burns.training,
            running_mean: burns.running_mean,
            running_var: burns.running_var,
            momentum: burns.momentum,
            epsilon: burns.epsilon,
        }
    }
}

impl From<BatchNorm> for burn::nn::BatchNorm {
    fn from(ours: BatchNorm) -> Self {
        Self {
            gamma: ours.gamma,
            beta: ours.beta,
            training: ours.training,
            running_mean: ours.running_mean,
            running_var: ours.running_var,
            momentum: ours.momentum,
            epsilon: ours.epsilon,
        }
    }
}

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        burn::nn::BatchNorm::from(self.clone()).custom_content(content)
    }
}
