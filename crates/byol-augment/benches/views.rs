//! Two views of one picture, decoded already.

#![allow(missing_docs, reason = "the macros of criterion")]
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use byol_augment::{Pixels, TwoViewPolicy, ViewKey, Workspace};
use criterion::{Criterion, criterion_group, criterion_main};

fn views(c: &mut Criterion) {
    let cases =
        [("byol 500x375 to 224", "byol", 500, 375, 3, 224), ("small 28x28x1", "small", 28, 28, 1, 28)];
    for (name, policy, width, height, channels, size) in cases {
        let data: Vec<u8> = (0..width * height * channels).map(|i| (i * 31 % 255) as u8).collect();
        let pixels = Pixels::new(&data, width, height, channels).unwrap();
        let policy = TwoViewPolicy::preset(policy).unwrap().with_size(size).resolve(channels).unwrap();
        let mut workspace = Workspace::default();
        let mut out = vec![0.0; policy.view.output_len(channels)];
        let mut sample = 0;
        c.bench_function(name, |b| {
            b.iter(|| {
                sample += 1;
                for (view, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
                    let key = ViewKey { seed: 0, epoch: 0, sample, view: view as u64 };
                    let params = policy.sample(key, pixels.shape()).unwrap();
                    policy.apply(&params, pixels, &mut workspace, &mut out).unwrap();
                }
            });
        });
    }
}

criterion_group!(benches, views);
criterion_main!(benches);
