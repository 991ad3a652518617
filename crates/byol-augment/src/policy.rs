//! The recipe as plain data.

use serde::{Deserialize, Serialize};

use crate::{AugmentError, EvalTransform};

/// Interpolation kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Keys' cubic with a = −0.5 (TensorFlow's and Pillow's bicubic).
    Bicubic,
    /// Triangle.
    Bilinear,
}

/// How a crop becomes a square of `size` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resample {
    /// Interpolation kernel, half-pixel centres; taps outside of the crop are
    /// left out and the others' weights scaled to sum to 1.
    pub filter: Filter,
    /// Whether the kernel widens when shrinking (Pillow, torchvision) or not
    /// (DeepMind's code, through `tf.image.resize`).
    pub antialias: bool,
}

/// Random resized crop: area and aspect ratio are drawn once (no retries), the
/// box is clamped to the picture and placed uniformly on whole pixels, as in
/// DeepMind's `byol/utils/dataset.py`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropPolicy {
    /// Share of the picture's area, uniform, within (0, 1].
    pub area: [f64; 2],
    /// Width / height, log-uniform, positive.
    pub aspect: [f64; 2],
}

/// What a blur sees beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// Zeros, as `padding="SAME"` in DeepMind's code.
    Zero,
    /// The picture mirrored about its edge pixel, as torchvision.
    Reflect,
}

/// One operation and the probability that it happens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Mirror left and right.
    HorizontalFlip {
        /// Probability.
        p: f64,
    },
    /// Brightness, contrast, saturation and hue in an order drawn per picture,
    /// clipped to [0, 1] after each (Appendix B; DeepMind's `augmentations.py`).
    ColorJitter {
        /// Probability.
        p: f64,
        /// x + U(−b, b).
        brightness: f64,
        /// (x − mean of the channel) · U(1−c, 1+c) + mean.
        contrast: f64,
        /// HSV saturation · U(1−s, 1+s), clipped to 1. Colour only.
        saturation: f64,
        /// HSV hue + U(−h, h), modulo 1. Colour only.
        hue: f64,
    },
    /// 0.2989 R + 0.5870 G + 0.1140 B in all channels. Colour only.
    Grayscale {
        /// Probability.
        p: f64,
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
}

/// The name of an operation, without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented at `Op`")]
pub enum OpKind {
    HorizontalFlip,
    ColorJitter,
    Grayscale,
    Blur,
    Solarize,
}

impl OpKind {
    /// The name in TOML.
    pub fn name(self) -> &'static str {
        match self {
            OpKind::HorizontalFlip => "horizontal_flip",
            OpKind::ColorJitter => "color_jitter",
            OpKind::Grayscale => "grayscale",
            OpKind::Blur => "blur",
            OpKind::Solarize => "solarize",
        }
    }
}

impl Op {
    /// Which operation it is.
    pub fn kind(&self) -> OpKind {
        match self {
            Op::HorizontalFlip { .. } => OpKind::HorizontalFlip,
            Op::ColorJitter { .. } => OpKind::ColorJitter,
            Op::Grayscale { .. } => OpKind::Grayscale,
            Op::Blur { .. } => OpKind::Blur,
            Op::Solarize { .. } => OpKind::Solarize,
        }
    }

    fn check(&self) -> Result<(), AugmentError> {
        let name = self.kind().name();
        let bad = |key: &str, value: String, expected| AugmentError::Policy {
            key: format!("{name}.{key}"),
            value,
            expected,
        };
        let unit = |key: &str, x: f64| {
            (0.0..=1.0)
                .contains(&x)
                .then_some(())
                .ok_or_else(|| bad(key, x.to_string(), "a number from 0 to 1"))
        };
        match *self {
            Op::HorizontalFlip { p } | Op::Grayscale { p } => unit("p", p),
            Op::ColorJitter { p, brightness, contrast, saturation, hue } => {
                unit("p", p)?;
                unit("brightness", brightness)?;
                unit("contrast", contrast)?;
                unit("saturation", saturation)?;
                (0.0..=0.5)
                    .contains(&hue)
                    .then_some(())
                    .ok_or_else(|| bad("hue", hue.to_string(), "a number from 0 to 0.5"))
            }
            Op::Blur { p, sigma, .. } => {
                unit("p", p)?;
                (sigma[0] > 0.0 && sigma[0] <= sigma[1] && sigma[1].is_finite())
                    .then_some(())
                    .ok_or_else(|| bad("sigma", format!("{sigma:?}"), "0 < low <= high, in pixels"))
            }
            Op::Solarize { p, threshold } => {
                unit("p", p)?;
                unit("threshold", threshold)
            }
        }
    }
}

/// Per-channel normalisation, the last thing that happens: (x − mean) / std
/// with x in [0, 1]. One value serves all channels; otherwise one per channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Mean of each channel, of values in [0, 1].
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, of values in [0, 1]; positive.
    pub std: Vec<f64>,
}

impl Normalize {
    /// Mean and standard deviation of channel `c`.
    pub fn channel(&self, c: usize) -> (f32, f32) {
        let pick = |v: &[f64]| v[if v.len() == 1 { 0 } else { c }] as f32;
        (pick(&self.mean), pick(&self.std))
    }

    fn check(&self, channels: Option<usize>) -> Result<(), AugmentError> {
        let fits = |n: usize| n == 1 || channels.map_or(n > 0, |c| n == c);
        for (key, values) in [("normalize.mean", &self.mean), ("normalize.std", &self.std)] {
            if !fits(values.len()) || values.iter().any(|x| !x.is_finite()) {
                return Err(AugmentError::Policy {
                    key: key.into(),
                    value: format!("{values:?}"),
                    expected: "finite numbers, one for all channels or one for each channel",
                });
            }
        }
        if self.std.iter().any(|&s| s <= 0.0) {
            return Err(AugmentError::Policy {
                key: "normalize.std".into(),
                value: format!("{:?}", self.std),
                expected: "positive numbers",
            });
        }
        Ok(())
    }
}

/// The two policies of BYOL as they are written down: `T`, and `T′` as `T` with
/// some operations replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoViewPolicy {
    /// Side of a view in pixels.
    pub size: usize,
    /// Share of the short side that evaluation keeps (224/256 for photographs, 1
    /// for small pictures that fill their frame).
    pub eval_crop: f64,
    /// Interpolation.
    pub resample: Resample,
    /// Random resized crop.
    pub crop: CropPolicy,
    /// The operations of T, in order; each kind at most once.
    pub ops: Vec<Op>,
    /// Operations of T′ that stand in place of T's of the same kind.
    pub prime: Vec<Op>,
    /// The last step.
    pub normalize: Normalize,
}

/// An operation, or a part of one, that a policy asked for and that has no
/// meaning for the pictures at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// What was left out.
    pub what: String,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Omission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} left out: {}", self.what, self.why)
    }
}

/// One policy, ready to sample: every operation has a meaning for the channels
/// that it was resolved for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewPolicy {
    /// Side of a view in pixels.
    pub size: usize,
    /// Interpolation.
    pub resample: Resample,
    /// Random resized crop.
    pub crop: CropPolicy,
    /// The operations, in order.
    pub ops: Vec<Op>,
    /// The last step.
    pub normalize: Normalize,
}

impl ViewPolicy {
    /// Values in a view: channels · size · size.
    pub fn output_len(&self, channels: usize) -> usize {
        channels * self.size * self.size
    }
}

/// T, T′ and the evaluation transform for pictures of a known number of channels.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedPolicy {
    /// T.
    pub view: ViewPolicy,
    /// T′.
    pub view_prime: ViewPolicy,
    /// How pictures are prepared when the encoder is used.
    pub eval: EvalTransform,
    /// What the rule for these channels left out.
    pub omitted: Vec<Omission>,
}

const MAX_SIZE: usize = 4096;

impl TwoViewPolicy {
    /// The same policy for views of another size.
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Checks every value and fixes the policy to pictures of `channels`
    /// channels. Colour operations (saturation, hue, grayscale) are left out by
    /// rule unless there are three, and reported.
    ///
    /// # Errors
    ///
    /// A value out of range, an operation listed twice, a difference for an
    /// operation that T does not have, or a normalisation for other channels.
    pub fn resolve(&self, channels: usize) -> Result<ResolvedPolicy, AugmentError> {
        self.check(channels)?;
        let mut omitted = Vec::new();
        let ops: Vec<Op> =
            self.ops.iter().filter_map(|op| for_channels(*op, channels, &mut omitted)).collect();
        let ops_prime = ops
            .iter()
            .map(|op| {
                let difference = self.prime.iter().find(|d| d.kind() == op.kind());
                difference.and_then(|d| for_channels(*d, channels, &mut Vec::new())).unwrap_or(*op)
            })
            .collect();
        let view = ViewPolicy {
            size: self.size,
            resample: self.resample,
            crop: self.crop,
            ops,
            normalize: self.normalize.clone(),
        };
        let view_prime = ViewPolicy { ops: ops_prime, ..view.clone() };
        let eval = EvalTransform {
            size: self.size,
            crop: self.eval_crop,
            resample: self.resample,
            normalize: self.normalize.clone(),
        };
        Ok(ResolvedPolicy { view, view_prime, eval, omitted })
    }

    fn check(&self, channels: usize) -> Result<(), AugmentError> {
        let bad = |key: &str, value: String, expected| {
            Err(AugmentError::Policy { key: key.into(), value, expected })
        };
        if self.size == 0 || self.size > MAX_SIZE {
            return bad("size", self.size.to_string(), "1 to 4096 pixels");
        }
        if channels == 0 {
            return bad("channels", "0".into(), "at least 1");
        }
        if !(self.eval_crop > 0.0 && self.eval_crop <= 1.0) {
            return bad("eval_crop", self.eval_crop.to_string(), "a number above 0, at most 1");
        }
        let [low, high] = self.crop.area;
        if !(low > 0.0 && low <= high && high <= 1.0) {
            return bad("crop.area", format!("{:?}", self.crop.area), "0 < low <= high <= 1");
        }
        let [low, high] = self.crop.aspect;
        if !(low > 0.0 && low <= high && high.is_finite()) {
            return bad("crop.aspect", format!("{:?}", self.crop.aspect), "0 < low <= high");
        }
        for (key, list) in [("ops", &self.ops), ("prime", &self.prime)] {
            for (i, op) in list.iter().enumerate() {
                op.check()?;
                if list[..i].iter().any(|earlier| earlier.kind() == op.kind()) {
                    return bad(key, op.kind().name().into(), "each operation at most once");
                }
            }
        }
        if let Some(op) = self.prime.iter().find(|d| !self.ops.iter().any(|op| op.kind() == d.kind())) {
            return bad(
                "prime",
                op.kind().name().into(),
                "only operations that `ops` has too (T′ is T with differences)",
            );
        }
        self.normalize.check(Some(channels))
    }
}

/// The rule for colour: an operation as it is meaningful for `channels`.
fn for_channels(op: Op, channels: usize, omitted: &mut Vec<Omission>) -> Option<Op> {
    if channels == 3 {
        return Some(op);
    }
    let why = format!("pictures have {channels} channel(s), not red, green and blue");
    match op {
        Op::ColorJitter { p, brightness, contrast, saturation, hue } => {
            if saturation > 0.0 || hue > 0.0 {
                omitted.push(Omission { what: "color_jitter's saturation and hue".into(), why });
            }
            Some(Op::ColorJitter { p, brightness, contrast, saturation: 0.0, hue: 0.0 })
        }
        Op::Grayscale { .. } => {
            omitted.push(Omission { what: "grayscale".into(), why });
            None
        }
        other => Some(other),
    }
}
