//! What a machine can do at most: the floor beneath the time of an operation.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::Precision;
use crate::isa::{Isa, Kernel, Path, Way, run};

/// What all threads of the current pool do together at most, measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Floating-point operations in a second, a product and its sum being two, on values in
    /// registers.
    pub flops: f64,
    /// Bytes read in a second from memory that is in no cache.
    pub bytes: f64,
}

/// Sums that are in flight: two units, four cycles and more; and as many as stay in registers where a
/// vector takes two of sixteen.
const SUMS: usize = 12;
const FEW_SUMS: usize = 6;
/// Products and sums between two looks at the clock.
const ROUNDS: usize = 400_000;
/// Values that each thread reads.
const VALUES: usize = 16 << 20;
/// The best of so many.
const REPEATS: usize = 9;

impl Floor {
    /// Takes about a second, and 64 MiB a thread. Products are of what convolutions multiply here
    /// (see [`autocast`](crate::autocast)): pairs of bf16 values where the path has them.
    pub fn measure(path: Path) -> Self {
        let path = if path.is_available() { path } else { Path::Portable };
        let way = Way::of(path, Precision::current());
        let threads = rayon::current_num_threads();
        let flops = rate::<SUMS>(way, threads).max(rate::<FEW_SUMS>(way, threads));
        let memory: Vec<Vec<f32>> = (0..threads).into_par_iter().map(|_| vec![1.0; VALUES]).collect();
        let reads = best(|| {
            memory.par_iter().with_max_len(1).for_each(|values| {
                let mut out = [0.0];
                // SAFETY: the path is available.
                unsafe { run(path, Sum { values, to: &mut out }) };
                black_box(out);
            });
        });
        Self { flops, bytes: (4 * VALUES * threads) as f64 / reads.as_secs_f64() }
    }

    /// Seconds that so many operations on so many bytes take at least.
    pub fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops).max(bytes / self.bytes)
    }
}

/// Operations in a second with `N` sums a thread in flight.
fn rate<const N: usize>(way: Way, threads: usize) -> f64 {
    let products = best(|| {
        // One each: of short tasks, a thread that is awake would do all.
        rayon::broadcast(|_| {
            let mut out = [0.0];
            // SAFETY: the path is available, see above.
            unsafe { run(way, Products::<N> { pairs: way.is_pairs(), to: &mut out }) };
            black_box(out);
        });
    });
    (way.values(2) * N * way.lanes() * ROUNDS * threads) as f64 / products.as_secs_f64()
}

fn best(mut work: impl FnMut()) -> Duration {
    let time = |work: &mut dyn FnMut()| {
        let clock = Instant::now();
        work();
        clock.elapsed()
    };
    (0..REPEATS).map(|_| time(&mut work)).min().unwrap_or(Duration::MAX)
}

struct Products<'a, const N: usize> {
    pairs: bool,
    to: &'a mut [f32; 1],
}

impl<const N: usize> Kernel for Products<'_, N> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: values in registers, and one that is written.
        unsafe {
            let (a, b) = (I::splat(black_box(0.5)), I::splat(black_box(1.0)));
            let mut sums = [a; N];
            for i in 0..N {
                sums[i] = I::splat(black_box(i as f32));
            }
            if self.pairs {
                for _ in 0..ROUNDS {
                    for i in 0..N {
                        sums[i] = I::add_product(a, b, sums[i]);
                    }
                }
            } else {
                // A product that does not change would be taken out of the loop.
                for _ in 0..ROUNDS {
                    for i in 0..N {
                        sums[i] = I::add_product(a, sums[i], b);
                    }
                }
            }
            let mut all = sums[0];
            for i in 1..N {
                all = I::add(all, sums[i]);
            }
            I::store_some(self.to.as_mut_ptr(), all, 1);
        }
    }
}

struct Sum<'a> {
    values: &'a [f32],
    to: &'a mut [f32; 1],
}

impl Kernel for Sum<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: whole blocks of vectors are within the values.
        unsafe {
            let mut sums = [I::splat(0.0); SUMS];
            for block in self.values.chunks_exact(SUMS * I::LANES) {
                for i in 0..SUMS {
                    sums[i] = I::add(sums[i], I::load(block.as_ptr().add(i * I::LANES)));
                }
            }
            let mut all = sums[0];
            for i in 1..SUMS {
                all = I::add(all, sums[i]);
            }
            I::store_some(self.to.as_mut_ptr(), all, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_what_takes_longer() {
        let floor = Floor { flops: 100.0, bytes: 10.0 };
        assert!((floor.seconds(100.0, 1.0) - 1.0).abs() < 1e-12);
        assert!((floor.seconds(100.0, 100.0) - 10.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_measured_is_a_machine() {
        let floor = Floor::measure(Path::current());
        // From a slow core under a debugger to a large machine.
        assert!((1e6..1e16).contains(&floor.flops) && (1e6..1e14).contains(&floor.bytes), "{floor:?}");
    }
}
