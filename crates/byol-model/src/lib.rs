//! BYOL's networks on [Burn](burn): encoders, heads, the online and the target
//! network, the loss, and weights in and out (Grill et al., NeurIPS 2020,
//! section 3). The crate chooses no back end.
//!
//! * [`Encoder`] is f: pictures `[N, C, H, W]` to representations y `[N, D]`. Any
//!   Burn module can be one; [`ResNet`] is the paper's.
//! * [`OnlineNetwork`] is f, g and q; [`TargetNetwork`] is f and g. The target's
//!   parameters cannot receive gradients and are reached by no optimiser; they
//!   move by [`TargetNetwork::update`] alone.
//! * [`regression_loss`] is Equation 2, one direction; [`info_nce_loss`] is the family
//!   that BYOL and SimCLR are two points of.
//! * [`embedding_std`], [`effective_rank`], [`uniformity`] and others say whether a
//!   representation has collapsed.
//! * [`load`] makes an encoder of a file: ours, torchvision's, timm's, a checkpoint of
//!   another BYOL. [`save_encoder`] and [`onnx_bytes`] write one.
//! * [`named_tensors`], [`load_named`] and [`load_encoder`] are the same for any module.
//! * [`Collective`] is what replicas of a run share; [`SharedStatistics`] has batch normalisation see all
//!   their pictures.
//!
//! Batch normalisation is [`BatchNorm`], not Burn's: its mode is a flag and not a
//! property of the device, its running variance is unbiased as PyTorch's, and its
//! state is never one update late.

// For the helpers that unit tests share with tests/.
#[cfg(test)]
extern crate self as byol_model;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod test_support;

mod collective;
mod contrast;
mod conv;
mod diagnostics;
mod encoder;
mod error;
mod heads;
pub mod input;
mod loss;
mod norm;
mod online;
#[cfg(feature = "onnx")]
mod onnx;
mod precision;
mod resnet;
mod roles;
mod sum;
mod sync;
mod target;
mod weights;

pub use collective::{Collective, OneProcess};
pub use contrast::{InfoNce, info_nce_loss};
pub use diagnostics::{alignment, constant_cosine, effective_rank, embedding_std, mean_cosine, uniformity};
pub use encoder::Encoder;
pub use error::ModelError;
pub use heads::{HeadConfig, HeadLayer, Mlp};
pub(crate) use loss::mean_square_distance;
pub use loss::{LossNorm, l2_normalize, regression_loss, regression_loss_with};
pub use norm::{BatchNorm, BatchNormConfig};
pub use online::{OnlineNetwork, OnlineOutput};
#[cfg(feature = "onnx")]
pub use onnx::onnx_bytes;
pub use precision::{Precision, passes};
pub use resnet::{ConvLayer, EncoderCost, ResNet, ResNetConfig, Stem, Version};
pub use roles::{Role, role};
pub use sum::{momentum_step, weighted_sum};
pub use sync::SharedStatistics;
pub use target::{TargetInit, TargetNetwork};
pub use weights::{
    EncoderDescription, Loaded, NamedTensor, Normalization, Preprocessing, Resampling, TensorValues,
    encoder_bytes, load, load_encoder, load_named, load_with, named_tensors, save_encoder, write_atomic,
};

/// The crate's page, whose examples are tests.
#[cfg(all(doctest, feature = "pytorch"))]
#[doc = include_str!("../README.md")]
struct Readme;
