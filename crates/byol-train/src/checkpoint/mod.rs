//! A run between two steps, as a file.

mod observer;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use burn::module::Module;
use byol_model::{Encoder, ModelError, TensorValues, load_named, named_tensors};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::optim::{LossScale, OptimizerState};
use crate::{Byol, RunPlan, TrainError, TrainState};

pub use observer::{CheckpointRules, Checkpoints};

/// Key of our part in the metadata of the safetensors file.
const KEY: &str = "byol_checkpoint";
/// Of the layout of these files; another one is refused.
const FORMAT: u32 = 1;
/// The tensor with f16's loss scale.
const SCALE: &str = "loss_scale";
/// Stands where the checksum goes while it is computed.
const NO_SUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Everything that a run needs to go on to the bit: both networks with their running
/// statistics, the optimiser's buffers, the step, and the plan. Order, views and schedules
/// are functions of the step.
///
/// On disk it is a safetensors file (`online.*`, `target.*`, `momentum.*`, `square.*` of
/// AdamW, `kept.*` of observers, `loss_scale` of f16) with the rest in
/// its metadata, and a SHA-256 over all of it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Optimiser steps done.
    pub step: u64,
    /// What the run was doing.
    pub plan: RunPlan,
    tensors: BTreeMap<String, TensorValues>,
}

#[derive(Serialize, Deserialize)]
struct About {
    format: u32,
    sha256: String,
    step: u64,
    plan: RunPlan,
}

impl Checkpoint {
    /// Takes a run down.
    pub fn of<E: Encoder>(plan: &RunPlan, state: &TrainState<E>) -> Self {
        let Byol { online, target, optimizer, .. } = &state.byol;
        let OptimizerState { momentum, square } = optimizer.state(online);
        let parts = [
            ("online", named_tensors(online)),
            ("target", target.named_tensors()),
            ("momentum", momentum),
            ("square", square),
        ];
        let tensors = parts.into_iter().flat_map(|(part, tensors)| {
            tensors.into_iter().map(move |t| (format!("{part}.{}", t.name), (t.shape, t.values)))
        });
        let kept = state.kept.iter().map(|(name, tensor)| (format!("kept.{name}"), tensor.clone()));
        let scale =
            optimizer.loss_scale.iter().map(|scale| (SCALE.to_owned(), (vec![2], scale.values().to_vec())));
        Self { step: state.step, plan: plan.clone(), tensors: tensors.chain(kept).chain(scale).collect() }
    }

    /// The first tensor with a value that is no number.
    pub fn spoiled(&self) -> Option<&str> {
        let spoiled = |values: &[f32]| values.iter().any(|x| !x.is_finite());
        self.tensors.iter().find(|(_, (_, values))| spoiled(values)).map(|(name, _)| name.as_str())
    }

    /// Puts it into networks of the same shape.
    ///
    /// # Errors
    ///
    /// Every tensor that is missing, left over or of another shape.
    pub fn restore<E: Encoder>(mut self, byol: Byol<E>) -> Result<TrainState<E>, TrainError> {
        let mut part = |name: &str| -> BTreeMap<String, TensorValues> {
            let names: Vec<String> = self.tensors.keys().filter(|n| n.starts_with(name)).cloned().collect();
            let take = |n: String| Some((n[name.len()..].to_owned(), self.tensors.remove(&n)?));
            names.into_iter().filter_map(take).collect()
        };
        let Byol { online, target, mut optimizer, lanes, precision, shared } = byol;
        let online = load_named(online, part("online."))?;
        let target = target.load_named(part("target."))?;
        let buffers = OptimizerState { momentum: part("momentum."), square: part("square.") };
        optimizer.load_state(&online, buffers, self.step)?;
        let kept = part("kept.");
        if let Some((_, values)) = self.tensors.remove(SCALE)
            && let [scale, calm] = values[..]
        {
            let device = online.devices().into_iter().next().unwrap_or_default().without_autodiff();
            optimizer.loss_scale = Some(LossScale::from_values([scale, calm], &device));
        }
        let byol = Byol { online, target, optimizer, lanes, precision, shared };
        Ok(TrainState { byol, step: self.step, kept })
    }

    /// The file's bytes: the same for the same run.
    ///
    /// # Errors
    ///
    /// If the safetensors format refuses, which there is no reason for.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let refused = |why: String| ModelError::Unreadable(format!("a checkpoint: {why}"));
        let about = About { format: FORMAT, sha256: NO_SUM.into(), step: self.step, plan: self.plan.clone() };
        let about = serde_json::to_string(&about).map_err(|e| refused(e.to_string()))?;
        let bytes: Vec<Vec<u8>> = self
            .tensors
            .values()
            .map(|(_, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let views = self.tensors.iter().zip(&bytes).map(|((name, (shape, _)), bytes)| {
            let view =
                TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| refused(e.to_string()))?;
            Ok((name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, ModelError>>()?;
        let mut file = serialize(views, Some(HashMap::from([(KEY.to_owned(), about)])))
            .map_err(|e| refused(e.to_string()))?;
        let sum = sha256(&file);
        let at = place_of_sum(&file, NO_SUM).ok_or_else(|| refused("no room for its checksum".into()))?;
        file[at..at + sum.len()].copy_from_slice(sum.as_bytes());
        Ok(file)
    }

    /// Reads a file that [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is no checkpoint, of another format, or damaged anywhere.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let failed = |why| TrainError::File { action: "reading the checkpoint", path: path.into(), why };
        let file = fs::read(path).map_err(|e| failed(e.to_string()))?;
        Self::from_bytes(file).map_err(failed)
    }

    /// As [`read`](Self::read), of such bytes from elsewhere.
    ///
    /// # Errors
    ///
    /// Why they are none.
    pub fn from_bytes(mut file: Vec<u8>) -> Result<Self, String> {
        let failed = std::convert::identity::<String>;
        let damaged = |why: &str| failed(format!("{why}; it is damaged or cut off"));
        let (_, header) = SafeTensors::read_metadata(&file).map_err(|e| damaged(&e.to_string()))?;
        let about = header.metadata().as_ref().and_then(|m| m.get(KEY));
        let about = about.ok_or_else(|| failed("it is no checkpoint of byol, or a damaged one".into()))?;
        #[derive(Deserialize)]
        struct Format {
            format: u32,
            sha256: String,
        }
        let format: Format = serde_json::from_str(about).map_err(|e| damaged(&e.to_string()))?;
        if format.format != FORMAT {
            let why = format!("its format is {}, and this version reads {FORMAT}", format.format);
            return Err(failed(why));
        }
        let at = (format.sha256.len() == NO_SUM.len())
            .then(|| place_of_sum(&file, &format.sha256))
            .flatten()
            .ok_or_else(|| damaged("it has no checksum"))?;
        file[at..at + NO_SUM.len()].copy_from_slice(NO_SUM.as_bytes());
        if sha256(&file) != format.sha256 {
            return Err(damaged("it does not match its checksum"));
        }
        let about: About = serde_json::from_str(about)
            .map_err(|e| failed(format!("it was written by another version ({e})")))?;
        let tensors = SafeTensors::deserialize(&file).map_err(|e| damaged(&e.to_string()))?;
        let tensors = tensors.tensors().into_iter().map(|(name, view)| {
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            (name, (view.shape().to_vec(), values.collect()))
        });
        Ok(Self { step: about.step, plan: about.plan, tensors: tensors.collect() })
    }
}

/// Where the checksum stands: in the header, behind its length.
fn place_of_sum(file: &[u8], sum: &str) -> Option<usize> {
    let length = usize::try_from(u64::from_le_bytes(file.get(..8)?.try_into().ok()?)).ok()?;
    let header = file.get(8..8usize.checked_add(length)?)?;
    header.windows(sum.len()).position(|window| window == sum.as_bytes()).map(|at| at + 8)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
