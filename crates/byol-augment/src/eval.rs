//! How pictures are prepared when the encoder is used: nothing is random.

use serde::{Deserialize, Serialize};

use crate::apply::Job;
use crate::{AugmentError, CropBox, Normalize, Pixels, Resample, Semantics, Workspace};

/// Central square crop, resize, normalise (paper, Appendix C.1; DeepMind's code
/// crops 224/256 of the short side and then resizes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalTransform {
    /// Whose arithmetic.
    pub semantics: Semantics,
    /// Side of the result in pixels.
    pub size: usize,
    /// Share of the short side that is kept.
    pub crop: f64,
    /// Interpolation.
    pub resample: Resample,
    /// The last step.
    pub normalize: Normalize,
}

impl EvalTransform {
    /// Values in a prepared picture: channels · size · size.
    pub fn output_len(&self, channels: usize) -> usize {
        channels * self.size * self.size
    }

    /// Writes the prepared picture to `out`: `f32`, CHW.
    ///
    /// # Errors
    ///
    /// If `out` does not hold channels · size · size values.
    pub fn apply(
        &self,
        pixels: Pixels<'_>,
        workspace: &mut Workspace,
        out: &mut [f32],
    ) -> Result<(), AugmentError> {
        let shape = pixels.shape();
        let short = shape.width.min(shape.height);
        // As `_decode_and_center_crop` of byol/utils/dataset.py: cut, not rounded.
        let side = ((self.crop * short as f64) as usize).clamp(1, short);
        let offset = |length: usize| (length - side).div_ceil(2);
        let crop = CropBox { x: offset(shape.width), y: offset(shape.height), width: side, height: side };
        Job {
            semantics: self.semantics,
            crop,
            resample: self.resample,
            size: self.size,
            ops: &[],
            normalize: &self.normalize,
            pixels,
            workspace,
            view: out,
        }
        .run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    #[test]
    fn the_centre_is_deepminds() {
        // 500x375 at 224/256: side 328, at ((500 - 328) + 1) // 2 and ((375 - 328) + 1) // 2.
        let (width, height) = (500, 375);
        let inside = |i: usize| {
            let (x, y) = (i % width, i / width);
            (86..86 + 328).contains(&x) && (24..24 + 328).contains(&y)
        };
        let data: Vec<u8> = (0..width * height).map(|i| if inside(i) { 200 } else { 0 }).collect();
        let transform = EvalTransform {
            semantics: Semantics::Paper,
            size: 328,
            crop: 0.875,
            resample: Resample { filter: Filter::Bicubic, antialias: false },
            normalize: Normalize { mean: vec![0.0], std: vec![1.0] },
        };
        let mut out = vec![0.0; 328 * 328];
        let pixels = Pixels::new(&data, width, height, 1).unwrap();
        transform.apply(pixels, &mut Workspace::default(), &mut out).unwrap();
        assert!(out.iter().all(|x| (x - 200.0 / 255.0).abs() < 1e-6));
    }

    #[test]
    fn a_picture_of_the_right_size_passes_unchanged() {
        let data: Vec<u8> = (0..64).map(|i| i * 4).collect();
        let pixels = Pixels::new(&data, 8, 8, 1).unwrap();
        let transform = EvalTransform {
            semantics: Semantics::Paper,
            size: 8,
            crop: 1.0,
            resample: Resample { filter: Filter::Bicubic, antialias: false },
            normalize: Normalize { mean: vec![0.0], std: vec![1.0] },
        };
        let mut out = vec![0.0; 64];
        transform.apply(pixels, &mut Workspace::default(), &mut out).unwrap();
        for (x, byte) in out.iter().zip(&data) {
            assert!((x - f32::from(*byte) / 255.0).abs() < 1e-6);
        }
    }
}
