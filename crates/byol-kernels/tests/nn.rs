//! A network by Burn's layers and the same text by these: weights, results, gradients, running
//! statistics and records are the same.

#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};

/// The text of a foreign network; only its `use` lines differ.
macro_rules! network {
    ($name:ident, $($uses:item)*) => {
        mod $name {
            use burn::module::Module;
            use burn::tensor::{Device, Tensor};
            $($uses)*

            #[derive(Module, Debug)]
            pub struct Net {
                pub stem: Conv2d,
                pub bn1: BatchNorm,
                pub pool: MaxPool2d,
                pub same: Conv2d,
                pub bn2: BatchNorm,
                pub grouped: Conv2d,
                pub flat: Conv2d,
                pub head: Linear,
                relu: Relu,
            }

            impl Net {
                pub fn new(device: &Device) -> Self {
                    Self {
                        stem: Conv2dConfig::new([3, 40], [3, 3])
                            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                            .with_bias(false)
                            .init(device),
                        bn1: BatchNormConfig::new(40).init(device),
                        pool: MaxPool2dConfig::new([3, 3])
                            .with_strides([2, 2])
                            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                            .init(),
                        same: Conv2dConfig::new([40, 36], [3, 3]).with_padding(PaddingConfig2d::Same).init(device),
                        bn2: BatchNormConfig::new(36).with_momentum(0.3).init(device),
                        grouped: Conv2dConfig::new([36, 36], [3, 3])
                            .with_groups(2)
                            .with_padding(PaddingConfig2d::Explicit(0, 1, 2, 1))
                            .init(device),
                        flat: Conv2dConfig::new([36, 8], [1, 1]).with_stride([2, 2]).init(device),
                        head: LinearConfig::new(8, 5).init(device),
                        relu: Relu::new(),
                    }
                }

                pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
                    let x = self.relu.forward(self.bn1.forward(self.stem.forward(x)));
                    let x = self.same.forward(self.pool.forward(x));
                    let x = self.relu.forward(self.bn2.forward(x));
                    let x = self.flat.forward(self.grouped.forward(x));
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

fn assert_same<const D: usize>(what: &str, ours: Tensor<D>, burns: Tensor<D>) {
    assert_eq!(ours.dims(), burns.dims(), "{what}");
    let scale = burns.clone().abs().max().into_scalar::<f32>().max(1e-3);
    let gap = (ours - burns).abs().max().into_scalar::<f32>();
    assert!(gap <= 1e-4 * scale, "{what}: {gap} of {scale}");
}

/// Who draws numbers: there is one generator, and another test's draws would come between.
static DRAWS: Mutex<()> = Mutex::new(());

fn draws() -> MutexGuard<'static, ()> {
    DRAWS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same network twice, from one seed.
fn both(device: &Device) -> (ours::Net, burns::Net) {
    device.seed(7);
    let burns = burns::Net::new(device);
    // Weights are drawn when they are first read, and `valid` leaves the statistics alone.
    let zeros = Tensor::zeros([2, 3, 9, 9], &device.clone().without_autodiff());
    let _ = burns.valid().forward(zeros);
    let ours = ours::Net::new(device).load_record(burns.clone().into_record());
    (ours, burns)
}

#[test]
fn a_network_is_the_same_under_other_use_lines() {
    let _draws = draws();
    let device = Device::flex().autodiff();
    let (ours, burns) = both(&device);
    for step in 0..3 {
        let x = Tensor::<4>::random([4, 3, 14, 13], Distribution::Normal(0.5, 1.0), &device);
        let (a, b) = (ours.forward(x.clone()), burns.forward(x));
        assert_same(&format!("results of step {step}"), a.clone(), b.clone());
        let (a, b) =
            (a.square().sum_dim(0).sum_dim(1).backward(), b.square().sum_dim(0).sum_dim(1).backward());
        let gradient = |what: &str, ours: Option<Tensor<4>>, burns: Option<Tensor<4>>| {
            assert_same(what, ours.unwrap(), burns.unwrap());
        };
        gradient("stem", ours.stem.weight.grad(&a), burns.stem.weight.grad(&b));
        gradient("same", ours.same.weight.grad(&a), burns.same.weight.grad(&b));
        gradient("grouped", ours.grouped.weight.grad(&a), burns.grouped.weight.grad(&b));
        gradient("flat", ours.flat.weight.grad(&a), burns.flat.weight.grad(&b));
        let bias = |conv: Option<Tensor<1>>| conv.unwrap();
        assert_same(
            "flat's bias",
            bias(ours.flat.bias.as_ref().unwrap().grad(&a)),
            bias(burns.flat.bias.as_ref().unwrap().grad(&b)),
        );
        assert_same("gamma", ours.bn1.gamma.grad(&a).unwrap(), burns.bn1.gamma.grad(&b).unwrap());
    }
    let (ours, burns) = (ours.valid(), burns.valid());
    assert_same("running mean", ours.bn2.running_mean.value(), burns.bn2.running_mean.value());
    assert_same("running variance", ours.bn2.running_var.value(), burns.bn2.running_var.value());
    let x = Tensor::<4>::random([4, 3, 10, 11], Distribution::Default, &Device::flex());
    assert_same("evaluation", ours.forward(x.clone()), burns.forward(x));
}

/// Blocks in one call are their parts: in training, in evaluation (to the bit), with a bias, with groups.
#[test]
fn a_block_is_its_parts() {
    use byol_kernels::nn::conv::Conv2dConfig;
    use byol_kernels::nn::{BatchNormConfig, PaddingConfig2d};
    let _draws = draws();
    let device = Device::flex().autodiff();
    device.seed(9);
    let x = Tensor::<4>::random([3, 36, 9, 8], Distribution::Normal(0.5, 1.0), &device);
    for (bias, groups, stride) in [(false, 1, 1), (false, 1, 2), (true, 1, 1), (false, 2, 1)] {
        let conv = Conv2dConfig::new([36, 40], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_stride([stride, stride])
            .with_groups(groups)
            .with_bias(bias)
            .init(&device);
        let (norm, again) = (BatchNormConfig::new(40).init(&device), BatchNormConfig::new(40).init(&device));
        let shortcut = conv.forward(x.clone()).detach();
        let parts = norm.forward_with(conv.forward(x.clone()), Some(shortcut.clone()), true);
        let whole = again.after(&conv, x.clone(), Some(shortcut.clone()), true);
        assert_same("results", whole.clone(), parts.clone());
        assert_same("running variance", again.running_var.value_sync(), norm.running_var.value_sync());
        let sum = |y: Tensor<4>| y.square().sum_dim(1).sum_dim(2).sum_dim(3).sum_dim(0).backward();
        let (a, b) = (sum(whole), sum(parts));
        assert_same("gradient", conv.weight.grad(&a).unwrap(), conv.weight.grad(&b).unwrap());

        let (conv, norm, x, shortcut) = (conv.valid(), norm.valid(), x.clone().inner(), shortcut.inner());
        let parts = norm.forward_with(conv.forward(x.clone()), Some(shortcut.clone()), true);
        let whole = norm.after(&conv, x, Some(shortcut), true);
        whole.into_data().assert_eq(&parts.into_data(), true);
    }
}

#[test]
fn records_go_both_ways() {
    let _draws = draws();
    let device = Device::flex();
    let (ours, burns) = both(&device);
    let x = Tensor::<4>::random([2, 3, 9, 9], Distribution::Default, &device);
    let again = burns::Net::new(&device).load_record(ours.clone().into_record());
    assert_same("Burn's from ours", ours.forward(x.clone()), again.forward(x.clone()));
    assert_same("the first", ours.forward(x.clone()), burns.forward(x));
    // What a network says of itself, but for the numbers of its parameters.
    let said = |text: String| text.split(" id").next().map(str::to_owned);
    assert_eq!(said(format!("{}", ours.stem)), said(format!("{}", burns.stem)));
}

#[test]
fn one_seed_draws_the_weights_that_burns_layers_would_have() {
    let _draws = draws();
    let device = Device::flex();
    device.seed(3);
    let burns = burn::nn::conv::Conv2dConfig::new([3, 5], [3, 3]).init(&device).weight.val();
    device.seed(3);
    let ours = byol_kernels::nn::conv::Conv2dConfig::new([3, 5], [3, 3]).init(&device).weight.val();
    ours.into_data().assert_eq(&burns.into_data(), true);
}

#[test]
#[should_panic(expected = "images of 3 channels, and weights for 64")]
fn weights_for_other_channels_are_refused() {
    let device = Device::flex();
    let weight = Tensor::<4>::ones([8, 64, 1, 1], &device);
    let _ = byol_kernels::conv2d(Tensor::ones([1, 3, 8, 8], &device), weight, 1, 0);
}
