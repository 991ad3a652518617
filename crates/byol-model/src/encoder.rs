use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

/// The network f. Wrap any Burn module to train it (`#[derive(Module)]` brings both
/// supertraits) and implement these two methods.
pub trait Encoder: Module + ModuleDisplay {
    /// Representations y of a batch of pictures: `[N, C, H, W]` to `[N, D]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2>;

    /// D, the length of a representation.
    fn dim(&self) -> usize;
}
