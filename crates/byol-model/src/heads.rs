//! The projector g and the predictor q.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::norm::{BatchNorm, BatchNormConfig};

/// Sizes of a head: Linear, BN, ReLU, Linear (paper, section 3.3: 4096 and 256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Length of the output.
    pub output: usize,
}

impl HeadConfig {
    /// A head for inputs of length `input`. As in DeepMind's code the hidden layer
    /// has a bias and the output layer has neither bias nor normalisation.
    pub fn init(&self, input: usize, device: &Device) -> Mlp {
        Mlp {
            hidden: vec![HeadLayer {
                linear: LinearConfig::new(input, self.hidden).init(device),
                norm: BatchNormConfig::new(self.hidden).init(device),
            }],
            output: LinearConfig::new(self.hidden, self.output).with_bias(false).init(device),
        }
    }
}

/// A hidden layer of a head.
#[derive(Module, Debug)]
pub struct HeadLayer {
    /// With bias.
    pub linear: Linear,
    /// Before the ReLU.
    pub norm: BatchNorm,
}

/// A head: hidden layers, then a linear map.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Hidden layers in order.
    pub hidden: Vec<HeadLayer>,
    /// Without bias.
    pub output: Linear,
}

impl Mlp {
    /// `[N, input]` to `[N, output]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.hidden.iter().fold(x, |x, layer| relu(layer.norm.forward(layer.linear.forward(x))));
        self.output.forward(hidden)
    }
}
