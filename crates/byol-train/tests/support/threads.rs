//! Threads as replicas.

use std::io;
use std::sync::{Arc, Barrier, Mutex};

use byol_model::Collective;

/// What threads meet at.
#[derive(Debug)]
pub struct Threads {
    world: usize,
    barrier: Arc<Barrier>,
    /// Each replica's numbers, and bytes of the first.
    numbers: Arc<Mutex<Vec<Vec<f64>>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Threads {
    pub fn new(world: usize) -> Self {
        let numbers = Arc::new(Mutex::new(vec![Vec::new(); world]));
        Self { world, barrier: Arc::new(Barrier::new(world)), numbers, bytes: Arc::default() }
    }

    pub fn replica(&self, rank: usize) -> Replica {
        let Self { world, barrier, numbers, bytes } = self;
        Replica {
            rank,
            world: *world,
            barrier: barrier.clone(),
            numbers: numbers.clone(),
            bytes: bytes.clone(),
        }
    }
}

/// One of them.
#[derive(Debug)]
pub struct Replica {
    rank: usize,
    world: usize,
    barrier: Arc<Barrier>,
    numbers: Arc<Mutex<Vec<Vec<f64>>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Collective for Replica {
    fn world(&self) -> usize {
        self.world
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn sum(&self, values: &mut [f32]) -> io::Result<()> {
        let mut wide: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
        self.sum_f64(&mut wide)?;
        values.iter_mut().zip(wide).for_each(|(x, sum)| *x = sum as f32);
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> io::Result<()> {
        self.numbers.lock().unwrap()[self.rank] = values.to_vec();
        self.barrier.wait();
        let all = self.numbers.lock().unwrap().clone();
        assert!(all.iter().all(|of| of.len() == values.len()), "replicas call different sums");
        for (i, x) in values.iter_mut().enumerate() {
            *x = all.iter().map(|of| of[i]).sum();
        }
        self.barrier.wait();
        Ok(())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if self.rank == 0 {
            *self.bytes.lock().unwrap() = bytes.clone();
        }
        self.barrier.wait();
        bytes.clone_from(&self.bytes.lock().unwrap());
        self.barrier.wait();
        Ok(())
    }
}
