//! Sampling: a policy and a key give the parameters of a view.

use serde::{Deserialize, Serialize};

use crate::key::place;
use crate::{AugmentError, Border, Op, PixelShape, ViewKey, ViewPolicy};

/// The part of the picture that a view shows, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the four names say it")]
pub struct CropBox {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// One step of a colour jitter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitterOp {
    /// x + delta.
    Brightness(f32),
    /// (x − mean of the channel) · factor + mean.
    Contrast(f32),
    /// HSV saturation · factor.
    Saturation(f32),
    /// HSV hue + delta, in turns.
    Hue(f32),
}

/// An operation that happens to a view, with the values that were drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum OpParams {
    /// Mirror left and right.
    HorizontalFlip,
    /// The steps in the order drawn.
    ColorJitter {
        /// Brightness, contrast and, for colour, saturation and hue.
        steps: Vec<JitterOp>,
    },
    /// Luma in all channels.
    Grayscale,
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

impl ViewPolicy {
    /// Draws the parameters of the view that `key` names, for a picture of
    /// `source` size. Pixels are not needed.
    ///
    /// # Errors
    ///
    /// If the policy holds a colour operation and the picture is not RGB: see
    /// [`TwoViewPolicy::resolve`](crate::TwoViewPolicy::resolve).
    pub fn sample(&self, key: ViewKey, source: PixelShape) -> Result<ViewParams, AugmentError> {
        let draws = key.draws();
        let crop = self.sample_crop(&draws, source);
        let needs_colour = |op| {
            (source.channels == 3)
                .then_some(())
                .ok_or(AugmentError::NeedsColour { op, channels: source.channels })
        };
        let mut ops = Vec::with_capacity(self.ops.len());
        for op in &self.ops {
            match *op {
                Op::HorizontalFlip { p } => {
                    if draws.happens(place::HORIZONTAL_FLIP, p) {
                        ops.push(OpParams::HorizontalFlip);
                    }
                }
                Op::ColorJitter { p, brightness, contrast, saturation, hue } => {
                    let colour = saturation > 0.0 || hue > 0.0;
                    if colour {
                        needs_colour("color_jitter with saturation or hue")?;
                    }
                    if draws.happens(place::COLOR_JITTER, p) {
                        let around = |i: usize, centre: f64, range: f64| {
                            draws.uniform(place::COLOR_JITTER + i, [centre - range, centre + range]) as f32
                        };
                        let all = [
                            JitterOp::Brightness(around(1, 0.0, brightness)),
                            JitterOp::Contrast(around(2, 1.0, contrast)),
                            JitterOp::Saturation(around(3, 1.0, saturation)),
                            JitterOp::Hue(around(4, 0.0, hue)),
                        ];
                        let order = permutation_of_4(draws.below(place::COLOR_JITTER + 5, 24));
                        let steps = order
                            .into_iter()
                            .map(|i| all[i])
                            .filter(|step| {
                                colour || matches!(step, JitterOp::Brightness(_) | JitterOp::Contrast(_))
                            })
                            .collect();
                        ops.push(OpParams::ColorJitter { steps });
                    }
                }
                Op::Grayscale { p } => {
                    needs_colour("grayscale")?;
                    if draws.happens(place::GRAYSCALE, p) {
                        ops.push(OpParams::Grayscale);
                    }
                }
                Op::Blur { p, sigma, border } => {
                    if draws.happens(place::BLUR, p) {
                        // Kernel of size/10 pixels made odd: 23 at 224, 3 at 32.
                        let radius = self.size / 20;
                        let sigma = draws.uniform(place::BLUR + 1, sigma) as f32;
                        ops.push(OpParams::Blur { sigma, radius, border });
                    }
                }
                Op::Solarize { p, threshold } => {
                    if draws.happens(place::SOLARIZE, p) {
                        ops.push(OpParams::Solarize { threshold: threshold as f32 });
                    }
                }
            }
        }
        Ok(ViewParams { source, crop, ops })
    }

    fn sample_crop(&self, draws: &crate::key::Draws, source: PixelShape) -> CropBox {
        let (width, height) = (source.width as f64, source.height as f64);
        let area = draws.uniform(place::CROP, self.crop.area) * width * height;
        let [low, high] = self.crop.aspect;
        let aspect = draws.uniform(place::CROP + 1, [low.ln(), high.ln()]).exp();
        let side = |wanted: f64, limit: usize| (wanted.round_ties_even() as usize).clamp(1, limit);
        let crop_width = side((area * aspect).sqrt(), source.width);
        let crop_height = side((area / aspect).sqrt(), source.height);
        let offset = |i, free: usize| draws.below(place::CROP + i, free as u64 + 1) as usize;
        CropBox {
            x: offset(2, source.width - crop_width),
            y: offset(3, source.height - crop_height),
            width: crop_width,
            height: crop_height,
        }
    }
}

/// The `index`-th of the 24 orders of 4 things.
fn permutation_of_4(index: u64) -> [usize; 4] {
    let mut left = vec![0, 1, 2, 3];
    let mut rest = index as usize;
    std::array::from_fn(|i| {
        let block = [6, 2, 1, 1][i];
        let taken = left.remove(rest / block);
        rest %= block;
        taken
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_24_orders_are_all_there() {
        let all: std::collections::BTreeSet<_> = (0..24).map(permutation_of_4).collect();
        assert_eq!(all.len(), 24);
        for order in all {
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
        }
    }
}
