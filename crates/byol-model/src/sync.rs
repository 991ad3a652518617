//! Batch normalisation over the batches of all replicas.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Collective;

/// Has normalisations take mean and variance over the batches of all replicas, forward and backward
/// (synchronised batch normalisation; the paper's runs, section 3.3 and DeepMind's code, have it over all
/// cores). Needs feature `kernels`.
#[derive(Debug)]
pub struct SharedStatistics {
    #[cfg_attr(
        not(feature = "kernels"),
        expect(dead_code, reason = "normalisations of the kernels alone share")
    )]
    collective: Arc<dyn Collective>,
    /// A backward pass has nobody to tell an error to.
    failed: Mutex<Option<io::Error>>,
}

impl SharedStatistics {
    /// Over the replicas of `collective`, of which each has as many pictures.
    pub fn new(collective: Arc<dyn Collective>) -> Arc<Self> {
        Arc::new(Self { collective, failed: Mutex::new(None) })
    }

    /// Whether this build has it.
    pub fn is_available() -> bool {
        cfg!(feature = "kernels")
    }

    /// Calls `f`, in which normalisations by the batch that this thread calls share their statistics; so do
    /// their gradients, whenever they are computed. All replicas call the same ones in the same order:
    /// by one thread at a time.
    pub fn scope<R>(self: &Arc<Self>, f: impl FnOnce() -> R) -> R {
        #[cfg(feature = "kernels")]
        {
            byol_kernels::statistics_shared(self.clone(), f)
        }
        #[cfg(not(feature = "kernels"))]
        f()
    }

    /// What went wrong since this was last asked.
    ///
    /// # Errors
    ///
    /// The first error of the exchanges since then, whose sums are no numbers.
    pub fn check(&self) -> Result<(), io::Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

#[cfg(feature = "kernels")]
impl byol_kernels::Exchange for SharedStatistics {
    fn world(&self) -> usize {
        self.collective.world()
    }

    fn sum(&self, sums: &mut [f64]) {
        if let Err(error) = self.collective.sum_f64(sums) {
            sums.fill(f64::NAN);
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}
