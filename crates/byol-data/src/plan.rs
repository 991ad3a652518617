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
        let fits = u32::try_from(len).ok().filter(|_| batch > 0 && batch <= len);
        let n = fits.ok_or(DataError::BatchTooLarge { batch, len })?;
        let mut key = [0u8; 32];
        for (slot, word) in key.chunks_exact_mut(8).zip([seed, epoch, 0, 0x45_504f_4348]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        let mut order: Vec<u32> = (0..n).collect();
        for last in (1..order.len()).rev() {
            let wide = u128::from(generator.next_u64()) * (last as u128 + 1);
            order.swap(last, (wide >> 64) as usize);
        }
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
