//! The processes of a run: this one alone, or those that mpirun or srun started with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[cfg(feature = "mpi")]
use anyhow::Context as _;
use anyhow::{Result, bail};
use byol_model::Collective;

/// What tells a process that it is one of several, by whoever started it: Open MPI, MPICH and Intel MPI, Slurm.
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
        let mpi = Arc::new(byol_train::Mpi::join().context("joining the other processes")?);
        if mpi.world() == 1
            && let Some(n) = started()
        {
            bail!(
                "this is one of {n} processes, and MPI knows of this one alone: was the program built for the MPI \
                 library that started it? With Slurm, see `srun --mpi=list`"
            );
        }
        Ok(Self { all: mpi.clone(), mpi })
    }

    /// Meets the others, of whom there are none in this build.
    #[cfg(not(feature = "mpi"))]
    pub fn join() -> Result<Self> {
        if let Some(n) = started() {
            bail!(
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

    /// Does this process' part. If it fails, all end: the others would wait for it for ever.
    pub fn all_or_none(&self, part: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.all.world() == 1 {
            return part();
        }
        let result = catch_unwind(AssertUnwindSafe(part));
        let result = result.unwrap_or_else(|_| bail!("it has panicked; what it said is above"));
        #[cfg(feature = "mpi")]
        if let Err(error) = &result
            && !error.is::<crate::exit::Interrupted>()
        {
            crate::terminal::tell(&format!("error (process {}): {error:#}", self.all.rank()));
            self.mpi.abort(1);
        }
        result
    }
}

/// As how many whoever started this process has started it, if as several.
fn started() -> Option<u32> {
    COUNTS.iter().find_map(|name| std::env::var(name).ok()?.parse().ok().filter(|n| *n > 1))
}

/// Processes of the run on this machine, as far as whoever started them says.
pub fn on_this_machine() -> u64 {
    const COUNTS: [&str; 4] = [
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "MPI_LOCALNRANKS",
        "MV2_COMM_WORLD_LOCAL_SIZE",
        "SLURM_NTASKS_PER_NODE",
    ];
    let number = |name| std::env::var(name).ok()?.parse().ok();
    COUNTS.into_iter().find_map(number).unwrap_or(1).max(1)
}
