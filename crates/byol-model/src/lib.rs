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
//! * [`named_tensors`], [`load_named`], [`save_encoder`] and [`load_encoder`]
//!   bring weights in and out, under torchvision's names.
//! * [`Collective`] is what replicas of a run share.
//!
//! Batch normalisation is [`BatchNorm`], not Burn's: its mode is a flag and not a
//! property of the device, its running variance is unbiased as PyTorch's, and its
//! state is never one update late.

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
mod resnet;
mod roles;
mod target;
mod weights;

pub use collective::{Collective, OneProcess};
pub use contrast::{InfoNce, info_nce_loss};
pub use diagnostics::{alignment, effective_rank, embedding_std, mean_cosine, uniformity};
pub use encoder::Encoder;
pub use error::ModelError;
pub use heads::{HeadConfig, HeadLayer, Mlp};
pub(crate) use loss::mean_square_distance;
pub use loss::{LossNorm, l2_normalize, regression_loss, regression_loss_with};
pub use norm::{BatchNorm, BatchNormConfig};
pub use online::{OnlineNetwork, OnlineOutput};
pub use resnet::{EncoderCost, ResNet, ResNetConfig, Stem};
pub use roles::{Role, role};
pub use target::{TargetInit, TargetNetwork};
pub use weights::{
    NamedTensor, encoder_bytes, encoder_metadata, load_encoder, load_named, named_tensors, save_encoder,
};
