use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::Version;
use crate::conv::{conv, forward};
use crate::norm::{BatchNorm, BatchNormConfig};

/// A residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1 (bottleneck). In
/// version 1 each normalisation follows the convolution of its number, in version 2
/// it precedes it.
#[derive(Module, Debug)]
pub(crate) struct Block {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: Conv2d,
    bn2: BatchNorm,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Option<Downsample>,
    preact: bool,
}

/// The shortcut where the shape changes; version 2 normalises it before.
#[derive(Module, Debug)]
pub(crate) struct Downsample {
    conv: Conv2d,
    bn: Option<BatchNorm>,
}

/// A convolution of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub channels: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
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
    pub version: Version,
    /// Whether it opens a stage.
    pub first: bool,
}

impl BlockShape {
    pub fn channels_out(&self) -> usize {
        self.width * if self.bottleneck { 4 } else { 1 }
    }

    /// The convolutions in order, the stride in the 3×3 (the first of two).
    pub fn convs(&self) -> (ConvShape, ConvShape, Option<ConvShape>) {
        let (from, width, to) = (self.channels_in, self.width, self.channels_out());
        let conv = |channels, kernel, stride| ConvShape { channels, kernel, stride };
        if self.bottleneck {
            let last = conv([width, to], 1, 1);
            (conv([from, width], 1, 1), conv([width, width], 3, self.stride), Some(last))
        } else {
            (conv([from, width], 3, self.stride), conv([width, width], 3, 1), None)
        }
    }

    /// The 1×1 convolution of the shortcut, if it has one.
    pub fn shortcut(&self) -> Option<ConvShape> {
        let (from, to) = (self.channels_in, self.channels_out());
        let changes = self.stride != 1 || from != to;
        let projects = changes || (self.version == Version::V2 && self.first);
        projects.then_some(ConvShape { channels: [from, to], kernel: 1, stride: self.stride })
    }

    pub fn init(&self, device: &Device) -> Block {
        let preact = self.version == Version::V2;
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let make = |shape: ConvShape| conv(shape.channels, shape.kernel, shape.stride, device);
        let downsample = self
            .shortcut()
            .map(|shape| Downsample { conv: make(shape), bn: (!preact).then(|| norm(shape.channels[1])) });
        let layer = |shape: ConvShape, is_last: bool| {
            let channels = shape.channels[usize::from(!preact)];
            let gamma = if is_last && self.zero_gamma { 0.0 } else { 1.0 };
            (make(shape), BatchNormConfig { channels, gamma }.init(device))
        };
        let (first, second, third) = self.convs();
        let (conv1, bn1) = layer(first, false);
        let (conv2, bn2) = layer(second, third.is_none());
        let (conv3, bn3) = third.map(|shape| layer(shape, true)).unzip();
        Block { conv1, bn1, conv2, bn2, conv3, bn3, downsample, preact }
    }
}

impl Block {
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if self.preact { self.forward_preact(x) } else { self.forward_postact(x) }
    }

    fn forward_postact(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.downsample {
            Some(Downsample { conv, bn: Some(bn) }) => bn.after(conv, x.clone(), None, false),
            Some(Downsample { conv, bn: None }) => forward(conv, x.clone()),
            None => x.clone(),
        };
        let x = self.bn1.after(&self.conv1, x, None, true);
        match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => {
                let x = self.bn2.after(&self.conv2, x, None, true);
                bn3.after(conv3, x, Some(shortcut), true)
            }
            _ => self.bn2.after(&self.conv2, x, Some(shortcut), true),
        }
    }

    fn forward_preact(&self, x: Tensor<4>) -> Tensor<4> {
        let active = self.bn1.forward_with(x.clone(), None, true);
        let shortcut = match &self.downsample {
            Some(down) => forward(&down.conv, active.clone()),
            None => x,
        };
        let x = self.bn2.after(&self.conv1, active, None, true);
        let x = match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => forward(conv3, bn3.after(&self.conv2, x, None, true)),
            _ => forward(&self.conv2, x),
        };
        x + shortcut
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
