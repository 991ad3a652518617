//! Blocks, stems, heads and whole networks against PyTorch in float64
//! (tests/golden/networks). Weights, inputs and upstream gradients come from a hash of
//! their names, computed here as there.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use burn::module::Module;
use burn::tensor::Device;
#[cfg(feature = "kernels")]
use byol_model::Precision;
use byol_model::{Encoder, HeadConfig, ResNet, ResNetConfig, Stem, Version};

mod support;

#[cfg(feature = "kernels")]
use support::gradients;
use support::{assert_close, compare, fill, golden, layers, tensor, values};

#[test]
fn heads_and_their_gradients_are_pytorchs() {
    let (golden, device) = (layers(), Device::flex().autodiff());
    for n in [1, 2, 3] {
        let case = format!("head{n}");
        let head = fill(HeadConfig { layers: n, hidden: 5, output: 4 }.init(6, &device), true);
        let input = tensor(&format!("{case}.input"), [7, 6], &device).require_grad();
        let output = head.forward(input.clone());
        compare(&case, &head, &input, output, true, &golden);
    }
}

/// Every stem; the blocks behind them are compared one by one beside their code.
#[test]
fn whole_networks_and_their_gradients_are_pytorchs() {
    let (golden, device) = (layers(), Device::flex().autodiff());
    for (stem, name) in
        [(Stem::Imagenet, "imagenet"), (Stem::Small, "small"), (Stem::SmallStride2, "small_stride2")]
    {
        for (version, number) in [(Version::V1, 1), (Version::V2, 2)] {
            let case = format!("net.{name}.v{number}");
            let config =
                ResNetConfig { depth: 18, width: 2, in_channels: 2, stem, zero_gamma: false, version };
            let net = fill(config.init(&device).unwrap(), false);
            let input = tensor(&format!("{case}.input"), [6, 2, 33, 33], &device).require_grad();
            let output = net.forward(input.clone());
            compare(&case, &net, &input, output, false, &golden);
        }
    }
}

/// A network whose convolutions multiply bf16 values, and its gradients. Where sums differ by an f32's
/// last bits, some values are rounded to the other side, and twenty layers carry that on: the bound is
/// on the norm, and a tenth of what separates bf16 from f32 here.
#[test]
#[cfg(feature = "kernels")]
fn a_network_in_bf16_and_its_gradients_are_pytorchs() {
    let golden = golden(include_bytes!("../../../tests/golden/networks/bf16.safetensors"));
    let device = Device::flex().autodiff();
    let config = ResNetConfig {
        depth: 18,
        width: 4,
        in_channels: 3,
        stem: Stem::Small,
        zero_gamma: false,
        version: Version::V1,
    };
    let off = |precision: Precision| {
        let net = fill(config.init(&device).unwrap(), false);
        let input = tensor("bf16.input", [8, 3, 17, 16], &device).require_grad();
        let output = precision.scope(|| net.forward(input.clone()));
        let upstream = tensor("bf16.upstream", output.dims(), &device);
        // Outside of the scope: gradients have the precision of what they are of.
        let backward = (output.clone() * upstream).sum_dim(1).sum_dim(0).backward();
        let mut got = gradients(&net, &backward);
        got.insert("input".into(), (vec![], values(input.grad(&backward).unwrap())));
        let (mut gap, mut norm) = (0.0, 0.0);
        for (name, (_, got)) in got {
            let expected = &golden[&format!("bf16.grad.{name}")].1;
            assert_eq!(got.len(), expected.len(), "{name}");
            for (got, expected) in got.iter().zip(expected) {
                gap += f64::from(got - expected).powi(2);
                norm += f64::from(*expected).powi(2);
            }
        }
        let out =
            values(output).iter().zip(&golden["bf16.output"].1).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        ((gap / norm).sqrt(), out)
    };
    let ((low, low_out), (exact, exact_out)) = (off(Precision::Bf16), off(Precision::F32));
    assert!(low * 10.0 < exact && exact < 1.0, "{low} in bf16, {exact} in f32");
    assert!(low_out * 10.0 < exact_out && exact_out < 0.1, "{low_out} in bf16, {exact_out} in f32");
}

/// torchvision's resnet18 and resnet50, twice the width, and version 2.
#[test]
fn features_in_evaluation_mode_are_torchvisions() {
    let golden = golden(include_bytes!("../../../tests/golden/networks/features.safetensors"));
    let device = Device::flex();
    let images = tensor("images", [2, 3, 64, 64], &device);
    let cases = [
        (18, 64, Stem::Imagenet, Version::V1),
        (50, 64, Stem::Imagenet, Version::V1),
        (18, 128, Stem::Imagenet, Version::V1),
        (50, 16, Stem::Small, Version::V1),
        (18, 64, Stem::Imagenet, Version::V2),
        (50, 16, Stem::Small, Version::V2),
    ];
    assert_eq!(golden.len(), cases.len());
    for (depth, width, stem, version) in cases {
        let config = ResNetConfig { depth, width, in_channels: 3, stem, zero_gamma: false, version };
        let net: ResNet = fill(config.init(&device).unwrap(), false).valid();
        let features = net.forward(images.clone());
        assert_close(&config.name(), &values(features), &golden[&config.name()].1);
    }
}
