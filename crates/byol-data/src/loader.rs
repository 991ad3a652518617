use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::{Cursor, DataError, EpochPlan, ImageDataset, Partition};

/// What a loader reads and how far ahead.
#[derive(Debug, Clone, Copy)]
pub struct LoaderConfig {
    /// Seed of the order.
    pub seed: u64,
    /// Pictures in a global batch.
    pub batch: usize,
    /// This replica's share.
    pub partition: Partition,
    /// Where to begin.
    pub start: Cursor,
    /// Batches to deliver.
    pub n_batches: u64,
    /// Threads of the loader's own pool, at least 1.
    pub threads: usize,
    /// Finished batches that may wait.
    pub prefetch: usize,
}

/// A batch: `V` buffers (for instance two views), each with one slot a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<const V: usize> {
    /// Where the batch stands in the order.
    pub cursor: Cursor,
    /// Numbers of its pictures, in slot order.
    pub samples: Vec<usize>,
    /// The buffers, slot after slot.
    pub data: [Vec<f32>; V],
}

/// Makes batches ahead of the consumer, on a pool of its own. The result is the
/// same for any number of threads; memory is bounded by `prefetch` + 2 batches.
#[derive(Debug)]
pub struct Loader<const V: usize> {
    batches: Option<Receiver<Result<Batch<V>, DataError>>>,
    coordinator: Option<JoinHandle<()>>,
    waited: Duration,
}

impl<const V: usize> Loader<V> {
    /// Starts loading. `make` fills the `V` slots, `slot_len` values each, of one
    /// sample: it gets the set, the picture's number and the epoch.
    ///
    /// # Errors
    ///
    /// If the batch does not fit the set or threads cannot be started. Errors of
    /// `make` arrive with the batch that they belong to.
    pub fn start<F>(
        set: Arc<ImageDataset>,
        config: LoaderConfig,
        slot_len: usize,
        make: F,
    ) -> Result<Self, DataError>
    where
        F: Fn(&ImageDataset, usize, u64, [&mut [f32]; V]) -> Result<(), DataError> + Send + Sync + 'static,
    {
        EpochPlan::new(config.seed, 0, set.len(), config.batch)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads.max(1))
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| DataError::Threads(e.to_string()))?;
        let (sender, batches) = sync_channel(config.prefetch);
        let coordinate = move || {
            let mut cursor = config.start;
            let mut plan: Option<(u64, EpochPlan)> = None;
            for _ in 0..config.n_batches {
                let current = match plan.take().filter(|(epoch, _)| *epoch == cursor.epoch) {
                    Some((_, plan)) => Ok(plan),
                    None => EpochPlan::new(config.seed, cursor.epoch, set.len(), config.batch),
                };
                let made = current.and_then(|current| {
                    let samples = current.batch(cursor.batch, config.partition).collect();
                    let n_batches = current.n_batches();
                    plan = Some((cursor.epoch, current));
                    let batch = pool.install(|| fill(&set, samples, cursor, slot_len, &make));
                    cursor = cursor.next(n_batches);
                    batch
                });
                let failed = made.is_err();
                if sender.send(made).is_err() || failed {
                    return; // the consumer is gone, or must be told once
                }
            }
        };
        let coordinator = std::thread::Builder::new()
            .name("loader".into())
            .spawn(coordinate)
            .map_err(|e| DataError::Threads(e.to_string()))?;
        Ok(Self { batches: Some(batches), coordinator: Some(coordinator), waited: Duration::ZERO })
    }

    /// Time that the consumer has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl<const V: usize> Iterator for Loader<V> {
    type Item = Result<Batch<V>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = Instant::now();
        let batch = self.batches.as_ref()?.recv().ok();
        self.waited += start.elapsed();
        batch
    }
}

impl<const V: usize> Drop for Loader<V> {
    fn drop(&mut self) {
        self.batches = None; // the coordinator's next send fails and it stops
        if let Some(coordinator) = self.coordinator.take() {
            let _ = coordinator.join(); // a panic there has been seen as a missing batch
        }
    }
}

fn fill<const V: usize>(
    set: &ImageDataset,
    samples: Vec<usize>,
    cursor: Cursor,
    slot_len: usize,
    make: &(impl Fn(&ImageDataset, usize, u64, [&mut [f32]; V]) -> Result<(), DataError> + Sync),
) -> Result<Batch<V>, DataError> {
    let mut data: [Vec<f32>; V] = std::array::from_fn(|_| vec![0.0; samples.len() * slot_len]);
    let mut buffers = data.each_mut().map(|buffer| buffer.chunks_exact_mut(slot_len));
    let slots: Vec<[&mut [f32]; V]> =
        samples.iter().map(|_| buffers.each_mut().map(|chunks| chunks.next().unwrap_or_default())).collect();
    // The first error in the order of samples, whichever thread met it first.
    let error = slots
        .into_par_iter()
        .zip(&samples)
        .filter_map(|(slots, &sample)| make(set, sample, cursor.epoch, slots).err().map(|e| (sample, e)))
        .min_by_key(|(sample, _)| samples.iter().position(|s| s == sample));
    match error {
        Some((_, error)) => Err(error),
        None => Ok(Batch { cursor, samples, data }),
    }
}
