//! ResNet v1 (He et al. 2016) with the stride in the 3×3 convolution.

mod block;
mod config;
mod cost;
mod net;

pub use config::{ResNetConfig, Stem};
pub use cost::EncoderCost;
pub use net::ResNet;
