//! Sums of parameters: the target's average, and what optimisers do.

use burn::tensor::Tensor;

/// α · a + β · b of tensors of one shape; with feature `kernels` in one pass on the CPU, and in a's
/// memory where nobody else has it.
pub fn weighted_sum<const D: usize>(a: Tensor<D>, alpha: f64, b: Tensor<D>, beta: f64) -> Tensor<D> {
    #[cfg(feature = "kernels")]
    return byol_kernels::weighted_sum(a, alpha, b, beta);
    #[cfg(not(feature = "kernels"))]
    {
        let times = |x: Tensor<D>, factor: f64| if factor == 1.0 { x } else { x.mul_scalar(factor) };
        times(a, alpha) + times(b, beta)
    }
}
