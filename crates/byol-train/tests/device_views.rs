//! Views made on a device are those of the CPU.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use burn::tensor::{Device, Tensor};
use byol_augment::{
    Border, CropBox, Filter, JitterOp, Op, OpParams, PixelShape, Pixels, Resample, Semantics, TwoViewPolicy,
    ViewKey, ViewParams, ViewPolicy, Workspace,
};
use byol_train::{DeviceViews, TrainError};

/// What they may differ by, in values of [0, 1]: on average a level of 8 bits.
const MEAN: f64 = 1.0 / 255.0;

/// Pictures of several sides, smooth with edges and some noise.
fn pictures(channels: usize) -> Vec<(PixelShape, Vec<u8>)> {
    let sides = [(40, 40), (64, 33), (17, 50), (64, 64), (28, 28), (9, 12)];
    let make = |(i, (width, height)): (usize, (usize, usize))| {
        let value = |y: usize, x: usize, c: usize| {
            let wave = ((x + 3 * c) as f64 / (4.0 + i as f64)).sin() * ((y + c) as f64 / 7.0).cos();
            let edge = if (x / 9 + y / 5 + c).is_multiple_of(3) { 60.0 } else { 0.0 };
            let noise = ((x * 7919 + y * 104_729 + c * 31 + i * 17) % 41) as f64;
            (110.0 + 80.0 * wave + edge + noise).clamp(0.0, 255.0) as u8
        };
        let values = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| (0..channels).map(move |c| (y, x, c))))
            .map(|(y, x, c)| value(y, x, c));
        (PixelShape { width, height, channels }, values.collect())
    };
    sides.into_iter().enumerate().map(make).collect()
}

/// In frames of 64 × 64, levels.
fn batch(pictures: &[(PixelShape, Vec<u8>)], device: &Device) -> Tensor<4> {
    let channels = pictures[0].0.channels;
    let mut values = vec![99.0f32; pictures.len() * channels * 64 * 64];
    for (n, (shape, pixels)) in pictures.iter().enumerate() {
        for (i, value) in pixels.iter().enumerate() {
            let (c, x, y) = (i % channels, i / channels % shape.width, i / channels / shape.width);
            values[((n * channels + c) * 64 + y) * 64 + x] = f32::from(*value);
        }
    }
    Tensor::<1>::from_data(values.as_slice(), device).reshape([pictures.len(), channels, 64, 64])
}

/// The mean difference, in values of [0, 1], and the largest.
fn apart(policy: &ViewPolicy, params: &[ViewParams], pictures: &[(PixelShape, Vec<u8>)]) -> (f64, f64) {
    let (device, channels) = (Device::flex(), pictures[0].0.channels);
    let views = DeviceViews::new(policy, channels, &device).unwrap();
    let there = views.make(batch(pictures, &device), &params.iter().collect::<Vec<_>>()).unwrap();
    let there: Vec<f32> = there.into_data().iter::<f32>().collect();
    let (mut sum, mut largest, mut n) = (0.0, 0.0f64, 0.0);
    let len = policy.output_len(channels);
    for (i, ((shape, pixels), params)) in pictures.iter().zip(params).enumerate() {
        let mut here = vec![0.0; len];
        let pixels = Pixels::new(pixels, shape.width, shape.height, channels).unwrap();
        policy.apply(params, pixels, &mut Workspace::default(), &mut here).unwrap();
        for (k, (a, b)) in there[i * len..][..len].iter().zip(&here).enumerate() {
            let (_, std) = policy.normalize.channel(k / (policy.size * policy.size));
            let gap = f64::from((a - b).abs() * std);
            (sum, largest, n) = (sum + gap, largest.max(gap), n + 1.0);
        }
    }
    (sum / n, largest)
}

#[test]
fn policies_that_ship_give_the_same_views() {
    for name in TwoViewPolicy::presets() {
        for (channels, size) in [(3, 32), (1, 28), (5, 20)] {
            let mut policy = TwoViewPolicy::preset(name).unwrap().with_size(size);
            policy.normalize.mean.truncate(1);
            policy.normalize.std.truncate(1);
            let resolved = policy.resolve(channels).unwrap();
            for (view, policy) in [resolved.view, resolved.view_prime].into_iter().enumerate() {
                let pictures = pictures(channels);
                let mut done = false;
                for epoch in 0..6 {
                    let sample = |(i, (shape, _)): (usize, &(PixelShape, Vec<u8>))| {
                        let key = ViewKey { seed: 5, epoch, sample: i as u64, view: view as u64 };
                        policy.sample(key, *shape).unwrap()
                    };
                    let params: Vec<ViewParams> = pictures.iter().enumerate().map(sample).collect();
                    if let Err(error) = DeviceViews::new(&policy, channels, &Device::flex()) {
                        // Said, and before anything is made.
                        let turns = policy.ops.iter().any(|op| {
                            matches!(op, Op::RightAngle { .. } | Op::Rotate { .. } | Op::Noise { .. })
                        });
                        assert!(turns && error.to_string().contains("device_views"), "{name}: {error}");
                        continue;
                    }
                    let (mean, largest) = apart(&policy, &params, &pictures);
                    // Under torchvision's arithmetic a value may fall on the other side of a level.
                    let allowed = if policy.semantics == Semantics::Torchvision { MEAN } else { 0.05 * MEAN };
                    assert!(mean <= allowed, "{name} {channels} {size} {view}: {mean:.2e}, {largest:.2e}");
                    done = true;
                }
                assert!(done || matches!(name, "microscopy" | "multispectral"), "{name} was not compared");
            }
        }
    }
}

#[test]
fn each_operation_gives_the_same_views() {
    let area = CropBox { x: 3, y: 20, width: 40, height: 9 };
    let jitter = |steps: &[JitterOp]| OpParams::ColorJitter { steps: steps.iter().copied().collect() };
    let (b, c) = (JitterOp::Brightness, JitterOp::Contrast);
    let (s, h) = (JitterOp::Saturation, JitterOp::Hue);
    for semantics in [Semantics::Paper, Semantics::Torchvision] {
        let bright = if semantics == Semantics::Paper { 0.3 } else { 1.4 };
        let blur = |border| OpParams::Blur { sigma: 1.3, radius: 2, border };
        for op in [
            OpParams::HorizontalFlip,
            OpParams::VerticalFlip,
            OpParams::Grayscale,
            jitter(&[b(bright)]),
            jitter(&[c(1.7)]),
            jitter(&[c(0.2)]),
            jitter(&[s(1.8)]),
            jitter(&[s(0.0)]),
            jitter(&[h(0.2)]),
            jitter(&[h(-0.45)]),
            jitter(&[s(1.3), h(0.1), b(bright), c(0.7)]),
            blur(Border::Zero),
            blur(Border::Reflect),
            OpParams::Blur { sigma: 0.4, radius: 1, border: Border::Zero },
            OpParams::Solarize { threshold: 0.5 },
            OpParams::Posterize { bits: 3 },
            OpParams::Erase { area, value: 0.4 },
            OpParams::ChannelGain { channels: [[1.2, -0.1], [0.7, 0.2], [1.0, 0.0]].into_iter().collect() },
        ] {
            let (policy, params) = one_op(semantics, &op);
            // Of every other picture it is left out, so that pictures of a batch differ.
            let (mean, largest) = apart(&policy, &params, &pictures(3));
            let allowed = if semantics == Semantics::Torchvision { 0.5 * MEAN } else { 0.01 * MEAN };
            assert!(mean <= allowed, "{semantics:?} {op:?}: {mean:.2e}, {largest:.2e}");
            // Something has happened.
            let without: Vec<ViewParams> =
                params.iter().map(|p| ViewParams { ops: Vec::new(), ..p.clone() }).collect();
            let (still, _) = apart_of(&policy, &params, &without);
            assert!(still > 10.0 * mean.max(1e-4), "{op:?} did nothing: {still:.2e}");
        }
    }
}

/// A policy of that operation, and parameters with it and without it in turns.
fn one_op(semantics: Semantics, op: &OpParams) -> (ViewPolicy, Vec<ViewParams>) {
    let mut policy = TwoViewPolicy::preset("byol").unwrap().with_size(24).resolve(3).unwrap().view;
    policy.semantics = semantics;
    policy.resample = Resample { filter: Filter::Bilinear, antialias: true };
    policy.ops = vec![
        Op::ColorJitter { p: 1.0, brightness: 0.1, contrast: 0.1, saturation: 0.1, hue: 0.1 },
        Op::Grayscale { p: 1.0 },
        Op::Blur { p: 1.0, sigma: [0.1, 2.0], border: Border::Zero },
        Op::Solarize { p: 1.0, threshold: 0.5 },
        Op::Posterize { p: 1.0, bits: 3 },
        Op::ChannelGain { p: 1.0, gain: 0.5, offset: 0.5 },
        Op::Erase { p: 1.0, area: [0.1, 0.2], aspect: [1.0, 1.0], value: 0.4 },
        Op::HorizontalFlip { p: 1.0 },
        Op::VerticalFlip { p: 1.0 },
    ];
    let params = pictures(3).into_iter().enumerate().map(|(i, (source, _))| ViewParams {
        source,
        crop: CropBox { x: 1 + i % 3, y: i % 2, width: source.width - 5, height: source.height - 2 },
        // Behind a grey picture or a solarized one, a flip is not the crop's.
        ops: if i % 2 == 0 { vec![op.clone()] } else { vec![OpParams::Solarize { threshold: 2.0 }] },
    });
    (policy, params.collect())
}

/// What the CPU makes of other parameters.
fn apart_of(policy: &ViewPolicy, a: &[ViewParams], b: &[ViewParams]) -> (f64, usize) {
    let made = |params: &ViewParams, (shape, pixels): &(PixelShape, Vec<u8>)| {
        let mut view = vec![0.0; policy.output_len(3)];
        let pixels = Pixels::new(pixels, shape.width, shape.height, 3).unwrap();
        policy.apply(params, pixels, &mut Workspace::default(), &mut view).unwrap();
        view
    };
    let (mut sum, mut n) = (0.0, 0);
    for ((a, b), picture) in a.iter().zip(b).zip(&pictures(3)) {
        let (a, b) = (made(a, picture), made(b, picture));
        sum += a.iter().zip(&b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
        n += a.len();
    }
    (sum / n as f64, n)
}

#[test]
fn what_does_not_fit_is_refused() {
    let (policy, params) = one_op(Semantics::Paper, &OpParams::Grayscale);
    let device = Device::flex();
    let views = DeviceViews::new(&policy, 3, &device).unwrap();
    let batch = batch(&pictures(3), &device);
    let refused = |params: &[ViewParams]| -> TrainError {
        views.make(batch.clone(), &params.iter().collect::<Vec<_>>()).unwrap_err()
    };
    assert!(refused(&params[1..]).to_string().contains("5 parameters for 6 pictures"));
    let mut outside = params.clone();
    outside[2].crop.x = 40;
    assert!(refused(&outside).to_string().contains("64x64"));
    let mut other = params;
    other[3].ops.push(OpParams::RightAngle { quarter_turns: 1 });
    assert!(refused(&other).to_string().contains("RightAngle"));
}
