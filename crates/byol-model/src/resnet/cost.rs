//! What a ResNet costs, counted from its configuration without making it.

use super::config::{ResNetConfig, Stem};
use crate::ModelError;

/// Counted, not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderCost {
    /// Parameters of f: convolutions, γ and β.
    pub parameters: u64,
    /// Values that the convolutions give for one picture. Training keeps at least
    /// these for the backward pass.
    pub activations: u64,
}

/// Adds up convolutions with the normalisation behind each.
#[derive(Default)]
struct Tally {
    parameters: u64,
    activations: u64,
}

impl Tally {
    fn conv(&mut self, [from, to]: [u64; 2], kernel: u64, side: u64) {
        self.parameters += from * to * kernel * kernel + 2 * to;
        self.activations += to * side * side;
    }
}

impl ResNetConfig {
    /// Parameters, and values kept for a picture of `side` × `side` pixels.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn cost(&self, side: usize) -> Result<EncoderCost, ModelError> {
        let (_, blocks, bottleneck) = self.layout()?;
        let (width, mut from) = (self.width as u64, self.width as u64);
        let mut tally = Tally::default();
        let (kernel, stride) = match self.stem {
            Stem::Imagenet => (7, 2),
            Stem::Small => (3, 1),
            Stem::SmallStride2 => (3, 2),
        };
        let mut side = (side as u64).div_ceil(stride);
        tally.conv([self.in_channels as u64, width], kernel, side);
        if self.stem == Stem::Imagenet {
            side = side.div_ceil(2);
        }
        for (stage, n_blocks) in blocks.into_iter().enumerate() {
            let inner = width << stage;
            let to = inner * if bottleneck { 4 } else { 1 };
            for block in 0..n_blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let side_out = side.div_ceil(stride);
                if bottleneck {
                    tally.conv([from, inner], 1, side);
                    tally.conv([inner, inner], 3, side_out);
                    tally.conv([inner, to], 1, side_out);
                } else {
                    tally.conv([from, inner], 3, side_out);
                    tally.conv([inner, inner], 3, side_out);
                }
                if stride != 1 || from != to {
                    tally.conv([from, to], 1, side_out);
                }
                (from, side) = (to, side_out);
            }
        }
        Ok(EncoderCost { parameters: tally.parameters, activations: tally.activations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper, section 4 and Figure 1, in millions; without the classifier.
    #[test]
    fn parameters_are_the_papers() {
        for (depth, times, millions) in [
            (50, 1, 24),
            (50, 2, 94),
            (50, 3, 211),
            (50, 4, 375),
            (101, 1, 43),
            (152, 1, 58),
            (200, 1, 63),
            (200, 2, 250),
        ] {
            let config = ResNetConfig {
                depth,
                width: 64 * times,
                in_channels: 3,
                stem: Stem::Imagenet,
                zero_gamma: false,
            };
            let counted = config.cost(224).unwrap().parameters;
            assert_eq!((counted as f64 / 1e6).round() as u64, millions, "ResNet-{depth} {times}x: {counted}");
        }
    }

    /// Radosavovic et al. 2020 ("Designing Network Design Spaces") count the same,
    /// in millions at 224 pixels.
    #[test]
    fn activations_are_those_published() {
        for (depth, millions) in [(50, 11.1), (101, 16.2), (152, 22.6)] {
            let config =
                ResNetConfig { depth, width: 64, in_channels: 3, stem: Stem::Imagenet, zero_gamma: false };
            let counted = config.cost(224).unwrap().activations as f64 / 1e6;
            assert!((counted - millions).abs() < 0.06, "ResNet-{depth}: {counted}");
        }
    }
}
