//! What was drawn for a view: plain data, printable, replayable.

use serde::{Deserialize, Serialize};

use crate::{Border, PixelShape};

/// A part of a picture or of a view, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the four names say it")]
pub struct CropBox {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// One step of a colour jitter. What the number means is a matter of the policy's
/// [`Semantics`](crate::Semantics).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitterOp {
    /// Paper: x + value. Torchvision: x · value.
    Brightness(f32),
    /// Factor about the mean.
    Contrast(f32),
    /// Factor.
    Saturation(f32),
    /// HSV hue + value, in turns.
    Hue(f32),
}

/// Steps of a colour jitter in the order drawn, at most four.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<JitterOp>", into = "Vec<JitterOp>")]
pub struct JitterSteps {
    steps: [Option<JitterOp>; 4],
}

impl JitterSteps {
    /// The steps in order.
    pub fn iter(&self) -> impl Iterator<Item = JitterOp> + '_ {
        self.steps.iter().flatten().copied()
    }
}

impl FromIterator<JitterOp> for JitterSteps {
    /// The first four.
    fn from_iter<I: IntoIterator<Item = JitterOp>>(steps: I) -> Self {
        let mut steps = steps.into_iter();
        Self { steps: std::array::from_fn(|_| steps.next()) }
    }
}

impl From<JitterSteps> for Vec<JitterOp> {
    fn from(steps: JitterSteps) -> Self {
        steps.iter().collect()
    }
}

impl TryFrom<Vec<JitterOp>> for JitterSteps {
    type Error = String;

    fn try_from(steps: Vec<JitterOp>) -> Result<Self, String> {
        if steps.len() > 4 {
            return Err(format!("{} steps of a colour jitter, expected at most 4", steps.len()));
        }
        Ok(steps.into_iter().collect())
    }
}

/// Channels whose gains lie in the parameters themselves, without an allocation.
const FEW: usize = 16;

/// Gain and offset (of values in [0, 1]) of each channel.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<[f32; 2]>", into = "Vec<[f32; 2]>")]
pub struct ChannelGains {
    few: [[f32; 2]; FEW],
    more: Vec<[f32; 2]>,
    n: usize,
}

impl ChannelGains {
    /// Channels.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Gain and offset of each channel in order.
    pub fn iter(&self) -> impl Iterator<Item = [f32; 2]> + '_ {
        self.few.iter().take(self.n).chain(&self.more).copied()
    }

    /// Gain and offset of channel `c`; those that change nothing beyond the last.
    pub fn of(&self, c: usize) -> [f32; 2] {
        let found = if c < FEW { self.few.get(c).filter(|_| c < self.n) } else { self.more.get(c - FEW) };
        found.copied().unwrap_or([1.0, 0.0])
    }
}

impl FromIterator<[f32; 2]> for ChannelGains {
    fn from_iter<I: IntoIterator<Item = [f32; 2]>>(values: I) -> Self {
        let mut gains = Self::default();
        for value in values {
            match gains.few.get_mut(gains.n) {
                Some(slot) => *slot = value,
                None => gains.more.push(value),
            }
            gains.n += 1;
        }
        gains
    }
}

impl From<ChannelGains> for Vec<[f32; 2]> {
    fn from(gains: ChannelGains) -> Self {
        gains.iter().collect()
    }
}

impl From<Vec<[f32; 2]>> for ChannelGains {
    fn from(values: Vec<[f32; 2]>) -> Self {
        values.into_iter().collect()
    }
}

/// An operation that happens to a view, with the values that were drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum OpParams {
    /// Mirror left and right.
    HorizontalFlip,
    /// Mirror top and bottom.
    VerticalFlip,
    /// Turn counter-clockwise.
    RightAngle {
        /// Times 90 degrees, 1 to 3.
        quarter_turns: u8,
    },
    /// Turn counter-clockwise about the centre.
    Rotate {
        /// The angle.
        degrees: f32,
        /// In [0, 1].
        fill: f32,
    },
    /// The steps in the order drawn.
    ColorJitter {
        /// Brightness, contrast and, for colour, saturation and hue.
        steps: JitterSteps,
    },
    /// Luma in all channels.
    Grayscale,
    /// Each channel: x · gain + offset.
    ChannelGain {
        /// What each channel gets.
        channels: ChannelGains,
    },
    /// Separable Gaussian of 2 · radius + 1 taps.
    Blur {
        /// Standard deviation in pixels of the view.
        sigma: f32,
        /// Taps on each side.
        radius: usize,
        /// What lies beyond the edge.
        border: Border,
    },
    /// x → 1 − x where x ≥ threshold.
    Solarize {
        /// In [0, 1].
        threshold: f32,
    },
    /// Keep the highest bits.
    Posterize {
        /// 1 to 8.
        bits: u32,
    },
    /// Gaussian noise.
    Noise {
        /// Standard deviation in [0, 1].
        sigma: f32,
        /// Of ChaCha with 8 rounds, which the values are drawn from.
        seed: u64,
    },
    /// Paint over a rectangle of the view.
    Erase {
        /// Which.
        area: CropBox,
        /// In [0, 1].
        value: f32,
    },
}

/// Everything that was drawn for one view: applying it again gives the same bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewParams {
    /// The picture that the parameters were drawn for.
    pub source: PixelShape,
    /// The crop.
    pub crop: CropBox,
    /// What happens after the crop, in order.
    pub ops: Vec<OpParams>,
}

impl Default for ViewParams {
    /// Of no picture: a place to sample into.
    fn default() -> Self {
        Self {
            source: PixelShape { width: 1, height: 1, channels: 1 },
            crop: CropBox { x: 0, y: 0, width: 1, height: 1 },
            ops: Vec::new(),
        }
    }
}
