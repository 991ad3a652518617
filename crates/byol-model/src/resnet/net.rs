use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::block::{Block, BlockShape};
use super::config::{ResNetConfig, Stem};
use crate::Encoder;
use crate::conv::{conv, forward};
use crate::norm::{BatchNorm, BatchNormConfig};

/// A residual network without its classifier; fields are named as torchvision's.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    maxpool: Option<MaxPool2d>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    dim: usize,
}

impl ResNet {
    pub(super) fn new(config: &ResNetConfig, blocks: [usize; 4], bottleneck: bool, device: &Device) -> Self {
        let (kernel, stride) = match config.stem {
            Stem::Imagenet => (7, 2),
            Stem::Small => (3, 1),
            Stem::SmallStride2 => (3, 2),
        };
        let conv1 = conv([config.in_channels, config.width], kernel, stride, device);
        let bn1 = BatchNormConfig::new(config.width).init(device);
        let maxpool = (config.stem == Stem::Imagenet).then(|| {
            MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init()
        });
        let mut channels_in = config.width;
        let mut stage = |i: usize| -> Vec<Block> {
            (0..blocks[i])
                .map(|j| {
                    let shape = BlockShape {
                        channels_in,
                        width: config.width << i,
                        stride: if i > 0 && j == 0 { 2 } else { 1 },
                        bottleneck,
                        zero_gamma: config.zero_gamma,
                    };
                    channels_in = shape.channels_out();
                    shape.init(device)
                })
                .collect()
        };
        let [layer1, layer2, layer3, layer4] = [stage(0), stage(1), stage(2), stage(3)];
        Self { conv1, bn1, maxpool, layer1, layer2, layer3, layer4, dim: channels_in }
    }
}

impl Encoder for ResNet {
    /// Pictures `[N, C, H, W]` to pooled features y `[N, D]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.bn1.forward(forward(&self.conv1, images)));
        if let Some(pool) = &self.maxpool {
            x = pool.forward(x);
        }
        for block in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().flatten() {
            x = block.forward(x);
        }
        let [n, channels, height, width] = x.dims();
        x.reshape([n, channels, height * width]).mean_dim(2).reshape([n, channels])
    }

    fn dim(&self) -> usize {
        self.dim
    }
}
