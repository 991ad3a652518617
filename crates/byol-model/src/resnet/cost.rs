//! What a ResNet costs, counted from its configuration without making it.

use super::block::ConvShape;
use super::config::{ResNetConfig, Stem, Version};
use crate::ModelError;

/// Counted, not measured; all but the parameters for one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncoderCost {
    /// Parameters of f: convolutions, γ and β.
    pub parameters: u64,
    /// Multiply-adds of a forward pass: those of the convolutions, which is what
    /// papers mean by FLOPs (4.1 · 10⁹ for ResNet-50 at 224 pixels; twice as many
    /// floating-point operations).
    pub multiply_adds: u64,
    /// Values that the convolutions give.
    pub activations: u64,
    /// Values that the convolution with the most gives.
    pub largest: u64,
    /// Values that the normalisations are given.
    pub normalized: u64,
    /// Values that the ReLUs give.
    pub rectified: u64,
    /// Values that the max pooling gives, if there is one.
    pub pooled: u64,
}

/// Adds up layers.
#[derive(Default)]
struct Tally(EncoderCost);

impl Tally {
    /// A convolution whose result has `side` pixels.
    fn conv(&mut self, shape: ConvShape, side: u64) {
        let [from, to] = shape.channels.map(|channels| channels as u64);
        let weights = from * to * (shape.kernel * shape.kernel) as u64;
        let values = to.saturating_mul(side * side);
        self.0.parameters = self.0.parameters.saturating_add(weights);
        self.0.multiply_adds = self.0.multiply_adds.saturating_add(weights.saturating_mul(side * side));
        self.0.activations = self.0.activations.saturating_add(values);
        self.0.largest = self.0.largest.max(values);
    }

    /// A normalisation, and the ReLU behind it or behind the sum.
    fn norm(&mut self, channels: usize, side: u64, relu: bool) {
        self.0.parameters += 2 * channels as u64;
        let values = (channels as u64).saturating_mul(side * side);
        self.0.normalized = self.0.normalized.saturating_add(values);
        self.0.rectified = self.0.rectified.saturating_add(if relu { values } else { 0 });
    }
}

impl ResNetConfig {
    /// Counts for pictures of `side` × `side` pixels.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn cost(&self, side: usize) -> Result<EncoderCost, ModelError> {
        let stages = self.stages()?;
        let mut tally = Tally::default();
        let (kernel, stride) = self.stem.kernel_and_stride();
        let mut side = (side as u64).div_ceil(stride as u64);
        tally.conv(ConvShape { channels: [self.in_channels, self.width], kernel, stride }, side);
        if self.version == Version::V1 {
            tally.norm(self.width, side, true);
        }
        if self.stem == Stem::Imagenet {
            side = side.div_ceil(2);
            tally.0.pooled = self.width as u64 * side * side;
        }
        for block in stages.iter().flatten() {
            let after = side.div_ceil(block.stride as u64);
            let (first, second, third) = block.convs();
            // Of the convolutions of a block one has a stride.
            let mut before = side;
            for shape in [Some(first), Some(second), third].into_iter().flatten() {
                let result = before.div_ceil(shape.stride as u64);
                tally.conv(shape, result);
                match self.version {
                    // The last ReLU comes after the sum, and is of the same size.
                    Version::V1 => tally.norm(shape.channels[1], result, true),
                    // The sum that the first is given is counted with it.
                    Version::V2 => tally.norm(shape.channels[0], before, true),
                }
                before = result;
            }
            if let Some(shape) = block.shortcut() {
                tally.conv(shape, after);
                if self.version == Version::V1 {
                    tally.norm(shape.channels[1], after, false);
                }
            }
            side = after;
        }
        if self.version == Version::V2 {
            tally.norm(self.dim()?, side, true);
        }
        Ok(tally.0)
    }
}

/// A convolution of an encoder, and the pictures that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConvLayer {
    /// Channels in and out.
    pub channels: [usize; 2],
    /// Side of the window in pixels; it is padded by half of it.
    pub kernel: usize,
    /// Pixels from a window to the next.
    pub stride: usize,
    /// Side of its pictures in pixels.
    pub side: usize,
}

impl ConvLayer {
    fn of(shape: ConvShape, side: usize) -> Self {
        let ConvShape { channels, kernel, stride } = shape;
        Self { channels, kernel, stride, side }
    }

    /// Side of its results in pixels.
    pub fn side_after(&self) -> usize {
        self.side.div_ceil(self.stride)
    }
}

impl ResNetConfig {
    /// Its convolutions in order, for pictures of `side` × `side` pixels.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn convolutions(&self, mut side: usize) -> Result<Vec<ConvLayer>, ModelError> {
        let (kernel, stride) = self.stem.kernel_and_stride();
        let stem = ConvShape { channels: [self.in_channels, self.width], kernel, stride };
        let mut layers = vec![ConvLayer::of(stem, side)];
        side = layers[0].side_after();
        if self.stem == Stem::Imagenet {
            side = side.div_ceil(2);
        }
        for block in self.stages()?.iter().flatten() {
            let (first, second, third) = block.convs();
            let before = side;
            for shape in [Some(first), Some(second), third].into_iter().flatten() {
                let layer = ConvLayer::of(shape, side);
                side = layer.side_after();
                layers.push(layer);
            }
            layers.extend(block.shortcut().map(|shape| ConvLayer::of(shape, before)));
        }
        Ok(layers)
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
                version: Version::V1,
            };
            let counted = config.cost(224).unwrap().parameters;
            assert_eq!((counted as f64 / 1e6).round() as u64, millions, "ResNet-{depth} {times}x: {counted}");
        }
    }

    #[test]
    fn convolutions_are_those_that_are_counted() {
        for (name, side) in
            [("resnet18_small", 32), ("resnet50", 224), ("resnet50_v2", 65), ("resnet34_w8", 28)]
        {
            let config = ResNetConfig::from_name(name, 3).unwrap();
            let of = |layer: &ConvLayer| {
                let [from, to] = layer.channels;
                (from * to * layer.kernel.pow(2) * layer.side_after().pow(2)) as u64
            };
            let sum: u64 = config.convolutions(side).unwrap().iter().map(of).sum();
            assert_eq!(sum, config.cost(side).unwrap().multiply_adds, "{name}");
        }
    }

    /// torchvision's `_ops` of its weights, 10⁹ multiply-adds at 224 pixels with the
    /// classifier (`dim` · 1000).
    #[test]
    fn multiply_adds_are_torchvisions() {
        for (name, giga) in [
            ("resnet18", 1.814),
            ("resnet34", 3.664),
            ("resnet50", 4.089),
            ("resnet101", 7.801),
            ("resnet152", 11.514),
        ] {
            let config = ResNetConfig::from_name(name, 3).unwrap();
            let classifier = config.dim().unwrap() * 1000;
            let counted = (config.cost(224).unwrap().multiply_adds + classifier as u64) as f64 / 1e9;
            assert!((counted - giga).abs() < 0.001, "{name}: {counted}");
        }
    }

    #[test]
    fn no_size_overflows() {
        let config = ResNetConfig { width: 4096, ..ResNetConfig::from_name("resnet200", 4096).unwrap() };
        assert!(config.cost(1 << 20).unwrap().multiply_adds > 1 << 60);
    }

    /// Radosavovic et al. 2020 ("Designing Network Design Spaces") count the same,
    /// in millions at 224 pixels.
    #[test]
    fn activations_are_those_published() {
        for (depth, millions) in [(50, 11.1), (101, 16.2), (152, 22.6)] {
            let config = ResNetConfig {
                depth,
                width: 64,
                in_channels: 3,
                stem: Stem::Imagenet,
                zero_gamma: false,
                version: Version::V1,
            };
            let counted = config.cost(224).unwrap().activations as f64 / 1e6;
            assert!((counted - millions).abs() < 0.06, "ResNet-{depth}: {counted}");
        }
    }
}
