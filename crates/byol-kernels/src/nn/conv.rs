//! [`burn::nn::conv`], with a two-dimensional convolution by the kernels.

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use super::even_padding;

pub use burn::nn::conv::*;

/// Configuration of a [`Conv2d`]; as [`burn::nn::conv::Conv2dConfig`].
#[derive(Config, Debug)]
pub struct Conv2dConfig {
    /// Channels of the input and of the result.
    pub channels: [usize; 2],
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// Pixels from a window to the next.
    #[config(default = "[1, 1]")]
    pub stride: [usize; 2],
    /// Pixels from a value of the window to the next.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// Parts of the channels that do not see each other.
    #[config(default = "1")]
    pub groups: usize,
    /// Zeros around the image.
    #[config(default = "PaddingConfig2d::Valid")]
    pub padding: PaddingConfig2d,
    /// Whether a bias is added.
    #[config(default = true)]
    pub bias: bool,
    /// First weights.
    #[config(default = "Initializer::KaimingUniform{gain:1.0/3f64.sqrt(),fan_out_only:false}")]
    pub initializer: Initializer,
}

impl Conv2dConfig {
    /// A layer with new weights: the same ones that Burn's would have.
    ///
    /// # Panics
    ///
    /// As Burn's, if the groups do not divide the channels.
    pub fn init(&self, device: &Device) -> Conv2d {
        let burns = burn::nn::conv::Conv2dConfig {
            channels: self.channels,
            kernel_size: self.kernel_size,
            stride: self.stride,
            dilation: self.dilation,
            groups: self.groups,
            padding: self.padding.clone(),
            bias: self.bias,
            initializer: self.initializer.clone(),
        };
        burns.init(device).into()
    }
}

/// A convolution of images `[N, C, H, W]`; as [`burn::nn::conv::Conv2d`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Conv2d {
    /// `[O, C / groups, h, w]`.
    pub weight: Param<Tensor<4>>,
    /// `[O]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Pixels from a window to the next.
    pub stride: [usize; 2],
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// Pixels from a value of the window to the next.
    pub dilation: [usize; 2],
    /// Parts of the channels that do not see each other.
    pub groups: usize,
    /// Zeros around the image.
    #[module(skip)]
    pub padding: PaddingConfig2d,
}

impl Conv2d {
    /// Images `[N, C, H, W]` to `[N, O, H', W']`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let Some(padding) = self.plain_padding() else {
            return burn::nn::conv::Conv2d::from(self.clone()).forward(input);
        };
        let y = crate::conv2d(input, self.weight.val(), self.stride[0], padding);
        match &self.bias {
            Some(bias) => y + bias.val().reshape([1, -1, 1, 1]),
            None => y,
        }
    }
}

impl Conv2d {
    /// The padding, if the kernels do such a convolution.
    pub(super) fn plain_padding(&self) -> Option<usize> {
        let plain = self.stride[0] == self.stride[1] && self.dilation == [1, 1] && self.groups == 1;
        even_padding(&self.padding, self.kernel_size, self.stride).filter(|_| plain)
    }
}

impl From<burn::nn::conv::Conv2d> for Conv2d {
    fn from(burns: burn::nn::conv::Conv2d) -> Self {
        Self {
            weight: burns.weight,
            bias: burns.bias,
            stride: burns.stride,
            kernel_size: burns.kernel_size,
            dilation: burns.dilation,
            groups: burns.groups,
            padding: burns.padding,
        }
    }
}

impl From<Conv2d> for burn::nn::conv::Conv2d {
    fn from(ours: Conv2d) -> Self {
        Self {
            weight: ours.weight,
            bias: ours.bias,
            stride: ours.stride,
            kernel_size: ours.kernel_size,
            dilation: ours.dilation,
            groups: ours.groups,
            padding: ours.padding,
        }
    }
}

impl ModuleDisplay for Conv2d {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        burn::nn::conv::Conv2d::from(self.clone()).custom_content(content)
    }
}
