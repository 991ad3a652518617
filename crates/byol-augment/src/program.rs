//! What has to be done in which order: passes over the view, as few as the
//! mathematics allows.
//!
//! A pass begins with something that needs pixels of the whole view (the crop, a
//! contrast, which needs the mean, a blur, a turn) and goes on with operations on
//! each pixel by itself, strip by strip while a strip is in cache. The mean that
//! the next contrast needs is taken in the pass before it, and normalisation is
//! the end of the last one.

use std::ops::Range;

use crate::{JitterOp, OpParams};

/// How a pass begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Head {
    /// Crop and resize, with flips that follow at once.
    Crop,
    /// Factor about the mean.
    Contrast(f32),
    /// The operation with this number, a blur.
    Blur(usize),
    /// The operation with this number, on whole planes.
    Whole(usize),
}

/// An operation on each pixel by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Brightness(f32),
    Saturation(f32),
    Hue(f32),
    Grayscale,
    /// The operation with this number.
    ChannelGain(usize),
    Solarize(f32),
    Posterize(u32),
}

/// One pass over the view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pass {
    pub head: Head,
    /// Of the program's steps.
    pub steps: Range<usize>,
    /// Whether the next pass wants the mean.
    pub mean: bool,
}

/// All passes of a view; its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub passes: Vec<Pass>,
    pub steps: Vec<Step>,
    pub mirror_x: bool,
    pub mirror_y: bool,
}

impl Program {
    /// Arranges the operations.
    pub fn arrange(&mut self, ops: &[OpParams]) {
        self.passes.clear();
        self.steps.clear();
        (self.mirror_x, self.mirror_y) = (false, false);
        self.begin(Head::Crop);
        let mut leading = true;
        for (i, op) in ops.iter().enumerate() {
            match op {
                // A mirrored crop costs nothing.
                OpParams::HorizontalFlip if leading => self.mirror_x ^= true,
                OpParams::VerticalFlip if leading => self.mirror_y ^= true,
                _ => leading = false,
            }
            if !leading {
                self.add(i, op);
            }
        }
    }

    fn begin(&mut self, head: Head) {
        let at = self.steps.len();
        self.passes.push(Pass { head, steps: at..at, mean: false });
    }

    fn step(&mut self, step: Step) {
        self.steps.push(step);
        if let Some(pass) = self.passes.last_mut() {
            pass.steps.end += 1;
        }
    }

    fn add(&mut self, i: usize, op: &OpParams) {
        match op {
            OpParams::ColorJitter { steps } => {
                for step in steps.iter() {
                    match step {
                        JitterOp::Brightness(value) => self.step(Step::Brightness(value)),
                        JitterOp::Saturation(factor) => self.step(Step::Saturation(factor)),
                        JitterOp::Hue(delta) => self.step(Step::Hue(delta)),
                        JitterOp::Contrast(factor) => {
                            if let Some(pass) = self.passes.last_mut() {
                                pass.mean = true;
                            }
                            self.begin(Head::Contrast(factor));
                        }
                    }
                }
            }
            OpParams::Grayscale => self.step(Step::Grayscale),
            OpParams::ChannelGain { .. } => self.step(Step::ChannelGain(i)),
            OpParams::Solarize { threshold } => self.step(Step::Solarize(*threshold)),
            OpParams::Posterize { bits } => self.step(Step::Posterize(*bits)),
            OpParams::Blur { radius: 0, .. } => {} // one tap of weight 1
            OpParams::Blur { .. } => self.begin(Head::Blur(i)),
            OpParams::HorizontalFlip
            | OpParams::VerticalFlip
            | OpParams::RightAngle { .. }
            | OpParams::Rotate { .. }
            | OpParams::Noise { .. }
            | OpParams::Erase { .. } => self.begin(Head::Whole(i)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Border;

    #[test]
    fn contrast_and_blur_begin_passes_and_the_rest_rides_along() {
        let jitter = [JitterOp::Hue(0.1), JitterOp::Contrast(1.2), JitterOp::Brightness(0.1)];
        let ops = [
            OpParams::HorizontalFlip,
            OpParams::ColorJitter { steps: jitter.into_iter().collect() },
            OpParams::Grayscale,
            OpParams::Blur { sigma: 1.0, radius: 11, border: Border::Zero },
            OpParams::Solarize { threshold: 0.5 },
        ];
        let mut program = Program::default();
        program.arrange(&ops);
        let heads: Vec<Head> = program.passes.iter().map(|pass| pass.head).collect();
        assert_eq!(heads, [Head::Crop, Head::Contrast(1.2), Head::Blur(3)]);
        assert!(program.mirror_x && !program.mirror_y);
        let means: Vec<bool> = program.passes.iter().map(|pass| pass.mean).collect();
        assert_eq!(means, [true, false, false]);
        let steps: Vec<Range<usize>> = program.passes.iter().map(|pass| pass.steps.clone()).collect();
        assert_eq!(steps, [0..1, 1..3, 3..4]);
        program.arrange(&[OpParams::Grayscale, OpParams::HorizontalFlip]);
        assert_eq!(program.passes[1].head, Head::Whole(1), "a later flip keeps its place");
    }
}
