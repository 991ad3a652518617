//! Where the values of a tensor lie: `[N, C, H, W]` to Burn, channels last in memory.

use burn::tensor::TensorData;

use super::Tensor;
use crate::turn::turned;

/// `[N, C, H, W]` as contiguous `[N, H, W, C]`; `[N, C]` as it is.
pub(super) fn channels_last(x: &Tensor) -> Tensor {
    let &[n, c, h, w] = x.layout().shape().to_vec().as_slice() else { return x.to_contiguous() };
    let last = x.permute(&[0, 2, 3, 1]);
    match (last.is_contiguous(), x.is_contiguous()) {
        (true, _) => last,
        (_, true) => Tensor::from_data(TensorData::new(turned(values(x), c, h * w), [n, h, w, c])),
        _ => last.to_contiguous(),
    }
}

/// The same with nothing held that it was made of: rows of channels, which nobody else has if they were
/// copied, or if nobody else had `x`.
pub(super) fn rows(x: Tensor) -> Tensor {
    let last = channels_last(&x);
    drop(x);
    last
}

/// The values channels last, for writing: the buffer itself if nobody else has it.
pub(super) fn owned(x: Tensor) -> Vec<f32> {
    straight(rows(x))
}

/// The values as they lie, for writing: the buffer itself if nobody else has it.
pub(super) fn straight(x: Tensor) -> Vec<f32> {
    // Cannot fail: f32, see the callers.
    x.into_data().try_into_vec().unwrap_or_default()
}

pub(crate) fn values(x: &Tensor) -> &[f32] {
    // Contiguous f32: see the callers.
    x.as_slice().unwrap_or_default()
}

/// Values `[N, H, W, C]` (or `[N, C]`) as Burn's `[N, C, H, W]`.
pub(super) fn channels_first(values: Vec<f32>, dims: &[usize]) -> Tensor {
    let tensor = Tensor::from_data(TensorData::new(values, dims.to_vec()));
    match dims.len() {
        4 => tensor.permute(&[0, 3, 1, 2]),
        _ => tensor,
    }
}

/// A shape of Burn's with the channels last.
pub(super) fn last_dims(x: &Tensor) -> Vec<usize> {
    match x.layout().shape().to_vec().as_slice() {
        &[n, c, h, w] => vec![n, h, w, c],
        other => other.to_vec(),
    }
}

pub(super) fn vector(values: Vec<f32>) -> Tensor {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn channels_are_last(n in 1usize..4, c in 1usize..70, h in 1usize..50, w in 1usize..50) {
            let values_of = |t: &Tensor| values(t).to_vec();
            let all: Vec<f32> = (0..n * c * h * w).map(|i| i as f32).collect();
            let x = Tensor::from_data(TensorData::new(all, [n, c, h, w]));
            let last = channels_last(&x);
            prop_assert_eq!(values_of(&last), values_of(&x.permute(&[0, 2, 3, 1]).to_contiguous()));
            prop_assert_eq!(last.layout().shape().to_vec(), vec![n, h, w, c]);
            // And of what lies in no order of ours.
            let turned = x.permute(&[0, 1, 3, 2]);
            let expected = values_of(&turned.permute(&[0, 2, 3, 1]).to_contiguous());
            prop_assert_eq!(&values_of(&channels_last(&turned)), &expected);
            prop_assert_eq!(owned(turned), expected);
        }
    }
}
