//! Each operation by itself: the crop alone, and the crop with one operation that
//! always happens, so that the difference is the operation.

#![allow(missing_docs, reason = "the macros of criterion")]
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use byol_augment::{Border, Op, Path, Pixels, Semantics, TwoViewPolicy, ViewKey, ViewParams, Workspace};
use criterion::{Criterion, criterion_group, criterion_main};

fn jitter(parts: [f64; 4]) -> Op {
    let [brightness, contrast, saturation, hue] = parts;
    Op::ColorJitter { p: 1.0, brightness, contrast, saturation, hue }
}

fn operations(c: &mut Criterion) {
    let cases: [(&str, Vec<Op>); 18] = [
        ("crop", vec![]),
        ("horizontal_flip", vec![Op::HorizontalFlip { p: 1.0 }]),
        ("brightness", vec![jitter([0.4, 0.0, 0.0, 0.0])]),
        ("contrast", vec![jitter([0.0, 0.4, 0.0, 0.0])]),
        ("saturation", vec![jitter([0.0, 0.0, 0.2, 0.0])]),
        ("hue", vec![jitter([0.0, 0.0, 0.0, 0.1])]),
        ("grayscale", vec![Op::Grayscale { p: 1.0 }]),
        ("blur 0.5", vec![Op::Blur { p: 1.0, sigma: [0.5, 0.5], border: Border::Reflect }]),
        ("blur 1", vec![Op::Blur { p: 1.0, sigma: [1.0, 1.0], border: Border::Reflect }]),
        ("blur 2", vec![Op::Blur { p: 1.0, sigma: [2.0, 2.0], border: Border::Reflect }]),
        ("solarize", vec![Op::Solarize { p: 1.0, threshold: 0.5 }]),
        ("vertical_flip", vec![Op::VerticalFlip { p: 1.0 }]),
        ("right_angle", vec![Op::RightAngle { p: 1.0 }]),
        ("channel_gain", vec![Op::ChannelGain { p: 1.0, gain: 0.3, offset: 0.1 }]),
        ("posterize", vec![Op::Posterize { p: 1.0, bits: 4 }]),
        ("noise", vec![Op::Noise { p: 1.0, sigma: [0.01, 0.05] }]),
        ("erase", vec![Op::Erase { p: 1.0, area: [0.02, 0.33], aspect: [0.3, 3.3], value: 0.5 }]),
        ("rotate", vec![Op::Rotate { p: 1.0, degrees: [-30.0, 30.0], fill: 0.0 }]),
    ];
    let (width, height) = (500, 375);
    let data: Vec<u8> = (0..width * height * 3).map(|i| (i * i % 251) as u8).collect();
    let pixels = Pixels::new(&data, width, height, 3).unwrap();
    for semantics in [Semantics::Paper, Semantics::Torchvision] {
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            let mut group = c.benchmark_group(format!("{semantics:?} {}", path.name()));
            for (name, ops) in &cases {
                let mut policy = TwoViewPolicy::preset("byol").unwrap();
                policy.semantics = semantics;
                policy.resample.antialias = semantics == Semantics::Torchvision;
                (policy.ops, policy.prime) = (ops.clone(), vec![]);
                let policy = policy.resolve(3).unwrap().view;
                let mut workspace = Workspace::with_path(path).unwrap();
                let mut out = vec![0.0; policy.output_len(3)];
                let (mut params, mut sample) = (ViewParams::default(), 0);
                group.bench_function(*name, |b| {
                    b.iter(|| {
                        sample = (sample + 1) % 64;
                        let key = ViewKey { seed: 0, epoch: 0, sample, view: 0 };
                        policy.sample_into(key, pixels.shape(), &mut params).unwrap();
                        policy.apply(&params, pixels, &mut workspace, &mut out).unwrap();
                    });
                });
            }
        }
    }
}

criterion_group!(benches, operations);
criterion_main!(benches);
