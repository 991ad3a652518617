use serde::{Deserialize, Serialize};

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

impl Stem {
    /// Side and stride of the convolution; padding is half the side, rounded down.
    pub fn kernel_and_stride(self) -> (usize, usize) {
        match self {
            Self::Imagenet => (7, 2),
            Self::Small => (3, 1),
            Self::SmallStride2 => (3, 2),
        }
    }
}

/// Which order of layers in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// Convolution, normalisation, ReLU (He et al. 2016a), the stride in the 3×3: the
    /// paper's networks and torchvision's.
    #[default]
    V1,
    /// Normalisation, ReLU, convolution (He et al. 2016b), a projection in the first
    /// block of every stage, and a normalisation before the pooling: as DeepMind's code
    /// has it with `resnet_v2`. torchvision has no such network.
    V2,
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
    /// paper's numbers are from 1. Version 1 only: in version 2 no normalisation
    /// comes last.
    pub zero_gamma: bool,
    /// Version 1 where a file does not say.
    #[serde(default)]
    pub version: Version,
}

/// Blocks of each stage, and whether they are bottlenecks.
pub(crate) const DEPTHS: [(usize, [usize; 4], bool); 6] = [
    (18, [2, 2, 2, 2], false),
    (34, [3, 4, 6, 3], false),
    (50, [3, 4, 6, 3], true),
    (101, [3, 4, 23, 3], true),
    (152, [3, 8, 36, 3], true),
    (200, [3, 24, 36, 3], true),
];

impl ResNetConfig {
    /// A name that the field knows, with what differs from torchvision's network of
    /// that depth: `resnet50`, `resnet50_2x`, `resnet18_w16_small`, `resnet50_v2`.
    pub fn name(&self) -> String {
        let width = match (self.width, self.width % 64) {
            (64, _) => String::new(),
            (width, 0) => format!("_{}x", width / 64),
            (width, _) => format!("_w{width}"),
        };
        let stem = match self.stem {
            Stem::Imagenet => "",
            Stem::Small => "_small",
            Stem::SmallStride2 => "_small_stride2",
        };
        let version = if self.version == Version::V2 { "_v2" } else { "" };
        format!("resnet{}{width}{stem}{version}", self.depth)
    }

    /// The network whose [`name`](Self::name) this is; none if there is none.
    pub fn from_name(name: &str, in_channels: usize) -> Option<Self> {
        let mut words = name.strip_prefix("resnet")?.split('_');
        let depth = words.next()?.parse().ok()?;
        let mut config = Self {
            depth,
            width: 64,
            in_channels,
            stem: Stem::Imagenet,
            zero_gamma: false,
            version: Version::V1,
        };
        for word in words {
            match word {
                "small" => config.stem = Stem::Small,
                "stride2" if config.stem == Stem::Small => config.stem = Stem::SmallStride2,
                "v2" => config.version = Version::V2,
                _ => {
                    let times = word.strip_suffix('x').and_then(|n| n.parse::<usize>().ok());
                    let wide = word.strip_prefix('w').and_then(|n| n.parse::<usize>().ok());
                    config.width = times.and_then(|n| n.checked_mul(64)).or(wide)?;
                }
            }
        }
        // As it is written and no other way: no suffix twice, no sign, no leading 0.
        (config.layout().is_ok() && config.name() == name).then_some(config)
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

    pub(crate) fn layout(&self) -> Result<(usize, [usize; 4], bool), ModelError> {
        let bad =
            |key, value: usize, expected| Err(ModelError::Config { key, value: value.to_string(), expected });
        if self.width == 0 || self.width > 4096 {
            return bad("width", self.width, "1 to 4096 channels");
        }
        if self.in_channels == 0 || self.in_channels > 4096 {
            return bad("in_channels", self.in_channels, "1 to 4096 channels");
        }
        if self.zero_gamma && self.version == Version::V2 {
            return Err(ModelError::Config {
                key: "zero_gamma",
                value: "true".into(),
                expected: "false in version 2, where no normalisation comes last in a block",
            });
        }
        match DEPTHS.into_iter().find(|(depth, ..)| *depth == self.depth) {
            Some(found) => Ok(found),
            None => bad("depth", self.depth, "18, 34, 50, 101, 152 or 200"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "resnet50",
            "resnet50_2x",
            "resnet200_4x_v2",
            "resnet18_w16_small_stride2",
            "resnet34_small",
            "resnet18_w100_small_v2",
        ] {
            assert_eq!(ResNetConfig::from_name(name, 3).unwrap().name(), name);
        }
        for name in [
            "resnet",
            "resnet20",
            "vit",
            "resnet50_huge",
            "resnet50_0x",
            "resnet18_99999999999999999999x",
            "resnet50_2x_w16",
            "resnet050",
            "resnet50_+2x",
            "resnet50_w64",
        ] {
            assert_eq!(ResNetConfig::from_name(name, 3), None, "{name}");
        }
    }
}
