use burn::module::Module;
use burn::tensor::Tensor;

use crate::{Encoder, Mlp};

/// The network that is trained: f, g and q with parameters θ.
#[derive(Module, Debug)]
pub struct OnlineNetwork<E: Encoder> {
    /// f.
    pub encoder: E,
    /// g.
    pub projector: Mlp,
    /// q. The online network alone has one.
    pub predictor: Mlp,
}

/// What the online network says of a batch.
#[derive(Debug, Clone)]
pub struct OnlineOutput {
    /// y = f(v), `[N, D]`: the representation, what users get.
    pub representation: Tensor<2>,
    /// z = g(y), `[N, d]`.
    pub projection: Tensor<2>,
    /// q(z), `[N, d]`.
    pub prediction: Tensor<2>,
}

impl<E: Encoder> OnlineNetwork<E> {
    /// One view through f, g and q: `[N, C, H, W]`. Views go through one by one,
    /// so that batch normalisation never mixes T and T′.
    pub fn forward(&self, view: Tensor<4>) -> OnlineOutput {
        let representation = self.encoder.forward(view);
        let projection = self.projector.forward(representation.clone());
        let prediction = self.predictor.forward(projection.clone());
        OnlineOutput { representation, projection, prediction }
    }
}
