//! From an encoded picture to two views: the only place where data and
//! augmentation meet.

use std::cell::RefCell;

use byol_augment::{Pixels, ResolvedPolicy, ViewKey, ViewParams, ViewPolicy, Workspace};
use byol_data::{DataError, ImageDataset, Limits, decode, probe};

use crate::TrainError;

/// Headers that are read of a set that does not fit into memory.
pub(crate) const SOME_HEADERS: usize = 4096;

/// Channels to train on: the most that a picture of the set has, 3 if any is in colour,
/// else 1. What the shards say of it is believed; if they say nothing, every picture's
/// header is read, or the first 4,096 of a set that does not fit into memory.
///
/// # Errors
///
/// If a header cannot be read, naming shard, row and path.
pub fn set_channels(set: &ImageDataset) -> Result<usize, TrainError> {
    if let Some(channels) = set.channels() {
        return Ok(channels);
    }
    let n = if set.in_memory() { set.len() } else { set.len().min(SOME_HEADERS) };
    let mut channels = 1;
    for i in 0..n {
        let header = probe(set.sample(i)?.bytes(), Limits::STANDARD).map_err(|e| set.picture_error(i, &e))?;
        channels = channels.max(header.channels);
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
    let sample = set.sample(index)?;
    let decoded = decode(sample.bytes(), channels, Limits::STANDARD).map_err(|e| fault(&e))?;
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
