use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::{Device, Tensor};

use super::block::{Block, BlockShape};
use super::config::{ResNetConfig, Stem, Version};
use crate::conv::{conv, forward};
use crate::norm::{BatchNorm, BatchNormConfig};
use crate::{Encoder, ModelError};

/// A residual network without its classifier; fields are named as torchvision's.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    /// Version 1.
    bn1: Option<BatchNorm>,
    maxpool: Option<MaxPool2d>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    /// Before the pooling, in version 2.
    norm: Option<BatchNorm>,
    dim: usize,
}

impl ResNetConfig {
    /// The blocks of the four stages.
    pub(crate) fn stages(&self) -> Result<[Vec<BlockShape>; 4], ModelError> {
        let (_, blocks, bottleneck) = self.layout()?;
        let mut channels_in = self.width;
        Ok([0, 1, 2, 3].map(|i| {
            let stage = (0..blocks[i]).map(|j| {
                let shape = BlockShape {
                    channels_in,
                    width: self.width << i,
                    stride: if i > 0 && j == 0 { 2 } else { 1 },
                    bottleneck,
                    zero_gamma: self.zero_gamma,
                    version: self.version,
                    first: j == 0,
                };
                channels_in = shape.channels_out();
                shape
            });
            stage.collect()
        }))
    }

    /// Checks the values and makes the network, its parameters drawn from the
    /// device's generator in a fixed order.
    ///
    /// # Errors
    ///
    /// If the depth is unknown or a size is 0.
    pub fn init(&self, device: &Device) -> Result<ResNet, ModelError> {
        let [layer1, layer2, layer3, layer4] =
            self.stages()?.map(|stage| stage.iter().map(|shape| shape.init(device)).collect());
        let (kernel, stride) = self.stem.kernel_and_stride();
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let dim = self.dim()?;
        let maxpool = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Ok(ResNet {
            conv1: conv([self.in_channels, self.width], kernel, stride, device),
            bn1: (self.version == Version::V1).then(|| norm(self.width)),
            maxpool: (self.stem == Stem::Imagenet).then(|| maxpool.init()),
            layer1,
            layer2,
            layer3,
            layer4,
            norm: (self.version == Version::V2).then(|| norm(dim)),
            dim,
        })
    }
}

/// The stem's pooling.
#[cfg(feature = "kernels")]
fn pooled(_: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
    // As `ResNetConfig::init` has it.
    byol_kernels::max_pool2d(x, 3, 2, 1)
}

/// The stem's pooling.
#[cfg(not(feature = "kernels"))]
fn pooled(pool: &MaxPool2d, x: Tensor<4>) -> Tensor<4> {
    pool.forward(x)
}

impl Encoder for ResNet {
    /// Pictures `[N, C, H, W]` to pooled features y `[N, D]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = match &self.bn1 {
            Some(bn1) => bn1.after(&self.conv1, images, None, true),
            None => forward(&self.conv1, images),
        };
        if let Some(pool) = &self.maxpool {
            x = pooled(pool, x);
        }
        for block in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().flatten() {
            x = block.forward(x);
        }
        if let Some(norm) = &self.norm {
            x = norm.forward_with(x, None, true);
        }
        let [n, channels, height, width] = x.dims();
        x.reshape([n, channels, height * width]).mean_dim(2).reshape([n, channels])
    }

    fn dim(&self) -> usize {
        self.dim
    }
}
