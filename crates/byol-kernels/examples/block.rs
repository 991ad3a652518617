//! A residual block, forward and backward, by Burn's operations and by these.
//!
//!     cargo run --release --package byol-kernels --features flex --example block

use std::time::Instant;

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};

const CHANNELS: usize = 64;
const SHAPE: [usize; 4] = [32, CHANNELS, 32, 32];

/// relu(bn(conv(relu(bn(conv(x))))) + x), one set of weights.
fn burns(x: Tensor<4>, weight: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<4> {
    let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let y = conv2d(x.clone(), weight.clone(), None, options());
    let y = relu(batch_norm_train(y, gamma.clone(), beta.clone(), 1e-5).output);
    let y = batch_norm_train(conv2d(y, weight, None, options()), gamma, beta, 1e-5).output;
    relu(y + x)
}

fn ours(x: Tensor<4>, weight: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>) -> Tensor<4> {
    let y = byol_kernels::conv2d(x.clone(), weight.clone(), 1, 1);
    let y = byol_kernels::batch_norm_train(y, gamma.clone(), beta.clone(), None, true, 1e-5).output;
    let y = byol_kernels::conv2d(y, weight, 1, 1);
    byol_kernels::batch_norm_train(y, gamma, beta, Some(x), true, 1e-5).output
}

fn main() {
    let device = Device::flex().autodiff();
    device.seed(0);
    let normal = Distribution::Normal(0.0, 0.05);
    let x = Tensor::<4>::random(SHAPE, Distribution::Default, &device);
    let weight = Tensor::<4>::random([CHANNELS, CHANNELS, 3, 3], normal, &device).require_grad();
    let (gamma, beta) = (Tensor::ones([CHANNELS], &device), Tensor::zeros([CHANNELS], &device));
    let time = |name: &str, block: fn(Tensor<4>, Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>| {
        let mut best = f64::MAX;
        let mut gradient = None;
        for _ in 0..4 {
            let start = Instant::now();
            let y = block(x.clone(), weight.clone(), gamma.clone(), beta.clone());
            gradient = weight.grad(&y.square().sum_dim(1).sum_dim(2).sum_dim(3).sum_dim(0).backward());
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{name:<14} {:>7.1} ms", 1e3 * best);
        gradient
    };
    if let (Some(burns), Some(ours)) = (time("Burn's", burns), time("byol-kernels", ours)) {
        let scale = burns.clone().abs().max().into_scalar::<f32>();
        let gap = (burns - ours).abs().max().into_scalar::<f32>() / scale;
        println!("the gradients differ by {gap:.1e} of the largest");
    }
}
