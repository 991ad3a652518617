use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rayon::ThreadPool;

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
    /// Parts that each batch is delivered in, one after the other: micro-batches whose
    /// gradients are averaged. 1 is the whole batch.
    pub parts: usize,
    /// Threads of the loader's own pool, at least 1.
    pub threads: usize,
    /// Finished batches that may wait, or groups of them where batches are small.
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

/// Groups of batches that are in work at once. With one alone, the threads would idle
/// from the last of its samples to the first of the next one's.
const LANES: u64 = 2;

/// Bytes of a group, if that is more than one batch: small batches are made several at
/// a time, since each hand-over wakes threads, which costs as much as a small picture.
const GROUP_BYTES: usize = 1 << 20;

/// Batches of a group at most.
const MAX_GROUP: usize = 64;

/// Makes batches ahead of the consumer, on a pool of its own. The result is the
/// same for any number of threads; memory is bounded by `prefetch` + 3 batches (those
/// that wait, two in work, and the consumer's), or as many MiB where a batch is smaller.
///
/// A consumer that keeps no batch gives it back by [`recycle`](Self::recycle), and its
/// buffers are filled again. After an error the loader ends.
#[derive(Debug)]
pub struct Loader<const V: usize, T = f32> {
    /// Batches that have arrived.
    ready: VecDeque<Made<V, T>>,
    /// Where the next ones come from, the next lane in front; empty when at an end.
    lanes: VecDeque<Receiver<Vec<Made<V, T>>>>,
    used: Buffers<V, T>,
    threads: Vec<JoinHandle<()>>,
    /// Batches, or parts of them, that are still to come.
    left: u64,
    waited: Duration,
}

type Made<const V: usize, T> = Result<Batch<V, T>, DataError>;

/// Buffers of batches that the consumer has given back.
type Buffers<const V: usize, T> = Arc<Mutex<Vec<[Vec<T>; V]>>>;

impl<const V: usize, T: Copy + Default + Send + Sync + 'static> Loader<V, T> {
    /// Starts loading. `make` fills the `V` slots, `slot_len` values each, of one
    /// sample: it gets the set, the picture's number and the epoch. It must fill them
    /// wholly: they hold zeros, or what an earlier batch left.
    ///
    /// # Errors
    ///
    /// If the batch does not fit the set, a slot is empty, there is no such replica, or
    /// threads cannot be started. Errors of `make` arrive with the batch that they belong
    /// to; a panic of it arrives as an error.
    pub fn start<F>(
        set: Arc<ImageDataset>,
        config: LoaderConfig,
        slot_len: usize,
        make: F,
    ) -> Result<Self, DataError>
    where
        F: Fn(&ImageDataset, usize, u64, [&mut [T]; V]) -> Result<(), DataError> + Send + Sync + 'static,
    {
        let Partition { rank, world } = config.partition;
        let parts = config.parts;
        if slot_len == 0 || rank >= world || parts == 0 {
            let why = format!("slots of {slot_len} values in {parts} parts for replica {rank} of {world}");
            return Err(DataError::Loader(why));
        }
        let first = set.epoch(config.seed, config.start.epoch, config.batch)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads.max(1))
            .thread_name(|i| format!("loader-{i}"))
            .build()
            .map_err(|e| DataError::Threads(e.to_string()))?;
        let batch_bytes = V * slot_len * size_of::<T>() * config.batch.div_ceil(world * parts);
        let used = Buffers::default();
        let worker = Arc::new(Worker {
            pool,
            per_epoch: first.n_batches(),
            plans: Mutex::new(vec![(config.start.epoch, Arc::new(first))]),
            set,
            config,
            group: (GROUP_BYTES / batch_bytes.max(1)).clamp(1, MAX_GROUP) as u64,
            slot_len,
            used: used.clone(),
            make,
        });
        let (ready, lanes) = (VecDeque::new(), VecDeque::new());
        let (threads, left) = (Vec::new(), config.n_batches * parts as u64);
        let mut loader = Self { ready, lanes, used, threads, left, waited: Duration::ZERO };
        let (turns, waits): (Vec<_>, Vec<_>) = (0..LANES).map(|_| channel()).unzip();
        let _ = turns[0].send(()); // its receiver is in `waits`
        for (lane, my_turn) in (0..LANES).zip(waits) {
            let waiting = (config.prefetch as u64 + LANES - 1 - lane) / LANES;
            let (sender, groups) = sync_channel(waiting as usize);
            let next_turn = turns[((lane + 1) % LANES) as usize].clone();
            let worker = worker.clone();
            let thread = std::thread::Builder::new()
                .name(format!("loader-lane-{lane}"))
                .spawn(move || worker.lane(lane, &my_turn, &next_turn, &sender))
                .map_err(|e| DataError::Threads(e.to_string()))?;
            loader.lanes.push_back(groups);
            loader.threads.push(thread);
        }
        Ok(loader)
    }

    /// Time that the consumer has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Takes a batch back whose buffers are to be used again.
    pub fn recycle(&self, batch: Batch<V, T>) {
        locked(&self.used).push(batch.data);
    }
}

impl<const V: usize, T> Iterator for Loader<V, T> {
    type Item = Result<Batch<V, T>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            let start = Instant::now();
            let group = self.lanes.front()?.recv();
            self.waited += start.elapsed();
            match group {
                Ok(group) => self.ready.extend(group),
                Err(_) if self.left == 0 => self.lanes.clear(),
                Err(_) => {
                    let why = "a loader thread has panicked; what it said is on stderr";
                    self.ready.push_back(Err(DataError::Loader(why.into())));
                }
            }
            self.lanes.rotate_left(1.min(self.lanes.len()));
        }
        let batch = self.ready.pop_front();
        match &batch {
            Some(Ok(_)) => self.left -= 1,
            _ => self.lanes.clear(), // what the other lane has made lies behind the end
        }
        batch
    }
}

impl<const V: usize, T> Drop for Loader<V, T> {
    fn drop(&mut self) {
        self.lanes.clear(); // the lanes' next sends fail and they stop
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic there has been seen as a missing batch
        }
    }
}

/// What the lanes share.
struct Worker<const V: usize, T, F> {
    pool: ThreadPool,
    set: Arc<ImageDataset>,
    config: LoaderConfig,
    per_epoch: u64,
    /// Batches of a group.
    group: u64,
    slot_len: usize,
    used: Buffers<V, T>,
    /// The orders of the epochs that the lanes are in: of two, where an epoch ends.
    plans: Mutex<Vec<(u64, Arc<EpochPlan>)>>,
    make: F,
}

impl<const V: usize, T, F> Worker<V, T, F>
where
    T: Copy + Default + Send + Sync,
    F: Fn(&ImageDataset, usize, u64, [&mut [T]; V]) -> Result<(), DataError> + Sync,
{
    /// Makes every `LANES`th group. A lane has its turn when the other's group has begun,
    /// so that the threads go from group to group in their order.
    fn lane(
        &self,
        lane: u64,
        my_turn: &Receiver<()>,
        next_turn: &Sender<()>,
        sender: &SyncSender<Vec<Made<V, T>>>,
    ) {
        let n = self.config.n_batches * self.config.parts as u64;
        let starts = (0..n).step_by(self.group as usize);
        for start in starts.skip(lane as usize).step_by(LANES as usize) {
            if my_turn.recv().is_err() {
                return; // the other lane has met an error, or the consumer is gone
            }
            let end = n.min(start + self.group);
            let group = (start..end).map(|k| self.blank(k)).collect();
            let made = match group {
                Ok(group) => self.fill(group, next_turn),
                Err(error) => vec![Err(error)],
            };
            let failed = made.last().is_none_or(Result::is_err);
            if sender.send(made).is_err() || failed {
                return; // the consumer is gone, or has been told
            }
        }
    }

    /// Part number `i` of all that this loader delivers, to be filled.
    fn blank(&self, i: u64) -> Made<V, T> {
        let LoaderConfig { start: Cursor { epoch, batch }, partition, parts, .. } = self.config;
        let (k, part) = (i / parts as u64, (i % parts as u64) as usize);
        let (epoch, batch) = (epoch + (batch + k) / self.per_epoch, (batch + k) % self.per_epoch);
        let cursor = Cursor { epoch, batch };
        // A part is the same pictures for any number of replicas, which share it out.
        let partition =
            Partition { rank: part * partition.world + partition.rank, world: partition.world * parts };
        let samples: Vec<usize> = self.plan(epoch)?.batch(batch, partition).collect();
        let mut data = locked(&self.used).pop().unwrap_or_else(|| std::array::from_fn(|_| Vec::new()));
        for buffer in &mut data {
            if buffer.len() != samples.len() * self.slot_len {
                *buffer = vec![T::default(); samples.len() * self.slot_len];
            }
        }
        Ok(Batch { cursor, samples, data })
    }

    fn plan(&self, epoch: u64) -> Result<Arc<EpochPlan>, DataError> {
        let mut plans = locked(&self.plans);
        if let Some((_, plan)) = plans.iter().find(|(of, _)| *of == epoch) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(self.set.epoch(self.config.seed, epoch, self.config.batch)?);
        if plans.len() >= LANES as usize {
            plans.remove(0);
        }
        plans.push((epoch, plan.clone()));
        Ok(plan)
    }

    /// Fills a group on all threads of the pool; a thread that finds no sample left goes
    /// on with the next group, whose lane is told to begin as soon as this one has begun.
    ///
    /// Samples are taken in their order, so that the threads are always at neighbouring
    /// ones and the pieces of a large set are read once.
    fn fill(&self, mut group: Vec<Batch<V, T>>, begun: &Sender<()>) -> Vec<Made<V, T>> {
        let slots = group.iter_mut().enumerate().flat_map(|(nth, Batch { cursor, samples, data })| {
            let mut buffers = data.each_mut().map(|buffer| buffer.chunks_exact_mut(self.slot_len));
            samples.iter().map(move |&sample| {
                let slot = buffers.each_mut().map(|chunks| chunks.next().unwrap_or_default());
                (nth, cursor.epoch, sample, slot)
            })
        });
        let slots = Mutex::new(slots.enumerate());
        let take = || locked(&slots).next();
        // The first one in the order of samples, whichever thread met it first: all
        // before it were taken before it.
        let error: Mutex<Option<(usize, usize, DataError)>> = Mutex::new(None);
        self.pool.broadcast(|_| {
            while let Some((i, (nth, epoch, sample, slot))) = take() {
                if i == 0 {
                    let _ = begun.send(()); // the next lane may have ended
                }
                if let Err(met) = (self.make)(&self.set, sample, epoch, slot) {
                    let mut error = locked(&error);
                    if error.as_ref().is_none_or(|(first, ..)| i < *first) {
                        *error = Some((i, nth, met));
                    }
                }
                if locked(&error).is_some() {
                    return;
                }
            }
        });
        let error = error.into_inner().unwrap_or_else(PoisonError::into_inner);
        if group.iter().all(|batch| batch.samples.is_empty()) {
            let _ = begun.send(()); // a replica may have no share of a small batch
        }
        let whole = error.as_ref().map_or(group.len(), |(_, nth, _)| *nth);
        let mut made: Vec<_> = group.into_iter().take(whole).map(Ok).collect();
        made.extend(error.map(|(_, _, error)| Err(error)));
        made
    }
}

/// What it guards is whole at any instant, also after a panic elsewhere.
fn locked<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
