//! The recipe as plain data.

use serde::{Deserialize, Serialize};

use crate::rules::for_channels;
use crate::{AugmentError, EvalTransform, Omission, Op};

/// Whose arithmetic colours follow. `docs/parity.md` lists every difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// The paper's (Appendix B) and DeepMind's: real values in [0, 1], brightness
    /// added, contrast about each channel's mean, HSV saturation.
    Paper,
    /// torchvision's on 8-bit tensors: brightness multiplied, contrast and
    /// saturation blended with the grey picture, every operation rounded to whole
    /// levels as it rounds.
    Torchvision,
}

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

/// What happens to a crop that is larger than the picture on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropFit {
    /// It is cut to the picture, as in DeepMind's `byol/utils/dataset.py`.
    Clamp,
    /// It is drawn again, up to ten times, then the largest central crop within
    /// the aspect ratios is taken, as torchvision's `RandomResizedCrop`.
    Retry,
}

/// Random resized crop: area and aspect ratio are drawn, the box is placed
/// uniformly on whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropPolicy {
    /// Share of the picture's area, uniform, within (0, 1].
    pub area: [f64; 2],
    /// Width / height, log-uniform, positive.
    pub aspect: [f64; 2],
    /// When it does not fit.
    pub fit: CropFit,
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
    ///
    /// # Panics
    ///
    /// If they were given for each channel and `c` is none of them.
    pub fn channel(&self, c: usize) -> (f32, f32) {
        let pick = |v: &[f64]| v[if v.len() == 1 { 0 } else { c }] as f32;
        (pick(&self.mean), pick(&self.std))
    }

    pub(crate) fn check(&self, channels: usize) -> Result<(), AugmentError> {
        let fits = |n: usize| n == 1 || n == channels;
        for (key, values) in [("normalize.mean", &self.mean), ("normalize.std", &self.std)] {
            if !fits(values.len()) || values.iter().any(|x| !x.is_finite()) {
                return Err(AugmentError::Policy {
                    key: key.into(),
                    value: format!("{values:?}"),
                    expected: "finite numbers, one for all channels or one for each channel",
                });
            }
        }
        // As it will be used: in `f32`.
        if self.std.iter().any(|&s| s <= 0.0 || !(1.0 / (s as f32)).is_finite()) {
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
    /// Whose arithmetic.
    pub semantics: Semantics,
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
    /// Operations of T′ that stand in place of T's of the same kind; none, and T′ is T.
    #[serde(default)]
    pub prime: Vec<Op>,
    /// The last step.
    pub normalize: Normalize,
}

/// One policy, ready to sample: every operation has a meaning for the channels
/// that it was resolved for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewPolicy {
    /// Whose arithmetic.
    pub semantics: Semantics,
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

pub(crate) const MAX_SIZE: usize = 4096;

pub(crate) fn check_size(size: usize) -> Result<(), AugmentError> {
    if (1..=MAX_SIZE).contains(&size) {
        return Ok(());
    }
    Err(AugmentError::Policy { key: "size".into(), value: size.to_string(), expected: "1 to 4096 pixels" })
}

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
        let mut ops_prime = Vec::with_capacity(ops.len());
        for op in &ops {
            let difference = self.prime.iter().find(|d| d.kind() == op.kind());
            let changed = difference.and_then(|d| for_channels(*d, channels, &mut omitted));
            ops_prime.push(changed.unwrap_or(*op));
        }
        let mut said = Vec::new();
        omitted.retain(|omission| {
            let new = !said.contains(omission);
            said.push(omission.clone());
            new
        });
        let view = ViewPolicy {
            semantics: self.semantics,
            size: self.size,
            resample: self.resample,
            crop: self.crop,
            ops,
            normalize: self.normalize.clone(),
        };
        let view_prime = ViewPolicy { ops: ops_prime, ..view.clone() };
        let eval = EvalTransform {
            semantics: self.semantics,
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
        check_size(self.size)?;
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
        self.normalize.check(channels)
    }
}
