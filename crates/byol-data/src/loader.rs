use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
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
pub struct Batch<const V: usize, T = f32> {
    /// Where the batch stands in the order.
    pub cursor: Cursor,
    /// Numbers of its pictures, in slot order.
    pub samples: Vec<usize>,
    /// The buffers, slot after slot.
    pub data: [Vec<T>; V],
}

/// Makes batches ahead of the consumer, on a pool of its own. The result is the
/// same for any number of threads; memory is bounded by `prefetch` + 2 batches.
///
/// A consumer that keeps no batch gives it back by [`recycle`](Self::recycle), and its
/// buffers are filled again.
#[derive(Debug)]
pub struct Loader<const V: usize, T = f32> {
    batches: Option<Receiver<Result<Batch<V, T>, DataError>>>,
    used: Sender<[Vec<T>; V]>,
    coordinator: Option<JoinHandle<()>>,
    waited: Duration,
}

impl<const V: usize, T: Copy + Default + Send + Sync + 'static> Loader<V, T> {
    /// Starts loading. `make` fills the `V` slots, `slot_len` values each, of one
    /// sample: it gets the set, the picture's number and the epoch. It must fill them
    /// wholly: they hold zeros, or what an earlier batch left.
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
        F: Fn(&ImageDataset, usize, u64, [&mut [T]; V]) -> Result<(), DataError> + Send + Sync + 'static,
    {
        set.epoch(config.seed, 0, config.batch)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads.max(1))
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| DataError::Threads(e.to_string()))?;
        let (sender, batches) = sync_channel(config.prefetch);
        let (used, free) = channel::<[Vec<T>; V]>();
        let work = move || {
            let mut cursor = config.start;
            let mut plan: Option<(u64, EpochPlan)> = None;
            for _ in 0..config.n_batches {
                let current = match plan.take().filter(|(epoch, _)| *epoch == cursor.epoch) {
                    Some((_, plan)) => Ok(plan),
                    None => set.epoch(config.seed, cursor.epoch, config.batch),
                };
                let made = current.and_then(|current| {
                    let samples = current.batch(cursor.batch, config.partition).collect();
                    let n_batches = current.n_batches();
                    plan = Some((cursor.epoch, current));
                    let data = free.try_recv().unwrap_or_else(|_| std::array::from_fn(|_| Vec::new()));
                    let batch = fill(&set, samples, cursor, data, slot_len, &make);
                    cursor = cursor.next(n_batches);
                    batch
                });
                let failed = made.is_err();
                if sender.send(made).is_err() || failed {
                    return; // the consumer is gone, or must be told once
                }
            }
        };
        // All of it in the pool: from outside, each batch would cost a wake-up both ways.
        let coordinate = move || pool.install(work);
        let coordinator = std::thread::Builder::new()
            .name("loader".into())
            .spawn(coordinate)
            .map_err(|e| DataError::Threads(e.to_string()))?;
        Ok(Self { batches: Some(batches), used, coordinator: Some(coordinator), waited: Duration::ZERO })
    }

    /// Time that the consumer has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Takes a batch back whose buffers are to be used again.
    pub fn recycle(&self, batch: Batch<V, T>) {
        let _ = self.used.send(batch.data); // the coordinator may have finished
    }
}

impl<const V: usize, T> Iterator for Loader<V, T> {
    type Item = Result<Batch<V, T>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = Instant::now();
        let batch = self.batches.as_ref()?.recv().ok();
        self.waited += start.elapsed();
        batch
    }
}

impl<const V: usize, T> Drop for Loader<V, T> {
    fn drop(&mut self) {
        self.batches = None; // the coordinator's next send fails and it stops
        if let Some(coordinator) = self.coordinator.take() {
            let _ = coordinator.join(); // a panic there has been seen as a missing batch
        }
    }
}

fn fill<const V: usize, T: Copy + Default + Send + Sync>(
    set: &ImageDataset,
    samples: Vec<usize>,
    cursor: Cursor,
    mut data: [Vec<T>; V],
    slot_len: usize,
    make: &(impl Fn(&ImageDataset, usize, u64, [&mut [T]; V]) -> Result<(), DataError> + Sync),
) -> Result<Batch<V, T>, DataError> {
    for buffer in &mut data {
        if buffer.len() != samples.len() * slot_len {
            *buffer = vec![T::default(); samples.len() * slot_len];
        }
    }
    let mut buffers = data.each_mut().map(|buffer| buffer.chunks_exact_mut(slot_len));
    let slots: Vec<[&mut [T]; V]> =
        samples.iter().map(|_| buffers.each_mut().map(|chunks| chunks.next().unwrap_or_default())).collect();
    // The first error in the order of samples, whichever thread met it first.
    let error = slots
        .into_par_iter()
        .with_max_len(1) // at the end of a batch no thread waits for more than one sample
        .zip(&samples)
        .filter_map(|(slots, &sample)| make(set, sample, cursor.epoch, slots).err().map(|e| (sample, e)))
        .min_by_key(|(sample, _)| samples.iter().position(|s| s == sample));
    match error {
        Some((_, error)) => Err(error),
        None => Ok(Batch { cursor, samples, data }),
    }
}
