//! Two halves of a step side by side.

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
    pools: Option<[ThreadPool; 2]>,
}

impl Lanes {
    /// One after the other, in the thread that asks.
    pub fn one() -> Self {
        Self::default()
    }

    /// Side by side, on half of so many threads each (one more where they are odd); of one thread,
    /// [`one`](Self::one).
    ///
    /// # Errors
    ///
    /// If the system gives no threads.
    pub fn of(threads: usize) -> Result<Self, TrainError> {
        if threads < 2 {
            return Ok(Self::one());
        }
        let pool = |lane: usize| {
            let name = move |thread| format!("lane {lane}.{thread}");
            ThreadPoolBuilder::new().num_threads(threads.div_ceil(2)).thread_name(name).build()
        };
        let pools = [pool(0), pool(1)].map(|pool| pool.map_err(|e| TrainError::Threads(e.to_string())));
        let [first, second] = pools;
        Ok(Self { pools: Some([first?, second?]) })
    }

    /// Both, and waits for both.
    pub(crate) fn both<A: Send, B: Send>(
        &self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let Some([here, there]) = &self.pools else { return (first(), second()) };
        let mut of_second = None;
        let of_first = there.in_place_scope(|scope| {
            scope.spawn(|_| of_second = Some(second()));
            here.install(first)
        });
        // Cannot be missing: the scope waited for it, and a panic there is one here.
        #[expect(clippy::expect_used, reason = "see above")]
        let of_second = of_second.expect("the scope waited for it");
        (of_first, of_second)
    }
}
