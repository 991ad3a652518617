use burn::tensor::Tensor;

/// d · trust · ‖w‖ / ‖d‖, or d where either norm is 0 (You et al. 2017). Stays on
/// the device: nothing is read back.
pub(super) fn adapt<const D: usize>(w: &Tensor<D>, d: Tensor<D>, trust: f64) -> Tensor<D> {
    let ratio = ratio(w, &d, trust);
    d * ratio.reshape([1; D])
}

/// trust · ‖w‖ / ‖d‖, or 1 where either norm is 0, as `[1, 1]`.
pub(super) fn ratio<const D: usize>(w: &Tensor<D>, d: &Tensor<D>, trust: f64) -> Tensor<2> {
    let (w_norm, d_norm) = (norm(w.clone()), norm(d.clone()));
    let undefined = w_norm.clone().equal_elem(0.0).bool_or(d_norm.clone().equal_elem(0.0));
    w_norm.mul_scalar(trust).div(d_norm).mask_fill(undefined, 1.0)
}

/// ‖x‖₂ as `[1, 1]`. By dimensions and never over the whole tensor at once, which
/// on the CPU is summed in an order that depends on the threads.
pub(super) fn norm<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let rows = x.dims()[0];
    let columns = x.shape().num_elements() / rows.max(1);
    x.reshape([rows, columns]).square().sum_dim(1).sum_dim(0).sqrt()
}
