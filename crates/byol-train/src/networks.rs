//! The networks that a plan begins with.

use burn::module::Module;
use burn::tensor::Device;
use byol_model::{
    Encoder, Mlp, OnlineNetwork, ResNet, ResNetConfig, TargetInit, TargetNetwork, load_named, named_tensors,
};

use crate::{Byol, Lanes, Optimizer, RunPlan, TrainError};

/// The encoder that a plan of this seed begins with.
///
/// # Errors
///
/// If the configuration describes no network.
pub fn init_encoder(config: &ResNetConfig, seed: u64, device: &Device) -> Result<ResNet, TrainError> {
    let device = device.clone().autodiff();
    device.seed(seed);
    Ok(drawn(config.init(&device)?))
}

/// The networks of a plan, drawn from its seed. `start` is an encoder of the plan's
/// configuration that theirs begins as; what is drawn besides is the same with it. They have one lane.
///
/// # Errors
///
/// If the plan describes no network, or `start` is another one.
pub fn init_networks(
    plan: &RunPlan,
    start: Option<&ResNet>,
    device: &Device,
) -> Result<Byol<ResNet>, TrainError> {
    let mut encoder = init_encoder(&plan.encoder(), plan.spec.seed, device)?;
    let device = device.clone().autodiff();
    let projector = drawn(plan.spec.projector.init(encoder.dim(), &device));
    let predictor = drawn(plan.spec.predictor.init(plan.spec.projector.output, &device));
    if let Some(start) = start {
        let tensors = named_tensors(start).into_iter().map(|t| (t.name, (t.shape, t.values)));
        encoder = load_named(encoder, tensors.collect())?;
    }
    let online = OnlineNetwork { encoder, projector, predictor };
    let target = match plan.spec.target_init {
        TargetInit::Copy => TargetNetwork::copy_of(&online),
        TargetInit::Independent => {
            let encoder = drawn(plan.encoder().init(&device)?);
            let projector: Mlp = drawn(plan.spec.projector.init(encoder.dim(), &device));
            TargetNetwork::new(encoder, projector)
        }
    };
    let optimizer = Optimizer::new(plan.spec.optimizer).with_multipliers(plan.spec.lr_multipliers);
    Ok(Byol { online, target, optimizer, lanes: Lanes::one(), precision: plan.spec.precision, shared: None })
}

/// Burn draws parameters when they are first looked at: look at them now, in order.
fn drawn<M: Module>(module: M) -> M {
    let _ = named_tensors(&module);
    module
}
