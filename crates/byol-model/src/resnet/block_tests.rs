//! Every kind of block against PyTorch in float64: outputs, all gradients, running
//! statistics (tests/golden/networks).

use burn::tensor::Device;

use super::{BlockShape, Version};
use crate::test_support::{compare, fill, layers, tensor};

#[test]
fn every_block_and_its_gradients_are_pytorchs() {
    let (golden, device) = (layers(), Device::flex().autodiff());
    for (version, number) in [(Version::V1, 1), (Version::V2, 2)] {
        for (bottleneck, kind, same) in [(false, "basic", 3), (true, "bottleneck", 12)] {
            for (what, channels_in, stride, first) in [
                ("same", same, 1, false),
                ("wider", 5, 1, true),
                ("strided", same, 2, true),
                ("opening", same, 1, true),
            ] {
                let case = format!("v{number}.{kind}.{what}");
                let shape = BlockShape {
                    channels_in,
                    width: 3,
                    stride,
                    bottleneck,
                    zero_gamma: false,
                    version,
                    first,
                };
                let block = fill(shape.init(&device), false);
                let input = tensor(&format!("{case}.input"), [4, channels_in, 7, 7], &device).require_grad();
                let output = block.forward(input.clone());
                let [n, ..] = output.dims();
                compare(&case, &block, &input, output.reshape([n as i32, -1]), false, &golden);
            }
        }
    }
}

#[test]
fn zero_gamma_starts_a_block_as_its_shortcut() {
    let device = Device::flex();
    for bottleneck in [false, true] {
        let shape = BlockShape {
            channels_in: if bottleneck { 12 } else { 3 },
            width: 3,
            stride: 1,
            bottleneck,
            zero_gamma: true,
            version: Version::V1,
            first: false,
        };
        let x = tensor("x", [2, shape.channels_in, 4, 4], &device).abs();
        let y = shape.init(&device).forward(x.clone());
        assert_eq!((y - x).abs().max().into_scalar::<f32>(), 0.0);
    }
}
