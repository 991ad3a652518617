//! The family of losses that BYOL and SimCLR are two points of (paper, section 5).

use burn::tensor::{Device, Tensor};

use crate::l2_normalize;

/// A point of the family InfoNCE^{α,β}.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InfoNce {
    /// α, the temperature; positive.
    pub alpha: f64,
    /// β, the weight of the negatives, 0 to 1: 0 is BYOL, 1 is SimCLR.
    pub beta: f64,
}

/// Far below any similarity over any usual temperature; exp of it is 0.
const NEVER: f64 = -1e30;

/// 2 − InfoNCE^{α,β}, one direction, averaged over the batch:
///
/// ```text
/// 2 − (2/B) Σ_i S(v_i, v′_i) + β (2α/B) Σ_i ln( Σ_{j≠i} e^{S(v_i, v_j)/α} + Σ_j e^{S(v_i, v′_j)/α} )
/// ```
///
/// where S(u, w) is the cosine of φ(u) and ψ(w). With β = 0, φ = q(z_θ) and
/// ψ = z_ξ it is [`regression_loss`](crate::regression_loss); with β = 1 and
/// φ = ψ = z_θ it is 2 + 2α times SimCLR's NT-Xent. A predictor is on or off by what is passed as
/// φ, a target network by what is passed as ψ (detached where it is one). The loss
/// of a step is the sum of both directions.
///
/// The exponentials are taken relative to the largest, so that no temperature
/// overflows.
///
/// # Shapes
///
/// `phi_v`, `psi_v`, `psi_v_prime`: `[N, d]`; result: `[1]`.
pub fn info_nce_loss(
    phi_v: Tensor<2>,
    psi_v: Tensor<2>,
    psi_v_prime: Tensor<2>,
    InfoNce { alpha, beta }: InfoNce,
) -> Tensor<1> {
    let [n, _] = phi_v.dims();
    let phi = l2_normalize(phi_v);
    let prime = l2_normalize(psi_v_prime);
    let positive = (phi.clone() * prime.clone()).sum_dim(1).sum_dim(0).reshape([1]).div_scalar(n as f64);
    let attraction = positive.mul_scalar(-2.0).add_scalar(2.0);
    if beta == 0.0 {
        return attraction;
    }
    let same = phi.clone().matmul(l2_normalize(psi_v).transpose()).div_scalar(alpha);
    let same = same + diagonal(n, NEVER, &phi.device());
    let other = phi.matmul(prime.transpose()).div_scalar(alpha);
    let logits = Tensor::cat(vec![same, other], 1);
    let largest = logits.clone().detach().max_dim(1);
    let log_sum = (logits - largest.clone()).exp().sum_dim(1).log() + largest;
    let repulsion = log_sum.sum_dim(0).reshape([1]).mul_scalar(2.0 * alpha * beta / n as f64);
    attraction + repulsion
}

/// `value` on the diagonal, 0 elsewhere.
fn diagonal(n: usize, value: f64, device: &Device) -> Tensor<2> {
    Tensor::<2>::eye(n, device).mul_scalar(value)
}
