//! Which samples make which batch: a pure function of seed, epoch and length.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// A place in the order of batches. With the seed it is all that a resumed run
/// needs to know of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Global batch within the epoch, from 0: the next one to be read.
    pub batch: u64,
}

impl Cursor {
    /// The place after `self`, with `batches` batches in an epoch.
    pub fn next(self, batches: u64) -> Self {
        if self.batch + 1 < batches {
            Self { batch: self.batch + 1, ..self }
        } else {
            Self { epoch: self.epoch + 1, batch: 0 }
        }
    }
}

/// One replica's share of every global batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// This replica, from 0.
    pub rank: usize,
    /// Replicas.
    pub world: usize,
}

impl Partition {
    /// The only replica.
    pub const WHOLE: Self = Self { rank: 0, world: 1 };
}

/// The order of one epoch. Each picture appears at most once; what does not fill
/// a global batch is left out, and differs from epoch to epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochPlan {
    order: Vec<u32>,
    batch: usize,
}

impl EpochPlan {
    /// The order of `epoch` over `len` pictures in global batches of `batch`.
    ///
    /// The permutation is Fisher and Yates' with ChaCha8, keyed by
    /// (seed, epoch, 0, `0x4550_4f43_48`).
    ///
    /// # Errors
    ///
    /// If `batch` is 0 or larger than `len`.
    pub fn new(seed: u64, epoch: u64, len: usize, batch: usize) -> Result<Self, DataError> {
        let n = fitting(len, batch)?;
        let mut order: Vec<u32> = (0..n).collect();
        permute(&mut order, &mut generator(seed, epoch));
        Ok(Self { order, batch })
    }

    /// The order of `epoch` over pictures that lie in row groups, each of `(pictures,
    /// bytes)`: the row groups are permuted, windows are made of as many as have `window`
    /// bytes (at least one), and the pictures of a window are permuted. Whoever follows
    /// the order needs one window at a time.
    ///
    /// How well that mixes is measured by `examples/shuffle.rs`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn in_windows(
        seed: u64,
        epoch: u64,
        groups: &[(u32, u32)],
        window: u64,
        batch: usize,
    ) -> Result<Self, DataError> {
        let len = groups.iter().map(|(rows, _)| *rows as usize).sum();
        fitting(len, batch)?;
        let mut generator = generator(seed, epoch);
        let mut first = 0u32;
        let mut places: Vec<(u32, u32, u32)> = Vec::with_capacity(groups.len());
        for &(rows, bytes) in groups {
            places.push((first, rows, bytes));
            first += rows; // fits: their sum does
        }
        permute(&mut places, &mut generator);
        let mut order: Vec<u32> = Vec::with_capacity(len);
        let (mut start, mut bytes_in_window) = (0, 0u64);
        for (first, rows, bytes) in places {
            if bytes_in_window > 0 && bytes_in_window + u64::from(bytes) > window {
                permute(&mut order[start..], &mut generator);
                (start, bytes_in_window) = (order.len(), 0);
            }
            order.extend(first..first + rows);
            bytes_in_window += u64::from(bytes);
        }
        permute(&mut order[start..], &mut generator);
        Ok(Self { order, batch })
    }

    /// Full global batches in the epoch.
    pub fn n_batches(&self) -> u64 {
        (self.order.len() / self.batch) as u64
    }

    /// The samples of global batch `k` that belong to `partition`, in order. The
    /// shares of all ranks, one after the other, are the global batch.
    ///
    /// # Panics
    ///
    /// If `k` is not below [`n_batches`](Self::n_batches).
    pub fn batch(&self, k: u64, partition: Partition) -> impl Iterator<Item = usize> + '_ {
        let start = k as usize * self.batch;
        let global = &self.order[start..start + self.batch];
        let share = |rank: usize| global.len() * rank / partition.world;
        global[share(partition.rank)..share(partition.rank + 1)].iter().map(|&i| i as usize)
    }
}

fn fitting(len: usize, batch: usize) -> Result<u32, DataError> {
    let fits = u32::try_from(len).ok().filter(|_| batch > 0 && batch <= len);
    fits.ok_or(DataError::BatchTooLarge { batch, len })
}

fn generator(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    for (slot, word) in key.chunks_exact_mut(8).zip([seed, epoch, 0, 0x45_504f_4348]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

fn permute<T>(values: &mut [T], generator: &mut ChaCha8Rng) {
    for last in (1..values.len()).rev() {
        let wide = u128::from(generator.next_u64()) * (last as u128 + 1);
        values.swap(last, (wide >> 64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_picture_at_most_once(seed: u64, epoch in 0u64..50, len in 1usize..400, batch in 1usize..50) {
            prop_assume!(batch <= len);
            let plan = EpochPlan::new(seed, epoch, len, batch).unwrap();
            let mut seen = vec![false; len];
            for k in 0..plan.n_batches() {
                for i in plan.batch(k, Partition::WHOLE) {
                    prop_assert!(!std::mem::replace(&mut seen[i], true));
                }
            }
            let n = seen.iter().filter(|s| **s).count();
            prop_assert_eq!(n, len / batch * batch);
        }

        #[test]
        fn windows_hold_every_picture_at_most_once_and_few_row_groups_at_a_time(
            seed: u64,
            groups in prop::collection::vec((0u32..30, 1u32..100), 1..60),
            window in 1u64..600,
            batch in 1usize..40,
        ) {
            let len: usize = groups.iter().map(|g| g.0 as usize).sum();
            prop_assume!(batch <= len);
            let plan = EpochPlan::in_windows(seed, 7, &groups, window, batch).unwrap();
            let order: Vec<usize> =
                (0..plan.n_batches()).flat_map(|k| plan.batch(k, Partition::WHOLE).collect::<Vec<_>>()).collect();
            let mut seen = vec![false; len];
            prop_assert!(order.iter().all(|&i| !std::mem::replace(&mut seen[i], true)));
            prop_assert_eq!(order.len(), len / batch * batch);
            // From a row group's first picture to its last, no more than one window is open.
            let mut group_of = Vec::new();
            for (g, (rows, _)) in groups.iter().enumerate() {
                group_of.extend(std::iter::repeat_n(g, *rows as usize));
            }
            let mut open: Vec<usize> = Vec::new();
            for (at, &i) in order.iter().enumerate() {
                if !open.contains(&group_of[i]) {
                    open.push(group_of[i]);
                }
                open.retain(|&g| order[at..].iter().any(|&j| group_of[j] == g));
                let bytes: u64 = open.iter().map(|&g| u64::from(groups[g].1)).sum();
                prop_assert!(open.len() == 1 || bytes <= window, "{bytes} of {window}");
            }
        }

        #[test]
        fn replicas_share_the_same_global_batches(seed: u64, world in 1usize..5, len in 20usize..100) {
            let plan = EpochPlan::new(seed, 3, len, 20).unwrap();
            for k in 0..plan.n_batches() {
                let whole: Vec<_> = plan.batch(k, Partition::WHOLE).collect();
                let shares: Vec<_> = (0..world)
                    .flat_map(|rank| plan.batch(k, Partition { rank, world }).collect::<Vec<_>>())
                    .collect();
                prop_assert_eq!(whole, shares);
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order = |seed, epoch| {
            EpochPlan::new(seed, epoch, 100, 100).unwrap().batch(0, Partition::WHOLE).collect::<Vec<_>>()
        };
        assert_ne!(order(0, 0), order(0, 1));
        assert_ne!(order(0, 0), order(1, 0));
        assert_eq!(order(5, 2), order(5, 2));
    }

    #[test]
    fn a_window_has_row_groups_from_all_over_the_set() {
        let groups = [(10, 1); 1000];
        let plan = EpochPlan::in_windows(3, 0, &groups, 40, 400).unwrap();
        let quarters = plan.batch(0, Partition::WHOLE).fold([0; 4], |mut n, i| {
            n[i / 2500] += 1;
            n
        });
        // 40 groups of 1000: of a quarter 10, standard deviation 2.7.
        assert!(quarters.iter().all(|n| (20..=200).contains(n)), "{quarters:?}");
    }

    #[test]
    fn a_batch_larger_than_the_set_is_refused() {
        let error = EpochPlan::new(0, 0, 10, 11).unwrap_err();
        assert!(error.to_string().contains("at most 10"), "{error}");
        assert!(EpochPlan::new(0, 0, 10, 0).is_err());
    }

    #[test]
    fn a_cursor_walks_over_epochs() {
        let mut cursor = Cursor::default();
        for _ in 0..7 {
            cursor = cursor.next(3);
        }
        assert_eq!(cursor, Cursor { epoch: 2, batch: 1 });
    }
}
