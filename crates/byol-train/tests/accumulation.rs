//! Micro-batches: their mean gradient is that of the whole batch, where nothing looks at the
//! batch; one optimiser step and one average of ξ for all of them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use byol_model::{
    Encoder, HeadConfig, NamedTensor, OneProcess, OnlineNetwork, Precision, ResNetConfig, TargetNetwork,
    load_named, named_tensors,
};
use byol_train::{Byol, Lanes, Optimizer, OptimizerKind, OptimizerSpec};

const LARS: OptimizerSpec = OptimizerSpec {
    kind: OptimizerKind::Lars,
    momentum: 0.9,
    nesterov: false,
    weight_decay: 1e-4,
    trust: 0.1,
    beta2: 0.999,
    epsilon: 1e-8,
};
/// One linear map, and so no batch normalisation.
const HEAD: HeadConfig = HeadConfig { layers: 1, hidden: 8, output: 8 };

/// Somebody's encoder, without batch normalisation.
#[derive(Module, Debug)]
struct Flat {
    linear: Linear,
}

impl Encoder for Flat {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.linear.forward(images.flatten(1, 3)).tanh()
    }

    fn dim(&self) -> usize {
        16
    }
}

fn networks<E: Encoder>(encoder: E, device: &Device) -> Byol<E> {
    let projector = HEAD.init(encoder.dim(), device);
    let online = OnlineNetwork { encoder, projector, predictor: HEAD.init(8, device) };
    let _ = named_tensors(&online); // drawn now
    let (target, optimizer) = (TargetNetwork::copy_of(&online), Optimizer::new(LARS));
    Byol { online, target, optimizer, lanes: Lanes::one(), precision: Precision::F32, shared: None }
}

/// Networks of their own with the same parameters.
fn copy<E: Encoder>(of: &Byol<E>, encoder: E, device: &Device) -> Byol<E> {
    let mut byol = networks(encoder, device);
    let tensors = |all: Vec<NamedTensor>| all.into_iter().map(|t| (t.name, (t.shape, t.values))).collect();
    byol.online = load_named(byol.online, tensors(named_tensors(&of.online))).unwrap();
    byol.target = byol.target.load_named(tensors(of.target.named_tensors())).unwrap();
    byol
}

/// The largest difference of a tensor, relative to its norm, after `steps` of 32 pictures at
/// once and in four parts.
fn apart<E: Encoder>(make: impl Fn(&Device) -> E, steps: usize) -> f64 {
    let device = Device::flex().autodiff();
    device.seed(3);
    let mut whole = networks(make(&device), &device);
    let mut parts = copy(&whole, make(&device), &device);
    for _ in 0..steps {
        let view = || Tensor::<4>::random([32, 1, 8, 8], Distribution::Normal(0.0, 1.0), &device);
        let (v, v_prime) = (view(), view());
        whole = whole.step(v.clone(), v_prime.clone(), 0.3, 0.9, &OneProcess).unwrap().0;
        let part = |i: usize| {
            let of = |view: &Tensor<4>| view.clone().narrow(0, 8 * i, 8);
            Ok([of(&v), of(&v_prime)])
        };
        parts = parts.step_over(4, part, 0.3, 0.9, &OneProcess).unwrap().0;
    }
    let all = |byol: &Byol<E>| [named_tensors(&byol.online), byol.target.named_tensors()].concat();
    let relative = |(a, b): (NamedTensor, NamedTensor)| {
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let mut gap = a.values.iter().zip(&b.values).map(|(a, b)| f64::from(a - b));
        norm(&mut gap) / norm(&mut a.values.iter().map(|&x| f64::from(x))).max(1e-12)
    };
    all(&whole).into_iter().zip(all(&parts)).map(relative).fold(0.0, f64::max)
}

#[test]
fn parts_are_the_whole_without_batch_normalisation() {
    let make = |device: &Device| Flat { linear: LinearConfig::new(64, 16).init(device) };
    for steps in [1, 10] {
        let apart = apart(make, steps);
        assert!(apart < 1e-5, "{apart:e} after {steps} steps");
    }
}

/// With it they are not: statistics are those of 8 pictures in place of 32.
#[test]
fn batch_normalisation_sees_the_parts() {
    let config = ResNetConfig { width: 4, ..ResNetConfig::from_name("resnet18_small", 1).unwrap() };
    let apart = apart(|device| config.init(device).unwrap(), 1);
    assert!(apart > 1e-4, "{apart:e}");
}
