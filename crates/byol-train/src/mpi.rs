//! Replicas as processes of MPI, on one machine or many.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use byol_model::Collective;
use mpi::Threading;
use mpi::collective::{CommunicatorCollectives, Root, SystemOperation};
use mpi::datatype::{Buffer, BufferMut};
use mpi::environment::Universe;
use mpi::topology::{Communicator, SimpleCommunicator};

/// Values of one call: MPI counts with 32 bits.
const MOST: usize = 1 << 28;

/// The processes that `mpirun` or `srun` started together; a process that was started by itself is the
/// only one.
///
/// A failure within MPI ends the process, and with it all the others, as MPI has it.
pub struct Mpi {
    rank: usize,
    world: usize,
    spent: AtomicU64,
    /// MPI is left when this is dropped. Held while a thread is in MPI: one at a time may be.
    universe: Mutex<Universe>,
}

impl Mpi {
    /// Enters MPI. Once in a process.
    ///
    /// # Errors
    ///
    /// If it was entered before, or the library allows no calls from other threads than the first.
    pub fn join() -> io::Result<Self> {
        let wanted = Threading::Serialized;
        let (universe, threading) = mpi::initialize_with_threading(wanted)
            .ok_or_else(|| io::Error::other("MPI was entered before in this process"))?;
        if threading < wanted {
            return Err(io::Error::other(format!(
                "this MPI library allows {threading:?} threads, and {wanted:?} are needed"
            )));
        }
        let world = universe.world();
        // Never negative.
        let number = |n: i32| usize::try_from(n).unwrap_or_default();
        let (rank, size) = (number(world.rank()), number(world.size()));
        Ok(Self { rank, world: size, spent: AtomicU64::new(0), universe: Mutex::new(universe) })
    }

    /// Ends all processes at once: for whoever cannot go on while the others wait for it.
    pub fn abort(&self, code: i32) -> ! {
        SimpleCommunicator::world().abort(code)
    }

    fn timed(&self, exchange: impl FnOnce(&SimpleCommunicator)) {
        let begun = Instant::now();
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner);
        exchange(&universe.world());
        drop(universe);
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent.fetch_add(nanos, Ordering::Relaxed);
    }

    fn summed<T: Copy>(&self, values: &mut [T])
    where
        [T]: Buffer + BufferMut,
    {
        if self.world == 1 {
            return;
        }
        self.timed(|world| {
            for values in values.chunks_mut(MOST) {
                let own = values.to_vec();
                world.all_reduce_into(&own[..], values, SystemOperation::sum());
            }
        });
    }
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("world", &self.world).finish_non_exhaustive()
    }
}

impl Collective for Mpi {
    fn world(&self) -> usize {
        self.world
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn sum(&self, values: &mut [f32]) -> io::Result<()> {
        self.summed(values);
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> io::Result<()> {
        self.summed(values);
        Ok(())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if self.world == 1 {
            return Ok(());
        }
        self.timed(|world| {
            let first = world.process_at_rank(0);
            let mut length = bytes.len() as u64;
            first.broadcast_into(&mut length);
            bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            for bytes in bytes.chunks_mut(MOST) {
                first.broadcast_into(bytes);
            }
        });
        Ok(())
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }
}
