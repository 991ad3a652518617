//! A stranger's network as BYOL's encoder: two methods, then a loss.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use byol_model::{Encoder, HeadConfig, OnlineNetwork, TargetNetwork, regression_loss};

#[derive(Module, Debug)]
struct Small {
    conv: Conv2d,
}

impl Encoder for Small {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.conv.forward(images));
        let [n, channels, height, width] = x.dims();
        x.reshape([n, channels, height * width]).mean_dim(2).reshape([n, channels])
    }

    fn dim(&self) -> usize {
        16
    }
}

fn main() {
    let device = Device::flex().autodiff();
    let head = HeadConfig { layers: 2, hidden: 32, output: 8 };
    let online = OnlineNetwork {
        encoder: Small { conv: Conv2dConfig::new([3, 16], [3, 3]).init(&device) },
        projector: head.init(16, &device),
        predictor: head.init(8, &device),
    };
    let target = TargetNetwork::copy_of(&online);
    let view = || Tensor::<4>::random([4, 3, 16, 16], Distribution::Default, &device);
    let (v, v_prime) = (view(), view());
    let loss = regression_loss(online.forward(v.clone()).prediction, target.forward(v_prime.clone()))
        + regression_loss(online.forward(v_prime).prediction, target.forward(v));
    println!("loss {loss}");
    let gradients = loss.backward();
    let gradient = online.encoder.conv.weight.val().grad(&gradients);
    println!("the encoder has a gradient: {}", gradient.is_some());
    let _target = target.update(&online, 0.99);
}
