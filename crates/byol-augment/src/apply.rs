//! Applying: parameters and pixels give a view.

use crate::ops::{blur, color, crop, flip, solarize};
use crate::{AugmentError, JitterOp, OpParams, Pixels, ViewParams, ViewPolicy};

/// Buffers that are reused from view to view. Use one per thread.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) rows: Vec<f32>,
    pub(crate) plane: Vec<f32>,
    pub(crate) taps_x: crop::Taps,
    pub(crate) taps_y: crop::Taps,
    pub(crate) kernel: Vec<f32>,
}

impl ViewPolicy {
    /// Makes a view: crop and resize, the drawn operations on values in [0, 1],
    /// normalisation. Writes `f32`, channels first (CHW), to `view`.
    ///
    /// # Errors
    ///
    /// If `view` does not hold [`output_len`](Self::output_len) values or the
    /// parameters were drawn for a picture of another shape.
    pub fn apply(
        &self,
        params: &ViewParams,
        pixels: Pixels<'_>,
        workspace: &mut Workspace,
        view: &mut [f32],
    ) -> Result<(), AugmentError> {
        let channels = pixels.shape().channels;
        let (size, expected) = (self.size, self.output_len(channels));
        if view.len() != expected {
            return Err(AugmentError::OutputLength { expected, got: view.len() });
        }
        if params.source != pixels.shape() {
            return Err(AugmentError::ShapeMismatch {
                expected: params.source.to_string(),
                got: pixels.shape().to_string(),
            });
        }
        crop::crop_resize(pixels, params.crop, self.resample, size, workspace, view);
        for op in &params.ops {
            match op {
                OpParams::HorizontalFlip => flip::horizontal(view, size),
                OpParams::ColorJitter { steps } => {
                    for step in steps {
                        match *step {
                            JitterOp::Brightness(delta) => color::brightness(view, delta),
                            JitterOp::Contrast(factor) => color::contrast(view, size * size, factor),
                            JitterOp::Saturation(factor) => color::saturation(view, size * size, factor),
                            JitterOp::Hue(delta) => color::hue(view, size * size, delta),
                        }
                    }
                }
                OpParams::Grayscale => color::grayscale(view, size * size),
                OpParams::Blur { sigma, radius, border } => {
                    blur::gaussian_planes(view, [size, size], *radius, *sigma, *border, workspace);
                }
                OpParams::Solarize { threshold } => solarize::solarize(view, *threshold),
            }
        }
        normalize(view, size, &self.normalize);
        Ok(())
    }
}

pub(crate) fn normalize(view: &mut [f32], size: usize, normalize: &crate::Normalize) {
    for (c, plane) in view.chunks_exact_mut(size * size).enumerate() {
        let (mean, std) = normalize.channel(c);
        let scale = 1.0 / std;
        for x in plane {
            *x = (*x - mean) * scale;
        }
    }
}
