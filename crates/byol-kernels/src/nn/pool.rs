//! [`burn::nn::pool`], with a two-dimensional max pooling by the kernels.

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay};
use burn::nn::PaddingConfig2d;
use burn::tensor::Tensor;

use super::even_padding;

pub use burn::nn::pool::*;

/// Configuration of a [`MaxPool2d`]; as [`burn::nn::pool::MaxPool2dConfig`].
#[derive(Config, Debug)]
pub struct MaxPool2dConfig {
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// Pixels from a window to the next.
    #[config(default = "kernel_size")]
    pub strides: [usize; 2],
    /// What is around the image, and in no window.
    #[config(default = "PaddingConfig2d::Valid")]
    pub padding: PaddingConfig2d,
    /// Pixels from a value of the window to the next.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// Whether a last window may reach beyond.
    #[config(default = "false")]
    pub ceil_mode: bool,
}

impl MaxPool2dConfig {
    /// The layer.
    pub fn init(&self) -> MaxPool2d {
        MaxPool2d {
            stride: self.strides,
            kernel_size: self.kernel_size,
            padding: self.padding.clone(),
            dilation: self.dilation,
            ceil_mode: self.ceil_mode,
        }
    }
}

/// Max pooling of images `[N, C, H, W]`; as [`burn::nn::pool::MaxPool2d`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MaxPool2d {
    /// Pixels from a window to the next.
    pub stride: [usize; 2],
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// What is around the image, and in no window.
    #[module(skip)]
    pub padding: PaddingConfig2d,
    /// Pixels from a value of the window to the next.
    pub dilation: [usize; 2],
    /// Whether a last window may reach beyond.
    pub ceil_mode: bool,
}

impl MaxPool2d {
    /// Images `[N, C, H, W]` to `[N, C, H', W']`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let padding = even_padding(&self.padding, self.kernel_size, self.stride);
        let square = |sides: [usize; 2]| sides[0] == sides[1];
        let plain = square(self.stride) && square(self.kernel_size) && self.dilation == [1, 1];
        match padding.filter(|_| plain && !self.ceil_mode) {
            Some(padding) => crate::max_pool2d(input, self.kernel_size[0], self.stride[0], padding),
            None => burn::nn::pool::MaxPool2d::from(self.clone()).forward(input),
        }
    }
}

impl From<burn::nn::pool::MaxPool2d> for MaxPool2d {
    fn from(burns: burn::nn::pool::MaxPool2d) -> Self {
        Self {
            stride: burns.stride,
            kernel_size: burns.kernel_size,
            padding: burns.padding,
            dilation: burns.dilation,
            ceil_mode: burns.ceil_mode,
        }
    }
}

impl From<MaxPool2d> for burn::nn::pool::MaxPool2d {
    fn from(ours: MaxPool2d) -> Self {
        Self {
            stride: ours.stride,
            kernel_size: ours.kernel_size,
            padding: ours.padding,
            dilation: ours.dilation,
            ceil_mode: ours.ceil_mode,
        }
    }
}

impl ModuleDisplay for MaxPool2d {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        burn::nn::pool::MaxPool2d::from(self.clone()).custom_content(content)
    }
}
