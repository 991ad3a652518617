//! A convolution of ResNet-18, forward and backward: Burn's on flex, and these.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};

fn step(conv: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>, x: &Tensor<4>, weight: &Tensor<4>) {
    let y = conv(x.clone(), weight.clone());
    let gradients = y.sum_dim(1).sum_dim(2).sum_dim(3).sum_dim(0).backward();
    let _ = weight.grad(&gradients);
}

fn convolutions(c: &mut Criterion) {
    let device = Device::flex().autodiff();
    for (n, channels, side) in [(32, 64, 32), (128, 16, 28), (32, 512, 4)] {
        let shape = [n, channels, side, side];
        let x = Tensor::<4>::random(shape, Distribution::Default, &device).require_grad();
        let weight =
            Tensor::<4>::random([channels, channels, 3, 3], Distribution::Default, &device).require_grad();
        let mut group = c.benchmark_group(format!("{n}x{channels}x{side}x{side}"));
        group.sample_size(10);
        group.bench_function("burn", |b| {
            let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            b.iter(|| step(|x, w| conv2d(x, w, None, options()), &x, &weight));
        });
        group.bench_function("byol-kernels", |b| {
            b.iter(|| step(|x, w| byol_kernels::conv2d(x, w, 1, 1), &x, &weight));
        });
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
