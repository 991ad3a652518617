//! How pictures are prepared when the encoder is used: nothing is random.

use serde::{Deserialize, Serialize};

use crate::apply::normalize;
use crate::ops::crop::crop_resize;
use crate::{AugmentError, CropBox, Normalize, Pixels, Resample, Workspace};

/// Central square crop, resize, normalise (paper, Appendix C.1; DeepMind's code
/// crops 224/256 of the short side and then resizes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalTransform {
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
        let expected = shape.channels * self.size * self.size;
        if out.len() != expected {
            return Err(AugmentError::OutputLength { expected, got: out.len() });
        }
        let short = shape.width.min(shape.height);
        let side = ((self.crop * short as f64).round() as usize).clamp(1, short);
        let crop =
            CropBox { x: (shape.width - side) / 2, y: (shape.height - side) / 2, width: side, height: side };
        crop_resize(pixels, crop, self.resample, self.size, workspace, out);
        normalize(out, self.size, &self.normalize);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;

    #[test]
    fn a_picture_of_the_right_size_passes_unchanged() {
        let data: Vec<u8> = (0..64).map(|i| i * 4).collect();
        let pixels = Pixels::new(&data, 8, 8, 1).unwrap();
        let transform = EvalTransform {
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
