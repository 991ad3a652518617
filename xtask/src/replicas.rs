//! The processes of a run: this one alone, or those that mpirun or srun started with it.

use std::sync::Arc;

use anyhow::Result;
use byol_model::Collective;

/// What tells a process that it is one of several, by whoever started it: Open MPI, MPICH and Intel MPI, Slurm.
#[cfg(not(feature = "mpi"))]
const COUNTS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// All of them, who have to call this, too.
#[derive(Debug, Clone)]
pub struct Replicas {
    pub all: Arc<dyn Collective>,
    #[cfg(feature = "mpi")]
    mpi: Arc<byol_train::Mpi>,
}

impl Replicas {
    /// Meets the others.
    #[cfg(feature = "mpi")]
    pub fn join() -> Result<Self> {
        use anyhow::Context as _;
        let mpi = Arc::new(byol_train::Mpi::join().context("joining the other processes")?);
        Ok(Self { all: mpi.clone(), mpi })
    }

    /// Meets the others, of whom there are none in this build.
    #[cfg(not(feature = "mpi"))]
    pub fn join() -> Result<Self> {
        let started = |name: &&str| std::env::var(name).ok()?.parse().ok().filter(|n: &u32| *n > 1);
        if let Some(n) = COUNTS.iter().find_map(started) {
            anyhow::bail!(
                "this is one of {n} processes, and this build knows nothing of the others; use the program of \
                 `cargo xtask-mpi --build`"
            );
        }
        Ok(Self { all: Arc::new(byol_model::OneProcess) })
    }

    /// Whether this process speaks for all: writes files, and says how it goes.
    pub fn leads(&self) -> bool {
        self.all.rank() == 0
    }

    /// What becomes of the others if this process fails: they would wait for it for ever.
    pub fn end(&self, result: Result<()>) -> Result<()> {
        #[cfg(feature = "mpi")]
        if let Err(error) = &result
            && self.all.world() > 1
            && !error.is::<crate::exit::Interrupted>()
        {
            crate::terminal::tell(&format!("error (process {}): {error:#}", self.all.rank()));
            self.mpi.abort(1);
        }
        result
    }
}
