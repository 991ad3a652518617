use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::conv::{conv, forward};
use crate::norm::{BatchNorm, BatchNormConfig};

/// A residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1 (bottleneck).
#[derive(Module, Debug)]
pub(crate) struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Option<Downsample>,
}

/// The shortcut where the shape changes.
#[derive(Module, Debug)]
pub(crate) struct Downsample {
    conv: Conv2d,
    bn: BatchNorm,
}

/// What a block is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    pub channels_in: usize,
    /// Channels of the 3×3 convolution.
    pub width: usize,
    pub stride: usize,
    pub bottleneck: bool,
    pub zero_gamma: bool,
}

impl BlockShape {
    pub fn channels_out(&self) -> usize {
        self.width * if self.bottleneck { 4 } else { 1 }
    }

    pub fn init(&self, device: &Device) -> Block {
        let (from, width, to) = (self.channels_in, self.width, self.channels_out());
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let gamma = if self.zero_gamma { 0.0 } else { 1.0 };
        let last = |channels| BatchNormConfig { channels, gamma }.init(device);
        let downsample = (self.stride != 1 || from != to)
            .then(|| Downsample { conv: conv([from, to], 1, self.stride, device), bn: norm(to) });
        if self.bottleneck {
            Block {
                conv1: conv([from, width], 1, 1, device),
                bn1: norm(width),
                conv2: conv([width, width], 3, self.stride, device),
                bn2: norm(width),
                conv3: Some(conv([width, to], 1, 1, device)),
                bn3: Some(last(to)),
                downsample,
            }
        } else {
            Block {
                conv1: conv([from, width], 3, self.stride, device),
                bn1: norm(width),
                conv2: conv([width, width], 3, 1, device),
                bn2: last(width),
                conv3: None,
                bn3: None,
                downsample,
            }
        }
    }
}

impl Block {
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(down) => down.bn.forward(forward(&down.conv, x.clone())),
            None => x.clone(),
        };
        let x = relu(self.bn1.forward(forward(&self.conv1, x)));
        let x = self.bn2.forward(forward(&self.conv2, x));
        let x = match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => bn3.forward(forward(conv3, relu(x))),
            _ => x,
        };
        relu(x + shortcut)
    }
}
