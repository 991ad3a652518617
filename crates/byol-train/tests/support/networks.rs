//! Networks small enough to train in a test.

use burn::tensor::Device;
use byol_model::{
    HeadConfig, NamedTensor, OnlineNetwork, Precision, ResNet, ResNetConfig, TargetNetwork, load_named,
    named_tensors,
};
use byol_train::{Byol, Lanes, Optimizer, OptimizerSpec};

const HEAD: HeadConfig = HeadConfig { layers: 2, hidden: 16, output: 8 };

/// For pictures of one channel, drawn, or with the online network of `start`; on one lane, in f32.
pub fn networks(start: Option<&[NamedTensor]>, spec: OptimizerSpec, device: &Device) -> Byol<ResNet> {
    let config = ResNetConfig { width: 4, ..ResNetConfig::from_name("resnet18_small", 1).unwrap() };
    let encoder = config.init(device).unwrap();
    let projector = HEAD.init(config.dim().unwrap(), device);
    let mut online = OnlineNetwork { encoder, projector, predictor: HEAD.init(8, device) };
    match start {
        Some(start) => {
            let tensors = start.iter().cloned().map(|t| (t.name, (t.shape, t.values))).collect();
            online = load_named(online, tensors).unwrap();
        }
        None => drop(named_tensors(&online)), // drawn now
    }
    let (target, optimizer) = (TargetNetwork::copy_of(&online), Optimizer::new(spec));
    let (lanes, precision) = (Lanes::one(), Precision::F32);
    Byol { online, target, optimizer, lanes, precision, shared: None }
}
