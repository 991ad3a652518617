//! Sampling: a policy and a key give the parameters of a view.

use crate::key::{Draws, Stream, place, stream};
use crate::policy::check_size;
use crate::{
    AugmentError, CropBox, CropFit, CropPolicy, JitterOp, Op, OpParams, PixelShape, Semantics, ViewKey,
    ViewParams, ViewPolicy,
};

/// torchvision's number of tries for a crop that fits.
const TRIES: usize = 10;

impl ViewPolicy {
    /// Draws the parameters of the view that `key` names, for a picture of
    /// `source` size. Pixels are not needed.
    ///
    /// # Errors
    ///
    /// If the policy holds a colour operation and the picture is not RGB: see
    /// [`TwoViewPolicy::resolve`](crate::TwoViewPolicy::resolve).
    pub fn sample(&self, key: ViewKey, source: PixelShape) -> Result<ViewParams, AugmentError> {
        let mut params = ViewParams::default();
        self.sample_into(key, source, &mut params)?;
        Ok(params)
    }

    /// [`sample`](Self::sample) into parameters whose memory is used again.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample).
    pub fn sample_into(
        &self,
        key: ViewKey,
        source: PixelShape,
        params: &mut ViewParams,
    ) -> Result<(), AugmentError> {
        let PixelShape { width, height, channels } = source;
        if width == 0 || height == 0 || channels == 0 {
            return Err(AugmentError::EmptyPicture { width, height, channels });
        }
        check_size(self.size)?;
        let draws = key.draws();
        params.source = source;
        params.crop = self.crop.sample(key, &draws, source);
        params.ops.clear();
        for op in &self.ops {
            if let Some(drawn) = self.sample_op(op, key, &draws, source.channels)? {
                params.ops.push(drawn);
            }
        }
        Ok(())
    }

    fn sample_op(
        &self,
        op: &Op,
        key: ViewKey,
        draws: &Draws,
        channels: usize,
    ) -> Result<Option<OpParams>, AugmentError> {
        let needs_colour =
            |op| if channels == 3 { Ok(()) } else { Err(AugmentError::NeedsColour { op, channels }) };
        let drawn = match *op {
            Op::HorizontalFlip { p } => {
                draws.happens(place::HORIZONTAL_FLIP, p).then_some(OpParams::HorizontalFlip)
            }
            Op::VerticalFlip { p } => {
                draws.happens(place::VERTICAL_FLIP, p).then_some(OpParams::VerticalFlip)
            }
            Op::RightAngle { p } => draws.happens(place::RIGHT_ANGLE, p).then(|| OpParams::RightAngle {
                quarter_turns: 1 + draws.below(place::RIGHT_ANGLE + 1, 3) as u8,
            }),
            Op::Rotate { p, degrees, fill } => draws.happens(place::ROTATE, p).then(|| OpParams::Rotate {
                degrees: draws.uniform(place::ROTATE + 1, degrees) as f32,
                fill: fill as f32,
            }),
            Op::ColorJitter { p, brightness, contrast, saturation, hue } => {
                if saturation > 0.0 || hue > 0.0 {
                    needs_colour("color_jitter with saturation or hue")?;
                }
                draws.happens(place::COLOR_JITTER, p).then(|| OpParams::ColorJitter {
                    steps: jitter(draws, self.semantics, [brightness, contrast, saturation, hue]).collect(),
                })
            }
            Op::Grayscale { p } => {
                needs_colour("grayscale")?;
                draws.happens(place::GRAYSCALE, p).then_some(OpParams::Grayscale)
            }
            Op::ChannelGain { p, gain, offset } => draws.happens(place::CHANNEL_GAIN, p).then(|| {
                let mut numbers = key.stream(stream::CHANNEL_GAIN);
                let drawn = (0..channels).map(|_| {
                    let gain = numbers.uniform([1.0 - gain, 1.0 + gain]) as f32;
                    [gain, numbers.uniform([-offset, offset]) as f32]
                });
                OpParams::ChannelGain { channels: drawn.collect() }
            }),
            Op::Blur { p, sigma, border } => draws.happens(place::BLUR, p).then(|| OpParams::Blur {
                sigma: draws.uniform(place::BLUR + 1, sigma) as f32,
                radius: self.size / 20, // size/10 pixels made odd: 23 at 224, 3 at 32
                border,
            }),
            Op::Solarize { p, threshold } => draws
                .happens(place::SOLARIZE, p)
                .then_some(OpParams::Solarize { threshold: threshold as f32 }),
            Op::Posterize { p, bits } => {
                draws.happens(place::POSTERIZE, p).then_some(OpParams::Posterize { bits })
            }
            Op::Noise { p, sigma } => draws.happens(place::NOISE, p).then(|| OpParams::Noise {
                sigma: draws.uniform(place::NOISE + 1, sigma) as f32,
                seed: draws.word(place::NOISE + 2),
            }),
            Op::Erase { p, area, aspect, value } => {
                if !draws.happens(place::ERASE, p) {
                    return Ok(None);
                }
                erased(&mut key.stream(stream::ERASE), self.size, area, aspect)
                    .map(|area| OpParams::Erase { area, value: value as f32 })
            }
        };
        Ok(drawn)
    }
}

/// The parts of a jitter whose range is not 0, in the order drawn.
fn jitter(
    draws: &Draws,
    semantics: Semantics,
    [brightness, contrast, saturation, hue]: [f64; 4],
) -> impl Iterator<Item = JitterOp> {
    let around = |i: usize, centre: f64, range: f64| {
        draws.uniform(place::COLOR_JITTER + i, [centre - range, centre + range]) as f32
    };
    let middle = if semantics == Semantics::Paper { 0.0 } else { 1.0 };
    let all = [
        (brightness > 0.0).then(|| JitterOp::Brightness(around(1, middle, brightness))),
        (contrast > 0.0).then(|| JitterOp::Contrast(around(2, 1.0, contrast))),
        (saturation > 0.0).then(|| JitterOp::Saturation(around(3, 1.0, saturation))),
        (hue > 0.0).then(|| JitterOp::Hue(around(4, 0.0, hue))),
    ];
    let order = permutation_of_4(draws.below(place::COLOR_JITTER + 5, 24));
    order.into_iter().filter_map(move |i| all[i])
}

/// The `index`-th of the 24 orders of 4 things.
fn permutation_of_4(index: u64) -> [usize; 4] {
    let (mut left, mut rest) = ([0, 1, 2, 3], index as usize);
    std::array::from_fn(|i| {
        let block = [6, 2, 1, 1][i];
        let at = rest / block;
        rest %= block;
        let taken = left[at];
        left.copy_within(at + 1.., at); // close the gap
        taken
    })
}

/// e^x and ln are libm's, the same on every platform.
fn log_uniform(word: impl FnOnce([f64; 2]) -> f64, [low, high]: [f64; 2]) -> f64 {
    libm::exp(word([libm::log(low), libm::log(high)]))
}

impl CropPolicy {
    fn sample(&self, key: ViewKey, draws: &Draws, source: PixelShape) -> CropBox {
        let (width, height) = (source.width as f64, source.height as f64);
        let sides = |area: f64, aspect: f64| {
            let area = area * width * height;
            let side = |x: f64| x.sqrt().round_ties_even() as usize;
            (side(area * aspect), side(area / aspect))
        };
        let first = sides(
            draws.uniform(place::CROP, self.area),
            log_uniform(|range| draws.uniform(place::CROP + 1, range), self.aspect),
        );
        let fits =
            |(w, h): (usize, usize)| (1..=source.width).contains(&w) && (1..=source.height).contains(&h);
        let (crop_width, crop_height) = match self.fit {
            CropFit::Clamp => (first.0.clamp(1, source.width), first.1.clamp(1, source.height)),
            CropFit::Retry if fits(first) => first,
            CropFit::Retry => {
                let mut numbers = key.stream(stream::CROP);
                let again = (1..TRIES).find_map(|_| {
                    let area = numbers.uniform(self.area);
                    let aspect = log_uniform(|range| numbers.uniform(range), self.aspect);
                    Some(sides(area, aspect)).filter(|found| fits(*found))
                });
                match again {
                    Some(found) => found,
                    None => return self.central(source),
                }
            }
        };
        let offset = |i, free: usize| draws.below(place::CROP + i, free as u64 + 1) as usize;
        CropBox {
            x: offset(2, source.width - crop_width),
            y: offset(3, source.height - crop_height),
            width: crop_width,
            height: crop_height,
        }
    }

    /// The largest central crop whose aspect ratio is allowed.
    fn central(&self, source: PixelShape) -> CropBox {
        let (width, height) = (source.width as f64, source.height as f64);
        let [low, high] = self.aspect;
        let rounded = |x: f64, limit: usize| (x.round_ties_even() as usize).clamp(1, limit);
        let (crop_width, crop_height) = if width / height < low {
            (source.width, rounded(width / low, source.height))
        } else if width / height > high {
            (rounded(height * high, source.width), source.height)
        } else {
            (source.width, source.height)
        };
        CropBox {
            x: (source.width - crop_width) / 2,
            y: (source.height - crop_height) / 2,
            width: crop_width,
            height: crop_height,
        }
    }
}

/// torchvision's `RandomErasing`: smaller than the view, up to ten tries.
fn erased(numbers: &mut Stream, size: usize, area: [f64; 2], aspect: [f64; 2]) -> Option<CropBox> {
    let (width, height) = (0..TRIES).find_map(|_| {
        let area = (size * size) as f64 * numbers.uniform(area);
        let aspect = log_uniform(|range| numbers.uniform(range), aspect);
        let side = |x: f64| x.sqrt().round_ties_even() as usize;
        let (height, width) = (side(area * aspect), side(area / aspect));
        (height < size && width < size).then_some((width, height))
    })?;
    let y = numbers.below((size - height) as u64 + 1) as usize;
    let x = numbers.below((size - width) as u64 + 1) as usize;
    Some(CropBox { x, y, width, height })
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
