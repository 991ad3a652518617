//! Normalisation and pooling, forward and backward: Burn's layers on flex, and these under the same
//! names.

use burn::nn;
use burn::nn::PaddingConfig2d;
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};

/// Of a layer with the input's gradient.
fn step(layer: impl Fn(Tensor<4>) -> Tensor<4>, x: &Tensor<4>) {
    let gradients = layer(x.clone()).sum_dim(1).sum_dim(2).sum_dim(3).sum_dim(0).backward();
    let _ = x.grad(&gradients);
}

fn layers(c: &mut Criterion) {
    let device = Device::flex().autodiff();
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    for (n, channels, side) in [(32, 64, 32), (128, 16, 28), (8, 64, 112)] {
        let x = Tensor::<4>::random([n, channels, side, side], Distribution::Default, &device).require_grad();
        let mut group = c.benchmark_group(format!("{n}x{channels}x{side}x{side}"));
        group.sample_size(10);

        let burns = nn::BatchNormConfig::new(channels).init(&device);
        let ours = byol_kernels::nn::BatchNormConfig::new(channels).init(&device);
        let relu = nn::Relu::new();
        group.bench_function("BatchNorm and Relu, burn", |b| {
            b.iter(|| step(|x| relu.forward(burns.forward(x)), &x));
        });
        group.bench_function("BatchNorm and Relu, byol-kernels", |b| {
            b.iter(|| step(|x| relu.forward(ours.forward(x)), &x));
        });
        group.bench_function("BatchNorm and Relu in one pass, byol-kernels", |b| {
            b.iter(|| step(|x| ours.forward_with(x, None, true), &x));
        });

        let burns =
            nn::pool::MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_padding(padding.clone()).init();
        let ours = byol_kernels::nn::pool::MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(padding.clone())
            .init();
        group.bench_function("MaxPool2d, burn", |b| b.iter(|| step(|x| burns.forward(x), &x)));
        group.bench_function("MaxPool2d, byol-kernels", |b| b.iter(|| step(|x| ours.forward(x), &x)));
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
