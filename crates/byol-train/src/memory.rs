//! Memory of a training step, before it is taken.

use byol_model::{HeadConfig, ResNetConfig};

use crate::TrainError;

/// A step whose memory is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepShape {
    /// f.
    pub encoder: ResNetConfig,
    /// g.
    pub projector: HeadConfig,
    /// q.
    pub predictor: HeadConfig,
    /// Side of a view in pixels.
    pub size: usize,
    /// Pictures in a step.
    pub batch: usize,
    /// Batches of views that wait, besides the one that is used.
    pub prefetch: usize,
}

/// What a process has before it trains, and parts of weight gradients.
const PROCESS: u64 = 24 << 20;
/// Allocator's slack and copies while parameters move, in percent of what stays.
const SLACK: u64 = 10;
/// Buffers of the size of the largest activation that the backward passes of both directions, side
/// by side, have at once.
const LARGEST: u64 = 6;

impl StepShape {
    /// Bytes at the peak of a step on the CPU, within some 10 % (`models --measure`
    /// measures) with two lanes: parameters of online and target network, momentum, gradients of
    /// both directions; what the two online passes keep for the backward pass (each normalisation its input, each ReLU
    /// and the max pooling its output); views, and two channels last. With the kernels of byol-kernels; Burn's own
    /// operations need about a third more.
    ///
    /// # Errors
    ///
    /// If there is no such encoder.
    pub fn memory(&self) -> Result<u64, TrainError> {
        let cost = self.encoder.cost(self.size)?;
        let projector = self.projector.parameters(self.encoder.dim()?);
        let predictor = self.predictor.parameters(self.projector.output);
        let target = cost.parameters.saturating_add(projector);
        let online = target.saturating_add(predictor);
        // θ, momentum, and the gradients of both directions.
        let staying = online.saturating_mul(4).saturating_add(target).saturating_mul(4);
        let view = (self.encoder.in_channels * self.size * self.size) as u64;
        let kept =
            [cost.normalized, cost.rectified, cost.pooled, view.saturating_mul(self.prefetch as u64 + 1)];
        let kept = kept.into_iter().fold(0u64, u64::saturating_add);
        let bytes = (self.batch as u64).saturating_mul(4);
        let views = kept.saturating_mul(bytes).saturating_mul(2);
        let copied = (view.saturating_mul(bytes) / 4).saturating_mul(9);
        let working = cost.largest.saturating_mul(bytes).saturating_mul(LARGEST).saturating_add(copied);
        let staying = staying.saturating_add(staying / 100 * SLACK);
        Ok([PROCESS, staying, views, working].into_iter().fold(0u64, u64::saturating_add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks that `models --measure` printed (GiB; AMD EPYC with AVX2, 2 cores, with the
    /// kernels), which the estimate must not leave by more than 15 %.
    #[test]
    fn estimates_are_near_what_was_measured() {
        for (name, [channels, size, batch, hidden, output], measured) in MEASURED {
            let head = HeadConfig { layers: 2, hidden, output };
            let shape = StepShape {
                encoder: ResNetConfig::from_name(name, channels).unwrap(),
                projector: head,
                predictor: head,
                size,
                batch,
                prefetch: 0,
            };
            let estimate = shape.memory().unwrap() as f64 / f64::from(1 << 30);
            assert!(
                (measured / estimate - 1.0).abs() < 0.15,
                "{name} {size}: {estimate} GiB, {measured} measured"
            );
        }
    }

    /// Name; channels, size, batch, units and outputs of the heads; peak.
    const MEASURED: [(&str, [usize; 5], f64); 13] = [
        ("resnet18", [3, 224, 8, 4096, 256], 0.74),
        ("resnet50", [3, 224, 8, 4096, 256], 2.15),
        ("resnet101", [3, 224, 8, 4096, 256], 3.10),
        ("resnet34", [3, 96, 16, 4096, 256], 0.71),
        ("resnet50_2x", [3, 96, 16, 4096, 256], 3.22),
        ("resnet50_v2", [3, 96, 16, 4096, 256], 1.19),
        ("resnet18_w32_small", [3, 32, 128, 1024, 128], 0.76),
        ("resnet18_small", [3, 32, 128, 1024, 128], 1.71),
        ("resnet18_w8", [256, 96, 8, 64, 256], 0.32),
        ("resnet18_w16", [64, 224, 8, 512, 256], 0.52),
        ("resnet152_w4", [3, 128, 16, 64, 256], 0.155),
        ("resnet18", [64, 224, 8, 4096, 256], 1.10),
        ("resnet18_w16_small_stride2", [1, 28, 128, 512, 128], 0.10),
    ];

    #[test]
    fn nothing_overflows() {
        let head = HeadConfig { layers: 8, hidden: 65_536, output: 65_536 };
        let encoder = ResNetConfig { width: 4096, ..ResNetConfig::from_name("resnet200", 4096).unwrap() };
        let shape = StepShape {
            encoder,
            projector: head,
            predictor: head,
            size: 1 << 20,
            batch: 1 << 40,
            prefetch: 4,
        };
        assert_eq!(shape.memory().unwrap(), u64::MAX);
    }
}
