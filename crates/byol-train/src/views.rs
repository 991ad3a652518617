//! From an encoded picture to two views: the only place where data and
//! augmentation meet.

use std::cell::RefCell;

use byol_augment::{Pixels, ResolvedPolicy, ViewKey, ViewParams, ViewPolicy, Workspace};
use byol_data::{DataError, ImageDataset, Limits, decode, probe};

use crate::TrainError;

/// Channels to train on: 3 if any picture of the set is in colour, else 1.
/// Reads every picture's header.
///
/// # Errors
///
/// If a header cannot be read, naming shard, row and path.
pub fn set_channels(set: &ImageDataset) -> Result<usize, TrainError> {
    let mut channels = 1;
    for i in 0..set.len() {
        let (_, _, found) =
            probe(set.sample(i).bytes, Limits::STANDARD).map_err(|e| set.picture_error(i, &e))?;
        channels = channels.max(found);
    }
    Ok(channels)
}

/// Makes v ~ T and v′ ~ T′ of picture `index` in `epoch`, into two slots.
///
/// # Errors
///
/// If the picture cannot be decoded, naming shard, row and path.
pub fn two_views(
    policy: &ResolvedPolicy,
    seed: u64,
    channels: usize,
    set: &ImageDataset,
    index: usize,
    epoch: u64,
    [v, v_prime]: [&mut [f32]; 2],
) -> Result<(), DataError> {
    thread_local! {
        static WORKSPACE: RefCell<(Workspace, ViewParams)> = RefCell::default();
    }
    let fault = |e: &dyn std::fmt::Display| set.picture_error(index, e);
    let sample = set.sample(index);
    let decoded = decode(sample.bytes, channels, Limits::STANDARD).map_err(|e| fault(&e))?;
    let pixels =
        Pixels::new(&decoded.data, decoded.width, decoded.height, channels).map_err(|e| fault(&e))?;
    WORKSPACE
        .with_borrow_mut(|(workspace, params)| {
            let mut make = |policy: &ViewPolicy, view: u64, out: &mut [f32]| {
                let key = ViewKey { seed, epoch, sample: sample.id, view };
                policy.sample_into(key, pixels.shape(), params)?;
                policy.apply(params, pixels, workspace, out)
            };
            make(&policy.view, 0, v)?;
            make(&policy.view_prime, 1, v_prime)
        })
        .map_err(|e| fault(&e))
}
