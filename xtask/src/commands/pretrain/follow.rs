//! A process of a run that another one leads. First all agree that they can take part, then the leading process makes
//! the folder, then it tells the others what the run begins with.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use byol_data::ImageDataset;
use byol_model::{Collective, ResNet};
use byol_train::{Checkpoint, RunPlan, TrainState, init_networks};

use super::check;
use crate::cli::PretrainArgs;
use crate::compose::Source;
use crate::device::Place;

/// Of a run that begins or goes on: what all processes have to know.
pub struct Shared {
    pub plan: RunPlan,
    /// Whether its horizon is measured by the clock.
    pub measured: bool,
    pub set: ImageDataset,
    pub state: TrainState<ResNet>,
}

/// Tells the others that the run has ended already.
pub fn ended(all: &dyn Collective) -> Result<()> {
    Ok(all.broadcast(&mut Vec::new())?)
}

/// Asks the others whether they have these pictures and can take the steps of the plan.
pub fn agree(all: &dyn Collective, plan: &RunPlan, set: &ImageDataset) -> Result<()> {
    if all.world() == 1 {
        return Ok(());
    }
    let mut bytes = serde_json::to_vec(&(plan, set.fingerprint()))?;
    all.broadcast(&mut bytes)?;
    match refusals(all, false)? {
        0 => Ok(()),
        n => bail!("{n} of {} processes cannot take part; what they say is above", all.world()),
    }
}

/// How many refuse; all call it.
fn refusals(all: &dyn Collective, own: bool) -> Result<usize> {
    let mut number = [f64::from(u8::from(own))];
    all.sum_f64(&mut number)?;
    Ok(number[0] as usize)
}

/// Tells the others what the run begins with: a checkpoint, of step 0 perhaps.
pub fn tell_all(
    all: &dyn Collective,
    plan: &RunPlan,
    measured: bool,
    state: &TrainState<ResNet>,
) -> Result<()> {
    if all.world() == 1 {
        return Ok(());
    }
    let mut bytes = Checkpoint::of(plan, state).to_bytes()?;
    bytes.push(u8::from(measured));
    Ok(all.broadcast(&mut bytes)?)
}

/// The other side of these: nothing if the run has ended. Pictures are where they are for the leading process,
/// or where `--data` says.
pub fn hear(all: &dyn Collective, args: &PretrainArgs, place: &Place) -> Result<Option<Shared>> {
    let mut bytes = Vec::new();
    all.broadcast(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let opened = consider(&bytes, args, place, all.world());
    let refused = refusals(all, opened.is_err())?;
    let set = opened?;
    if refused > 0 {
        bail!("{refused} of {} processes cannot take part", all.world());
    }
    let mut bytes = Vec::new();
    all.broadcast(&mut bytes)?;
    let measured = bytes.pop() == Some(1);
    let checkpoint = match Checkpoint::from_bytes(bytes) {
        Ok(checkpoint) => checkpoint,
        Err(why) => bail!("what process 0 began with: {why}"),
    };
    let plan = checkpoint.plan.clone();
    let state = checkpoint.restore(init_networks(&plan, None, &Device::flex())?)?;
    Ok(Some(Shared { plan, measured, set, state }))
}

/// The pictures, if they are those of process 0, and its steps can be taken here.
fn consider(bytes: &[u8], args: &PretrainArgs, place: &Place, world: usize) -> Result<ImageDataset> {
    let (plan, fingerprint): (RunPlan, String) =
        serde_json::from_slice(bytes).context("the plan of process 0")?;
    let source = match &args.data {
        Some(data) => Source::from_flag(Some(data))?,
        None => Source::from_plan(&plan),
    };
    let set = source.open(&plan.data.split)?;
    if set.fingerprint() != fingerprint {
        bail!(
            "{}: the pictures of `{}` are not those of process 0 (fingerprint {}, there {fingerprint})",
            source.describe(),
            plan.data.split,
            set.fingerprint(),
        );
    }
    check(args, &plan, place, world)?;
    Ok(set)
}
