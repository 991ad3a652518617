//! A process of a run that another one leads.

use anyhow::{Result, bail};
use burn::tensor::Device;
use byol_data::ImageDataset;
use byol_model::{Collective, ResNet};
use byol_train::{Checkpoint, RunPlan, TrainState, init_networks};

use crate::cli::PretrainArgs;
use crate::compose::Source;

/// Of a run that begins or goes on: what all processes have to know.
pub struct Shared {
    pub plan: RunPlan,
    /// Whether its horizon is measured by the clock.
    pub measured: bool,
    pub set: ImageDataset,
    pub state: TrainState<ResNet>,
}

/// Tells the others what the run begins with: a checkpoint, of step 0 perhaps. Nothing if it has ended.
pub fn tell_all(all: &dyn Collective, begun: Option<(&RunPlan, bool, &TrainState<ResNet>)>) -> Result<()> {
    if all.world() == 1 {
        return Ok(());
    }
    let mut bytes = match begun {
        Some((plan, measured, state)) => {
            let mut bytes = Checkpoint::of(plan, state).to_bytes()?;
            bytes.push(u8::from(measured));
            bytes
        }
        None => Vec::new(),
    };
    all.broadcast(&mut bytes)?;
    Ok(())
}

/// What the leading process tells; nothing if the run has ended. Pictures are where they are for it, or
/// where `--data` says.
pub fn hear(all: &dyn Collective, args: &PretrainArgs) -> Result<Option<Shared>> {
    let mut bytes = Vec::new();
    all.broadcast(&mut bytes)?;
    let Some(measured) = bytes.pop() else { return Ok(None) };
    let checkpoint = match Checkpoint::from_bytes(bytes) {
        Ok(checkpoint) => checkpoint,
        Err(why) => bail!("what process 0 began with: {why}"),
    };
    let plan = checkpoint.plan.clone();
    let source = match &args.data {
        Some(data) => Source::from_flag(Some(data))?,
        None => Source::from_plan(&plan),
    };
    let set = source.open(&plan.data.split)?;
    if set.fingerprint() != plan.data.fingerprint {
        bail!(
            "{}: the pictures of `{}` are not those of process 0 (fingerprint {}, there {})",
            source.describe(),
            plan.data.split,
            set.fingerprint(),
            plan.data.fingerprint
        );
    }
    let state = checkpoint.restore(init_networks(&plan, None, &Device::flex())?)?;
    Ok(Some(Shared { plan, measured: measured == 1, set, state }))
}
