use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::ResNet;
use crate::ModelError;

/// The first layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7×7, stride 2, then 3×3 max pooling of stride 2: for 224 pixels.
    Imagenet,
    /// 3×3, stride 1, no pooling: for 32 pixels.
    Small,
    /// 3×3, stride 2, no pooling: a quarter of `small`'s work.
    SmallStride2,
}

/// Which ResNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// 18, 34, 50, 101, 152 or 200.
    pub depth: usize,
    /// Channels of the first stage; 64 is the standard width (the paper's 1×).
    pub width: usize,
    /// Channels of a picture.
    pub in_channels: usize,
    /// The first layers.
    pub stem: Stem,
    /// Whether the last γ of each block starts at 0. DeepMind's code does so; the
    /// paper's numbers are from 1.
    pub zero_gamma: bool,
}

/// Blocks of each stage, and whether they are bottlenecks.
pub(super) const DEPTHS: [(usize, [usize; 4], bool); 6] = [
    (18, [2, 2, 2, 2], false),
    (34, [3, 4, 6, 3], false),
    (50, [3, 4, 6, 3], true),
    (101, [3, 4, 23, 3], true),
    (152, [3, 8, 36, 3], true),
    (200, [3, 24, 36, 3], true),
];

impl ResNetConfig {
    /// Checks the values and makes the network, its parameters drawn from the
    /// device's generator in a fixed order.
    ///
    /// # Errors
    ///
    /// If the depth is unknown or a size is 0.
    pub fn init(&self, device: &Device) -> Result<ResNet, ModelError> {
        let (_, blocks, bottleneck) = self.layout()?;
        Ok(ResNet::new(self, blocks, bottleneck, device))
    }

    /// Length of a representation.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn dim(&self) -> Result<usize, ModelError> {
        let (_, _, bottleneck) = self.layout()?;
        Ok(self.width * 8 * if bottleneck { 4 } else { 1 })
    }

    pub(super) fn layout(&self) -> Result<(usize, [usize; 4], bool), ModelError> {
        let bad =
            |key, value: usize, expected| Err(ModelError::Config { key, value: value.to_string(), expected });
        if self.width == 0 || self.width > 4096 {
            return bad("width", self.width, "1 to 4096 channels");
        }
        if self.in_channels == 0 || self.in_channels > 4096 {
            return bad("in_channels", self.in_channels, "1 to 4096 channels");
        }
        match DEPTHS.into_iter().find(|(depth, ..)| *depth == self.depth) {
            Some(found) => Ok(found),
            None => bad("depth", self.depth, "18, 34, 50, 101, 152 or 200"),
        }
    }
}
