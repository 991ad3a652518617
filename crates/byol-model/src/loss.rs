//! The regression loss.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Under the root, so that a zero vector has a direction (DeepMind's value).
const EPSILON: f64 = 1e-12;

/// Rows of length 1: x / sqrt(max(Σ x², 1e-12)). `[N, d]` to `[N, d]`, in `f32`
/// whatever the precision of x, as everything that is computed from it.
pub fn l2_normalize(x: Tensor<2>) -> Tensor<2> {
    let x = x.cast(DType::F32);
    let squared_norm = x.clone().square().sum_dim(1).clamp_min(EPSILON);
    x.div(squared_norm.sqrt())
}

/// ‖q̄ − z̄′‖² = 2 − 2 cos(q, z′), averaged over the batch (Equation 2, one
/// direction; 0 to 4). The BYOL loss is the sum of both directions.
///
/// # Shapes
///
/// `prediction`, `target_projection`: `[N, d]`; result: `[1]`.
pub fn regression_loss(prediction: Tensor<2>, target_projection: Tensor<2>) -> Tensor<1> {
    let [n, _] = prediction.dims();
    let cosine = (l2_normalize(prediction) * l2_normalize(target_projection)).sum_dim(1);
    // [N, 1]; the mean over N by sum_dim, which is the same for any thread count.
    let mean = cosine.sum_dim(0).div_scalar(n as f64).reshape([1]);
    mean.mul_scalar(-2.0).add_scalar(2.0)
}

/// What is done to q and z′ before they are compared (paper, Appendix F, the
/// ablation of the loss's normalisation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossNorm {
    /// Rows of length 1: the paper's choice.
    L2,
    /// Rows of mean 0 and length 1.
    LayerNorm,
    /// Nothing.
    None,
    /// Columns of mean 0 over the batch; rows of mean squared length 1.
    BatchNorm,
}

impl LossNorm {
    /// `[N, d]` to `[N, d]`, in `f32` whatever the precision of x.
    pub fn apply(self, x: Tensor<2>) -> Tensor<2> {
        let x = x.cast(DType::F32);
        let [_, d] = x.dims();
        let standardized = |x: Tensor<2>, dim: usize| {
            let n = x.dims()[dim] as f64;
            let centred = x.clone() - x.sum_dim(dim).div_scalar(n);
            let variance = centred.clone().square().sum_dim(dim).div_scalar(n).clamp_min(EPSILON);
            centred.div(variance.mul_scalar(d as f64).sqrt())
        };
        match self {
            Self::L2 => l2_normalize(x),
            Self::LayerNorm => standardized(x, 1),
            Self::None => x,
            Self::BatchNorm => standardized(x, 0),
        }
    }
}

/// ‖n(q) − n(z′)‖², averaged over the batch, with the normalisation n of your
/// choice; [`regression_loss`] is the one with [`LossNorm::L2`].
///
/// # Shapes
///
/// `prediction`, `target_projection`: `[N, d]`; result: `[1]`.
pub fn regression_loss_with(
    norm: LossNorm,
    prediction: Tensor<2>,
    target_projection: Tensor<2>,
) -> Tensor<1> {
    match norm {
        LossNorm::L2 => regression_loss(prediction, target_projection),
        _ => mean_square_distance(norm.apply(prediction), norm.apply(target_projection)),
    }
}

/// Mean over rows of ‖a − b‖².
pub(crate) fn mean_square_distance(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let [n, _] = a.dims();
    (a - b).square().sum_dim(1).sum_dim(0).reshape([1]).div_scalar(n as f64)
}
