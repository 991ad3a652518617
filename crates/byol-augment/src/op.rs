//! The operations that a policy can list, as plain data.

use serde::{Deserialize, Serialize};

use crate::AugmentError;

/// What a blur sees beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// Zeros, as `padding="SAME"` in DeepMind's code.
    Zero,
    /// The picture mirrored about its edge pixel, as torchvision.
    Reflect,
}

/// One operation and the probability that it happens. Values are in [0, 1] where
/// they are values of pixels, whatever the policy's semantics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Mirror left and right.
    HorizontalFlip {
        /// Probability.
        p: f64,
    },
    /// Mirror top and bottom.
    VerticalFlip {
        /// Probability.
        p: f64,
    },
    /// Turn by 90, 180 or 270 degrees, each as likely.
    RightAngle {
        /// Probability.
        p: f64,
    },
    /// Turn about the centre, bilinear, same size, as torchvision's `rotate`.
    Rotate {
        /// Probability.
        p: f64,
        /// Counter-clockwise, uniform.
        degrees: [f64; 2],
        /// What comes in from outside, in [0, 1].
        fill: f64,
    },
    /// Brightness, contrast, saturation and hue in an order drawn per picture,
    /// clipped after each. Ranges of 0 leave a part out.
    ColorJitter {
        /// Probability.
        p: f64,
        /// Paper: x + U(−b, b). Torchvision: x · U(max(0, 1−b), 1+b).
        brightness: f64,
        /// Paper: (x − mean of the channel) · U(1−c, 1+c) + mean. Torchvision: the
        /// mean is that of the grey picture.
        contrast: f64,
        /// Paper: HSV saturation · U(1−s, 1+s), at most 1. Torchvision: blend with
        /// the grey picture. RGB only.
        saturation: f64,
        /// HSV hue + U(−h, h), modulo 1. RGB only.
        hue: f64,
    },
    /// 0.2989 R + 0.5870 G + 0.1140 B in all channels. RGB only.
    Grayscale {
        /// Probability.
        p: f64,
    },
    /// Each channel by itself: x · U(1−gain, 1+gain) + U(−offset, offset), clipped.
    /// For bands and stains, where hue has no meaning.
    ChannelGain {
        /// Probability.
        p: f64,
        /// Half-width of the factor, 0 to 1.
        gain: f64,
        /// Half-width of the shift, 0 to 1.
        offset: f64,
    },
    /// Gaussian blur; the kernel has size/10 pixels, made odd.
    Blur {
        /// Probability.
        p: f64,
        /// Standard deviation in pixels, uniform.
        sigma: [f64; 2],
        /// What lies beyond the edge.
        border: Border,
    },
    /// x → 1 − x where x ≥ threshold.
    Solarize {
        /// Probability.
        p: f64,
        /// In [0, 1]; 0.5 in the paper.
        threshold: f64,
    },
    /// Keep the highest bits of each 8-bit value.
    Posterize {
        /// Probability.
        p: f64,
        /// 1 to 8.
        bits: u32,
    },
    /// Add Gaussian noise, clipped.
    Noise {
        /// Probability.
        p: f64,
        /// Standard deviation in [0, 1], uniform.
        sigma: [f64; 2],
    },
    /// Paint over a rectangle, as torchvision's `RandomErasing` (Zhong et al. 2017).
    Erase {
        /// Probability.
        p: f64,
        /// Share of the view's area, uniform.
        area: [f64; 2],
        /// Height / width, log-uniform.
        aspect: [f64; 2],
        /// What it is painted with, in [0, 1].
        value: f64,
    },
}

/// The name of an operation, without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented at `Op`")]
pub enum OpKind {
    HorizontalFlip,
    VerticalFlip,
    RightAngle,
    Rotate,
    ColorJitter,
    Grayscale,
    ChannelGain,
    Blur,
    Solarize,
    Posterize,
    Noise,
    Erase,
}

impl OpKind {
    /// The name in TOML.
    pub fn name(self) -> &'static str {
        match self {
            OpKind::HorizontalFlip => "horizontal_flip",
            OpKind::VerticalFlip => "vertical_flip",
            OpKind::RightAngle => "right_angle",
            OpKind::Rotate => "rotate",
            OpKind::ColorJitter => "color_jitter",
            OpKind::Grayscale => "grayscale",
            OpKind::ChannelGain => "channel_gain",
            OpKind::Blur => "blur",
            OpKind::Solarize => "solarize",
            OpKind::Posterize => "posterize",
            OpKind::Noise => "noise",
            OpKind::Erase => "erase",
        }
    }
}

impl Op {
    /// Which operation it is.
    pub fn kind(&self) -> OpKind {
        match self {
            Op::HorizontalFlip { .. } => OpKind::HorizontalFlip,
            Op::VerticalFlip { .. } => OpKind::VerticalFlip,
            Op::RightAngle { .. } => OpKind::RightAngle,
            Op::Rotate { .. } => OpKind::Rotate,
            Op::ColorJitter { .. } => OpKind::ColorJitter,
            Op::Grayscale { .. } => OpKind::Grayscale,
            Op::ChannelGain { .. } => OpKind::ChannelGain,
            Op::Blur { .. } => OpKind::Blur,
            Op::Solarize { .. } => OpKind::Solarize,
            Op::Posterize { .. } => OpKind::Posterize,
            Op::Noise { .. } => OpKind::Noise,
            Op::Erase { .. } => OpKind::Erase,
        }
    }

    /// Its probability.
    pub fn probability(&self) -> f64 {
        match *self {
            Op::HorizontalFlip { p }
            | Op::VerticalFlip { p }
            | Op::RightAngle { p }
            | Op::Rotate { p, .. }
            | Op::ColorJitter { p, .. }
            | Op::Grayscale { p }
            | Op::ChannelGain { p, .. }
            | Op::Blur { p, .. }
            | Op::Solarize { p, .. }
            | Op::Posterize { p, .. }
            | Op::Noise { p, .. }
            | Op::Erase { p, .. } => p,
        }
    }

    pub(crate) fn check(&self) -> Result<(), AugmentError> {
        let name = self.kind().name();
        let require = |fits: bool, key: &str, value: String, expected| {
            let key = format!("{name}.{key}");
            if fits { Ok(()) } else { Err(AugmentError::Policy { key, value, expected }) }
        };
        let unit =
            |key: &str, x: f64| require((0.0..=1.0).contains(&x), key, x.to_string(), "a number from 0 to 1");
        let rising = |key: &str, [low, high]: [f64; 2], from: f64, expected| {
            let fits = low >= from && low <= high && high.is_finite();
            require(fits, key, format!("[{low}, {high}]"), expected)
        };
        unit("p", self.probability())?;
        match *self {
            Op::HorizontalFlip { .. }
            | Op::VerticalFlip { .. }
            | Op::RightAngle { .. }
            | Op::Grayscale { .. } => Ok(()),
            Op::Rotate { degrees, fill, .. } => {
                unit("fill", fill)?;
                rising("degrees", degrees, -360.0, "-360 <= low <= high, in degrees")?;
                require(degrees[1] <= 360.0, "degrees", format!("{degrees:?}"), "at most 360 degrees")
            }
            Op::ColorJitter { brightness, contrast, saturation, hue, .. } => {
                unit("brightness", brightness)?;
                unit("contrast", contrast)?;
                unit("saturation", saturation)?;
                require((0.0..=0.5).contains(&hue), "hue", hue.to_string(), "a number from 0 to 0.5")
            }
            Op::ChannelGain { gain, offset, .. } => {
                unit("gain", gain)?;
                unit("offset", offset)
            }
            Op::Blur { sigma, .. } => {
                rising("sigma", sigma, f64::from(f32::MIN_POSITIVE), "0 < low <= high, in pixels")
            }
            Op::Solarize { threshold, .. } => unit("threshold", threshold),
            Op::Posterize { bits, .. } => {
                require((1..=8).contains(&bits), "bits", bits.to_string(), "1 to 8 bits")
            }
            Op::Noise { sigma, .. } => rising("sigma", sigma, 0.0, "0 <= low <= high"),
            Op::Erase { area, aspect, value, .. } => {
                unit("value", value)?;
                rising("area", area, f64::MIN_POSITIVE, "0 < low <= high <= 1")?;
                unit("area", area[1])?;
                rising("aspect", aspect, f64::MIN_POSITIVE, "0 < low <= high")
            }
        }
    }
}
