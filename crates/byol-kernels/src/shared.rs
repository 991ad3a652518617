//! Batches that are spread over several processes.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Arc;

/// Adds numbers up over the processes that have parts of a batch, each as many samples.
pub trait Exchange: Send + Sync + Debug {
    /// Processes.
    fn world(&self) -> usize;

    /// Replaces `sums` by their sums over all processes. All of them call it with as many numbers in
    /// the same order. What fails is told by other means: within a backward pass there is nobody to
    /// tell it to.
    fn sum(&self, sums: &mut [f64]);
}

/// With whom statistics are shared, if with anybody.
pub(crate) type Shared = Option<Arc<dyn Exchange>>;

thread_local! {
    static CURRENT: RefCell<Shared> = const { RefCell::new(None) };
}

/// With whom the operations share that this thread calls now.
pub(crate) fn current() -> Shared {
    CURRENT.with_borrow(Clone::clone)
}

/// Gives what was before back, whatever happens.
struct Restore(Shared);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Calls `f`, in which normalisations by the batch that this thread calls take mean and variance over
/// the batches of all processes of `exchange`, and so do their gradients, whenever they are computed:
/// synchronised batch normalisation.
///
/// Gradients of γ and β are those of this process' results: whoever averages the gradients of all
/// parameters over the processes has those of the mean loss.
pub fn statistics_shared<R>(exchange: Arc<dyn Exchange>, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(CURRENT.replace(Some(exchange)));
    f()
}

/// Mean and variance of all processes' rows, of those of each, which has as many. Squares are exchanged in
/// f64: of them nothing is lost that f32 would show unless a mean is 10⁴ deviations.
pub(crate) fn of_all(exchange: &dyn Exchange, means: &[f64], variances: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let squares = means.iter().zip(variances).map(|(mean, variance)| variance + mean * mean);
    let mut both: Vec<f64> = means.iter().copied().chain(squares).collect();
    exchange.sum(&mut both);
    let world = exchange.world() as f64;
    let (means, squares) = both.split_at(means.len());
    let variance = |(sum, square): (&f64, &f64)| (square / world - (sum / world).powi(2)).max(0.0);
    (means.iter().map(|sum| sum / world).collect(), means.iter().zip(squares).map(variance).collect())
}
