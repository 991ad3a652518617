//! Two halves of a step side by side.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::TrainError;

/// Where the halves of a step are computed: the online network's passes beside the target's, and
/// the gradients of the two directions beside each other. Results have the same bits either way,
/// unless an encoder draws random numbers.
///
/// On CPUs a small step is many operations of a fraction of a millisecond; to share out each of
/// them costs more than to share out the step once. On accelerators, stay with one lane.
#[derive(Debug, Default)]
pub struct Lanes {
    pool: Option<ThreadPool>,
}

impl Lanes {
    /// One after the other, in the thread that asks.
    pub fn one() -> Self {
        Self::default()
    }

    /// Side by side on so many threads; of one thread, [`one`](Self::one). A thread whose lane
    /// is done, or waits, takes parts of the other's operations.
    ///
    /// # Errors
    ///
    /// If the system gives no threads.
    pub fn of(threads: usize) -> Result<Self, TrainError> {
        if threads < 2 {
            return Ok(Self::one());
        }
        let name = |thread| format!("lane {thread}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
        Ok(Self { pool: Some(pool.map_err(|e| TrainError::Threads(e.to_string()))?) })
    }

    /// Both, and waits for both.
    pub(crate) fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let Some(pool) = &self.pool else { return (first(), second()) };
        let (begun, mut of_second) = (AtomicBool::new(false), None);
        let of_first = pool.scope(|scope| {
            scope.spawn(|_| {
                begun.store(true, Ordering::Relaxed);
                of_second = Some(second());
            });
            // Another thread has to have the second, and not this one while an operation of the
            // first waits: whatever the first holds then, the second may want.
            while !begun.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            first()
        });
        // Cannot be missing: the scope waited for it, and a panic there is one here.
        #[expect(clippy::expect_used, reason = "see above")]
        let of_second = of_second.expect("the scope waited for it");
        (of_first, of_second)
    }
}
