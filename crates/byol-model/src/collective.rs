/// What the replicas of a run do together. One process is its own only replica;
/// other implementations sum over machines.
pub trait Collective: Send + Sync + std::fmt::Debug {
    /// Replicas.
    fn world(&self) -> usize;

    /// This replica, from 0.
    fn rank(&self) -> usize;

    /// Replaces `values` by their sums over all replicas, which all call this
    /// with the same length and in the same order.
    ///
    /// # Errors
    ///
    /// If a replica is gone or the network fails.
    fn sum(&self, values: &mut [f32]) -> Result<(), std::io::Error>;
}

/// A run of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct OneProcess;

impl Collective for OneProcess {
    fn world(&self) -> usize {
        1
    }

    fn rank(&self) -> usize {
        0
    }

    fn sum(&self, _: &mut [f32]) -> Result<(), std::io::Error> {
        Ok(())
    }
}
