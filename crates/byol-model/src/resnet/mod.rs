//! ResNets (He et al. 2016) with the stride in the 3×3 convolution, versions 1 and 2.

pub(crate) mod block;
mod config;
mod cost;
mod net;

pub(crate) use config::DEPTHS;
pub use config::{ResNetConfig, Stem, Version};
pub use cost::{ConvLayer, EncoderCost};
pub use net::ResNet;
