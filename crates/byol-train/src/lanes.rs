//! Two halves of a step side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::TrainError;

/// Where the halves of a step are computed: the online network's passes beside the target's, and
/// the gradients of the two directions beside each other. Results of our encoders have the same bits
/// either way. An encoder of yours that draws random numbers, sums millions of values at once by Burn's
/// own operations or has Burn's batch normalisation may not have them, and must not leave jobs in Rayon's
/// pool behind that wait for something.
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

    /// Both, and waits for both. One caller at a time: of two, each could hold what the other's lane wants.
    pub(crate) fn both<A: Send, B: Send>(
        &mut self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let Some(pool) = &self.pool else { return (first(), second()) };
        let begun = AtomicUsize::new(0);
        let (first, second) = (Lane::new(first), Lane::new(second));
        // Broadcast, and not spawned: that is sure to wake a thread which sleeps, and each lane is on
        // the same thread in every step, whose part of the allocator then fits.
        pool.broadcast(|thread| match thread.index() {
            0 => first.run(&begun),
            1 => second.run(&begun),
            _ => {} // helps
        });
        (first.result(), second.result())
    }
}

/// What a lane does, and then what came of it.
struct Lane<F, R>(Mutex<(Option<F>, Option<R>)>);

impl<R, F: FnOnce() -> R> Lane<F, R> {
    fn new(work: F) -> Self {
        Self(Mutex::new((Some(work), None)))
    }

    /// Begins when both lanes have a thread, so that neither is computed by the thread of the other
    /// while an operation of that one waits: whatever one holds then, the other may want.
    fn run(&self, begun: &AtomicUsize) {
        begun.fetch_add(1, Ordering::Relaxed);
        while begun.load(Ordering::Relaxed) < 2 {
            std::thread::yield_now();
        }
        // No other thread has this lane.
        let mut lane = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lane.1 = lane.0.take().map(|work| work());
    }

    #[expect(clippy::expect_used, reason = "the broadcast has waited for it, and a panic there is one here")]
    fn result(self) -> R {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).1.expect("it has run")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn each_lane_has_a_thread() {
        for threads in [2, 3, 5] {
            let mut lanes = Lanes::of(threads).unwrap();
            for i in 0..300u64 {
                // Threads of the pool are awake, about to sleep, or asleep.
                std::thread::sleep(std::time::Duration::from_micros(i % 40));
                let meeting = Barrier::new(2);
                let lane = || {
                    meeting.wait();
                    std::thread::current().id()
                };
                let (one, other) = lanes.both(lane, lane);
                assert_ne!(one, other);
            }
        }
    }

    #[test]
    fn one_lane_is_the_thread_that_asks() {
        let lane = || std::thread::current().id();
        assert_eq!(Lanes::of(1).unwrap().both(lane, lane), (lane(), lane()));
    }
}
