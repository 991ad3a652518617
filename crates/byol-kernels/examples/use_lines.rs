//! A network written for Burn's layers, and the same text with other `use` lines: a training step
//! of each, timed.
//!
//!     cargo run --release --package byol-kernels --features flex --example use_lines

use std::time::Instant;

use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor};

/// Somebody's network. Only the lines that it is given differ.
macro_rules! network {
    ($name:ident, $($uses:item)*) => {
        mod $name {
            use burn::module::Module;
            use burn::tensor::{Device, Tensor};
            $($uses)*

            #[derive(Module, Debug)]
            struct Block {
                conv: Conv2d,
                norm: BatchNorm,
            }

            #[derive(Module, Debug)]
            pub struct Net {
                blocks: Vec<Block>,
                pool: MaxPool2d,
                head: Linear,
                relu: Relu,
            }

            impl Net {
                pub fn new(device: &Device) -> Self {
                    let block = |channels, stride| Block {
                        conv: Conv2dConfig::new(channels, [3, 3])
                            .with_stride([stride, stride])
                            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                            .with_bias(false)
                            .init(device),
                        norm: BatchNormConfig::new(channels[1]).init(device),
                    };
                    Self {
                        blocks: vec![block([3, 64], 1), block([64, 64], 1), block([64, 128], 2), block([128, 128], 1)],
                        pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
                        head: LinearConfig::new(128, 10).init(device),
                        relu: Relu::new(),
                    }
                }

                pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
                    let mut x = images;
                    for block in &self.blocks {
                        x = self.relu.forward(block.norm.forward(block.conv.forward(x)));
                    }
                    let x = self.pool.forward(x);
                    let [n, c, h, w] = x.dims();
                    self.head.forward(x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c]))
                }
            }
        }
    };
}

network! { burns,
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d, Relu};
}
network! { ours,
    use byol_kernels::nn::conv::{Conv2d, Conv2dConfig};
    use byol_kernels::nn::pool::{MaxPool2d, MaxPool2dConfig};
    use byol_kernels::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d, Relu};
}

fn main() {
    let device = Device::flex().autodiff();
    let images = Tensor::<4>::random([32, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    let steps = 3;
    // Neither type knows the other: the lines are the same again.
    macro_rules! train {
        ($name:literal, $net:ty) => {{
            device.seed(0);
            let mut net = <$net>::new(&device);
            let mut optimizer = SgdConfig::new().init();
            let (mut best, mut last) = (f64::MAX, 0.0);
            for _ in 0..steps {
                let start = Instant::now();
                let loss = net.forward(images.clone()).square().mean_dim(0).mean_dim(1);
                last = loss.clone().into_scalar::<f32>();
                let gradients = GradientsParams::from_grads(loss.backward(), &net);
                net = optimizer.step(0.05, net, gradients);
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{:<18} {:>7.1} ms a step, loss {last:.6} in step {steps}", $name, 1e3 * best);
        }};
    }
    train!("burn::nn", burns::Net);
    train!("byol_kernels::nn", ours::Net);
}
