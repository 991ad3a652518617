//! What convolutions multiply.

use std::cell::Cell;

/// Values that convolutions multiply. Sums, results and everything between convolutions are f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to the nearest bf16 value (to the even one of two) before each convolution and before
    /// each of its gradients: eight bits of mantissa, a relative error of at most 2⁻⁸ a factor. Where a
    /// window is filtered with fewer products, the transformed values are rounded instead. Fast
    /// where the processor has AVX-512 BF16 ([`Path::Avx512Bf16`](crate::Path::Avx512Bf16)), whose
    /// sums take numbers below 2⁻¹²⁶ for 0; a little slower than f32 elsewhere.
    Bf16,
    /// f16 on GPUs: eleven bits of mantissa, and nothing below 6·10⁻⁸ or above 65504, so that a loss wants to be
    /// scaled. CPUs have no instructions for it here and multiply the f32 values.
    F16,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

impl Precision {
    /// Of the operations that this thread calls now.
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }
}

/// Gives the precision before back, whatever happens.
struct Restore(Precision);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Calls `f`, in which convolutions by this crate that this thread calls multiply values of
/// `precision`; so do their gradients, whenever and wherever they are computed.
///
/// ```
/// use byol_kernels::{Precision, autocast, conv2d};
/// # use burn::tensor::{Device, Tensor};
/// # let device = Device::default();
/// # let (x, weight) = (Tensor::<4>::ones([1, 3, 8, 8], &device), Tensor::<4>::ones([4, 3, 3, 3], &device));
/// let y = autocast(Precision::Bf16, || conv2d(x, weight, 1, 1));
/// ```
pub fn autocast<R>(precision: Precision, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(CURRENT.replace(precision));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends() {
        autocast(Precision::Bf16, || {
            assert_eq!(Precision::current(), Precision::Bf16);
            autocast(Precision::F32, || assert_eq!(Precision::current(), Precision::F32));
            assert_eq!(Precision::current(), Precision::Bf16);
            let panics = std::panic::catch_unwind(|| autocast(Precision::F32, || panic!("on purpose")));
            assert!(panics.is_err());
            assert_eq!(Precision::current(), Precision::Bf16);
        });
        assert_eq!(Precision::current(), Precision::F32);
    }
}
