//! The one place where pixels become a tensor.

use burn::tensor::{Device, Tensor, TensorData};

/// A batch of prepared pictures, `values` in NCHW order.
///
/// # Shapes
///
/// `values`: n · channels · size · size; result: `[n, channels, size, size]`.
///
/// # Panics
///
/// If `values` has another length.
pub fn tensor(values: Vec<f32>, channels: usize, size: usize, device: &Device) -> Tensor<4> {
    let n = values.len() / (channels * size * size).max(1);
    Tensor::from_data(TensorData::new(values, [n, channels, size, size]), device)
}
