//! The projector g and the predictor q.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::norm::{BatchNorm, BatchNormConfig};

/// A head: `layers` linear maps with BN and ReLU between (paper, section 3.3: two,
/// of 4096 and 256; the ablation of Appendix F has one to three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Linear maps; 0 is the identity, for the ablation of a head.
    pub layers: usize,
    /// Units of each hidden layer.
    pub hidden: usize,
    /// Length of the output.
    pub output: usize,
}

impl HeadConfig {
    /// A head for inputs of length `input`. As in DeepMind's code hidden layers have
    /// a bias and the output layer has neither bias nor normalisation.
    pub fn init(&self, input: usize, device: &Device) -> Mlp {
        let n_hidden = self.layers.saturating_sub(1);
        let inputs = std::iter::once(input).chain(std::iter::repeat(self.hidden));
        let hidden = inputs.take(n_hidden).map(|from| HeadLayer {
            linear: LinearConfig::new(from, self.hidden).init(device),
            norm: BatchNormConfig::new(self.hidden).init(device),
        });
        let last = if n_hidden == 0 { input } else { self.hidden };
        let output = || LinearConfig::new(last, self.output).with_bias(false).init(device);
        Mlp { hidden: hidden.collect(), output: (self.layers > 0).then(output) }
    }

    /// Parameters of a head for inputs of length `input`.
    pub fn parameters(&self, input: usize) -> u64 {
        let [input, hidden, output] = [input, self.hidden, self.output].map(|n| n as u64);
        match self.layers as u64 {
            0 => 0,
            1 => input * output,
            n => (input + 3) * hidden + (n - 2) * (hidden + 3) * hidden + hidden * output,
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

/// A head: hidden layers, then a linear map; the identity where there is neither.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Hidden layers in order.
    pub hidden: Vec<HeadLayer>,
    /// Without bias; none of a head of no layers.
    pub output: Option<Linear>,
}

impl Mlp {
    /// `[N, input]` to `[N, output]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self
            .hidden
            .iter()
            .fold(x, |x, layer| layer.norm.forward_with(layer.linear.forward(x), None, true));
        match &self.output {
            Some(output) => output.forward(hidden),
            None => hidden,
        }
    }
}
