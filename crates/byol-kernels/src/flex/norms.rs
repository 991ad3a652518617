//! Normalisations and affine maps of flex tensors.

use burn::backend::Flex;

use super::layout::{channels_first, channels_last, last_dims, rows, straight, values, vector};
use super::{Tensor, fits};
use crate::isa::Path;
use crate::norm::{self, Rectified};
use crate::plain::{Norm, plain_affine};

/// Results, mean and variance.
pub(super) fn norm_forward(
    x: Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    shortcut: Option<&Tensor>,
    norm: &Norm,
) -> (Tensor, Tensor, Tensor) {
    let dims = last_dims(&x);
    let (gamma, beta) = (gamma.to_contiguous(), beta.to_contiguous());
    let (path, x) = (Path::current(), rows(x));
    let batch = norm::statistics(path, values(&x), values(&gamma).len(), norm.shared.as_deref());
    let (scale, offset) =
        norm::fold(values(&gamma), values(&beta), &batch.mean, &batch.variance, norm.epsilon);
    let y = affine_values(x, &scale, &offset, shortcut, norm.relu);
    (channels_first(y, &dims), vector(batch.mean), vector(batch.variance))
}

/// Gradients of x, γ, β, and that behind the ReLU if asked for. Over the buffers of `x` and `grad`, if nobody
/// else has them.
pub(super) fn norm_grad(
    x: Tensor,
    relu: Rectified<'_>,
    [gamma, mean, variance]: [&Tensor; 3],
    grad: Tensor,
    norm: &Norm,
    behind: bool,
) -> (Tensor, Tensor, Tensor, Option<Tensor>) {
    let dims = last_dims(&x);
    let [x, grad] = [x, grad].map(rows);
    let [x_kept, kept] = [&x, &grad].map(|t| (!t.is_unique()).then(|| t.clone()));
    let of = norm::Backward {
        x: match &x_kept {
            Some(x) => values(x).into(),
            None => straight(x).into(),
        },
        relu,
        dy: match &kept {
            Some(dy) => values(dy).into(),
            None => straight(grad).into(),
        },
        gamma: values(gamma),
        mean: values(mean),
        variance: values(variance),
        epsilon: norm.epsilon,
        shared: norm.shared.as_deref(),
    };
    let all = norm::backward(Path::current(), of, behind);
    let behind = all.shortcut.map(|g| channels_first(g, &dims));
    (channels_first(all.x, &dims), vector(all.gamma), vector(all.beta), behind)
}

/// Of rows of channels `x`, over their buffer if nobody else has it.
fn affine_values(
    x: Tensor,
    scale: &[f32],
    offset: &[f32],
    shortcut: Option<&Tensor>,
    relu: bool,
) -> Vec<f32> {
    let shortcut = shortcut.map(channels_last);
    let (path, shortcut) = (Path::current(), shortcut.as_ref().map(values));
    if x.is_unique() {
        return norm::affine(path, straight(x), scale, offset, shortcut, relu);
    }
    norm::affine(path, values(&x), scale, offset, shortcut, relu)
}

pub(super) fn affine(
    x: Tensor,
    scale: Tensor,
    offset: Tensor,
    shortcut: Option<Tensor>,
    relu: bool,
) -> Tensor {
    if !fits(&x, &[&scale, &offset], shortcut.as_ref()) {
        return plain_affine::<Flex>(x, scale, offset, shortcut, relu);
    }
    let dims = last_dims(&x);
    let (scale, offset) = (scale.to_contiguous(), offset.to_contiguous());
    channels_first(affine_values(rows(x), values(&scale), values(&offset), shortcut.as_ref(), relu), &dims)
}
