//! Is the representation still one?

use burn::tensor::Tensor;

use crate::l2_normalize;

/// Standard deviation of the l2-normalised rows of `z`, averaged over dimensions
/// and scaled by √d: about 1 when rows point everywhere, 0 when all are equal.
///
/// # Shapes
///
/// `z`: `[N, d]`; result: `[1]`.
pub fn embedding_std(z: Tensor<2>) -> Tensor<1> {
    let [n, d] = z.dims();
    let rows = l2_normalize(z);
    let mean = rows.clone().sum_dim(0).div_scalar(n as f64);
    let variance = (rows - mean).square().sum_dim(0).div_scalar(n as f64);
    variance.sqrt().sum_dim(1).mul_scalar((d as f64).sqrt() / d as f64).reshape([1])
}
