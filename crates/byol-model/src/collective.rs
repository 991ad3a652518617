//! What the replicas of a run do together.

use std::io;
use std::time::Duration;

/// What the replicas of a run do together. One process is its own only replica;
/// other implementations sum over machines. All replicas call the same operations in the same
/// order.
pub trait Collective: Send + Sync + std::fmt::Debug {
    /// Replicas.
    fn world(&self) -> usize;

    /// This replica, from 0.
    fn rank(&self) -> usize;

    /// Replaces `values` by their sums over all replicas, which all call this
    /// with the same length: gradients.
    ///
    /// # Errors
    ///
    /// If a replica is gone or the network fails.
    fn sum(&self, values: &mut [f32]) -> Result<(), io::Error>;

    /// As [`sum`](Self::sum): statistics, counts and what must be exact.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), io::Error>;

    /// Replaces everybody's `bytes` by those of replica 0.
    ///
    /// # Errors
    ///
    /// As [`sum`](Self::sum).
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), io::Error>;

    /// Time spent in all of this so far, waiting for others included.
    fn spent(&self) -> Duration {
        Duration::ZERO
    }
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

    fn sum(&self, _: &mut [f32]) -> Result<(), io::Error> {
        Ok(())
    }

    fn sum_f64(&self, _: &mut [f64]) -> Result<(), io::Error> {
        Ok(())
    }

    fn broadcast(&self, _: &mut Vec<u8>) -> Result<(), io::Error> {
        Ok(())
    }
}
