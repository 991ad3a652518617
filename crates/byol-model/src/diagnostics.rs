//! Is the representation still one? Functions of a batch of projections.

use burn::tensor::Tensor;
use nalgebra::{DMatrix, SymmetricEigen};

use crate::{l2_normalize, mean_square_distance};

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

/// The mean cosine with the rows of `z` that one constant vector reaches: the length of the
/// mean of the normalised rows. 1 when all are equal, about 1/√N when they point everywhere.
/// A prediction that is not above it says nothing of its picture.
///
/// # Shapes
///
/// `z`: `[N, d]`; result: `[1]`.
pub fn constant_cosine(z: Tensor<2>) -> Tensor<1> {
    let [n, _] = z.dims();
    l2_normalize(z).sum_dim(0).div_scalar(n as f64).square().sum_dim(1).sqrt().reshape([1])
}

/// Mean cosine of the rows of two networks for the same pictures, −1 to 1.
///
/// # Shapes
///
/// `a`, `b`: `[N, d]`; result: `[1]`.
pub fn mean_cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let [n, _] = a.dims();
    (l2_normalize(a) * l2_normalize(b)).sum_dim(1).sum_dim(0).reshape([1]).div_scalar(n as f64)
}

/// Mean squared distance of the normalised rows of two views of the same pictures,
/// 0 to 4; small is aligned (Wang and Isola 2020, α = 2).
///
/// # Shapes
///
/// `z`, `z_prime`: `[N, d]`; result: `[1]`.
pub fn alignment(z: Tensor<2>, z_prime: Tensor<2>) -> Tensor<1> {
    mean_square_distance(l2_normalize(z), l2_normalize(z_prime))
}

/// Logarithm of the mean of exp(−2 ‖z̄_i − z̄_j‖²) over pairs of different rows,
/// −8 to 0; low is spread over the sphere, 0 is collapsed (Wang and Isola 2020,
/// t = 2).
///
/// # Shapes
///
/// `z`: `[N, d]` with N at least 2; result: `[1]`.
pub fn uniformity(z: Tensor<2>) -> Tensor<1> {
    let [n, _] = z.dims();
    let rows = l2_normalize(z);
    // ‖a − b‖² = 2 − 2 cos, over all ordered pairs; the n pairs of a row with itself
    // give 1 each and are taken off again.
    let cosine = rows.clone().matmul(rows.transpose());
    let kernel = cosine.sub_scalar(1.0).mul_scalar(4.0).exp().sum_dim(1).sum_dim(0).reshape([1]);
    let pairs = (n * (n - 1)).max(1) as f64;
    kernel.sub_scalar(n as f64).div_scalar(pairs).log()
}

/// How many dimensions the normalised rows of `z` use, 1 to min(N − 1, d): the
/// exponential of the entropy of the covariance's normalised eigenvalues (Roy and
/// Vetterli 2007). 1 is collapsed to a line; 0 where all rows are equal. Computed on
/// the host in `f64`.
///
/// # Shapes
///
/// `z`: `[N, d]`.
pub fn effective_rank(z: Tensor<2>) -> f64 {
    let [n, d] = z.dims();
    // Cannot fail: a float tensor converts to f32.
    let values: Vec<f32> = l2_normalize(z)
        .into_data()
        .convert_dtype(burn::tensor::DType::F32)
        .try_into_vec()
        .unwrap_or_default();
    if n == 0 || d == 0 || values.len() != n * d || values.iter().any(|x| !x.is_finite()) {
        return 0.0;
    }
    let mut rows = DMatrix::from_row_iterator(n, d, values.into_iter().map(f64::from));
    for mut column in rows.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    // The smaller of the two products has the same eigenvalues but for zeros.
    let product = if d <= n { rows.tr_mul(&rows) } else { &rows * rows.transpose() };
    let eigenvalues = SymmetricEigen::new(product).eigenvalues;
    let total: f64 = eigenvalues.iter().map(|&x| x.max(0.0)).sum();
    if total <= 1e-12 * n as f64 {
        return 0.0;
    }
    let entropy: f64 = eigenvalues
        .iter()
        .map(|&x| x.max(0.0) / total)
        .filter(|&share| share > 0.0)
        .map(|share| -share * share.ln())
        .sum();
    entropy.exp()
}
