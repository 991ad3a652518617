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

/// A step of descent with momentum, m = momentum · m + (g + weight_decay · w) and w = w − lr · m: the
/// values afterwards, w before m. With feature `kernels` in one pass on the CPU, and in their memory where
/// nobody else has it.
pub fn momentum_step<const D: usize>(
    w: Tensor<D>,
    m: Tensor<D>,
    g: Tensor<D>,
    weight_decay: f64,
    momentum: f64,
    lr: f64,
) -> (Tensor<D>, Tensor<D>) {
    #[cfg(feature = "kernels")]
    return byol_kernels::momentum_step(w, m, g, weight_decay, momentum, lr);
    #[cfg(not(feature = "kernels"))]
    {
        let d = if weight_decay == 0.0 { g } else { weighted_sum(g, 1.0, w.clone(), weight_decay) };
        let m = weighted_sum(m, momentum, d, 1.0);
        (weighted_sum(w, 1.0, m.clone(), -lr), m)
    }
}
