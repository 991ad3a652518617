//! Two views of one picture that is decoded already, by policy and path.

#![allow(missing_docs, reason = "the macros of criterion")]
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use byol_augment::{Path, Pixels, Semantics, TwoViewPolicy, ViewKey, ViewParams, Workspace};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A picture with detail at every scale.
fn picture(width: usize, height: usize, channels: usize) -> Vec<u8> {
    let value = |i: usize| {
        let (x, y) = (i / channels % width, i / channels / width);
        let wave = ((x * x + y * (7 + i % channels)) % 251) as u8;
        wave / 2 + (x * 120 / width) as u8
    };
    (0..width * height * channels).map(value).collect()
}

fn views(c: &mut Criterion) {
    let cases = [
        ("byol", "byol", 500, 375, 3, 224),
        ("byol-torchvision", "byol", 500, 375, 3, 224),
        ("small", "small", 32, 32, 3, 32),
        ("small-torchvision", "small", 32, 32, 3, 32),
        ("small", "small", 28, 28, 1, 28),
        ("small-torchvision", "small", 28, 28, 1, 28),
    ];
    for (name, policy, width, height, channels, size) in cases {
        let data = picture(width, height, channels);
        let pixels = Pixels::new(&data, width, height, channels).unwrap();
        let mut policy = TwoViewPolicy::preset(policy).unwrap().with_size(size);
        if name.ends_with("torchvision") {
            policy.semantics = Semantics::Torchvision;
            policy.resample.antialias = true;
        }
        let policy = policy.resolve(channels).unwrap();
        let mut out = vec![0.0; policy.view.output_len(channels)];
        let mut group = c.benchmark_group(format!("{name} {width}x{height}x{channels} to {size}"));
        group.throughput(Throughput::Elements(1));
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            let mut workspace = Workspace::with_path(path).unwrap();
            let (mut params, mut sample) = (ViewParams::default(), 0);
            group.bench_function(path.name(), |b| {
                b.iter(|| {
                    sample += 1;
                    for (view, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
                        let key = ViewKey { seed: 0, epoch: 0, sample, view: view as u64 };
                        policy.sample_into(key, pixels.shape(), &mut params).unwrap();
                        policy.apply(&params, pixels, &mut workspace, &mut out).unwrap();
                    }
                });
            });
        }
    }
}

criterion_group!(benches, views);
criterion_main!(benches);
