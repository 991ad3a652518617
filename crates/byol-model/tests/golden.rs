//! Blocks, stems, heads and whole networks against PyTorch in float64
//! (tests/golden/networks). Weights, inputs and upstream gradients come from a hash of
//! their names, computed here as there.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use burn::module::Module;
use burn::tensor::Device;
use byol_model::{Encoder, HeadConfig, ResNet, ResNetConfig, Stem, Version};

mod support;

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
