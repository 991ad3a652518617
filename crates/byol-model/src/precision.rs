//! What convolutions multiply while a network trains.

use serde::{Deserialize, Serialize};

/// Values that convolutions and their gradients multiply. Parameters, statistics, sums, heads, loss
/// and everything else are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Rounded to the nearest bf16 value before each of them (where 3×3 windows are filtered with fewer
    /// products, the transformed values are). Needs feature `kernels`.
    Bf16,
    /// f16 values, on GPUs alone: the loss is scaled while gradients are computed. Needs feature `kernels`.
    F16,
}

impl Precision {
    /// Whether this build has it.
    pub fn is_available(self) -> bool {
        self == Self::F32 || cfg!(feature = "kernels")
    }

    /// Calls `f`, in which convolutions that this thread calls multiply such values; so do their
    /// gradients, whenever they are computed. Without feature `kernels` all is f32.
    pub fn scope<R>(self, f: impl FnOnce() -> R) -> R {
        #[cfg(feature = "kernels")]
        {
            let precision = match self {
                Self::F32 => byol_kernels::Precision::F32,
                Self::Bf16 => byol_kernels::Precision::Bf16,
                Self::F16 => byol_kernels::Precision::F16,
            };
            byol_kernels::autocast(precision, f)
        }
        #[cfg(not(feature = "kernels"))]
        f()
    }
}

/// Calls `f`, in which this thread makes so many passes through the same networks: weights are put in
/// the kernels' order once for all of them. The same bits either way; without feature `kernels`
/// nothing is kept.
pub fn passes<R>(n: usize, f: impl FnOnce() -> R) -> R {
    #[cfg(feature = "kernels")]
    {
        byol_kernels::weights_kept(n, f)
    }
    #[cfg(not(feature = "kernels"))]
    {
        let _ = n;
        f()
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}
