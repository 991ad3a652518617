//! The regression loss.

use burn::tensor::Tensor;

/// Under the root, so that a zero vector has a direction (DeepMind's value).
const EPSILON: f64 = 1e-12;

/// Rows of length 1: x / sqrt(max(Σ x², 1e-12)). `[N, d]` to `[N, d]`.
pub fn l2_normalize(x: Tensor<2>) -> Tensor<2> {
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
