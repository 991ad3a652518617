//! What the replicas of a run agree on.

use burn::tensor::{Tensor, TensorData};
use byol_model::{Collective, Encoder, l2_normalize, named_tensors};

use crate::{Byol, RunPlan, TrainError};

/// Optimiser steps from one comparison of the replicas' parameters to the next.
pub(crate) const COMPARE_EVERY: u64 = 100;

/// Whether a run's batches can be shared out over `world` processes, each as many pictures.
///
/// # Errors
///
/// If they cannot, with what they would have to be.
pub fn check_world(plan: &RunPlan, world: usize) -> Result<(), TrainError> {
    let parts = plan.spec.accumulation;
    let each = plan.spec.batch / (world * parts).max(1);
    if world == 1 || plan.spec.batch.is_multiple_of(world * parts) && (each > 1 || plan.spec.sync_batch_norm)
    {
        return Ok(());
    }
    let pictures = if plan.spec.sync_batch_norm { "one picture" } else { "two pictures" };
    let expected = format!(
        "a multiple of {} with at least {pictures} for each of {world} processes and {parts} micro-batch(es)",
        world * parts
    );
    Err(TrainError::Spec { key: "batch", value: plan.spec.batch.to_string(), expected })
}

/// What the length of the parameters may differ by where they need not be the same bits.
const LENGTH: f64 = 1e-3;
/// Rows of all replicas that diagnostics look at, about.
const ROWS: usize = 256;

/// Projections of all replicas, the first of each, so many that they are some 256 or more.
pub(crate) fn gathered(collective: &dyn Collective, z: Tensor<2>) -> Result<Tensor<2>, TrainError> {
    let (world, rank) = (collective.world(), collective.rank());
    if world == 1 {
        return Ok(z);
    }
    let [n, d] = z.dims();
    let (each, device) = (n.min(ROWS.div_ceil(world).max(2)), z.device());
    let mut all = vec![0.0; world * each * d];
    let rows = z.narrow(0, 0, each).into_data();
    for (to, x) in all[rank * each * d..].iter_mut().zip(rows.iter::<f64>()) {
        *to = x;
    }
    collective.sum_f64(&mut all).map_err(TrainError::Collective)?;
    let all: Vec<f32> = all.into_iter().map(|x| x as f32).collect();
    Ok(Tensor::from_data(TensorData::new(all, [world * each, d]), &device))
}

/// [`embedding_std`](byol_model::embedding_std) of the projections of all replicas, and the mean of
/// [`constant_cosine`](byol_model::constant_cosine) over the targets', which each has as many of.
pub(crate) fn spread(
    collective: &dyn Collective,
    z: Tensor<2>,
    targets: [Tensor<2>; 2],
) -> Result<(f64, f64), TrainError> {
    let [n, d] = z.dims();
    let rows = |z: Tensor<2>| -> Vec<f64> { l2_normalize(z).into_data().iter::<f64>().collect() };
    let add = |sums: &mut [f64], rows: &[f64], f: fn(f64) -> f64| {
        rows.chunks_exact(d).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f(*x)));
    };
    let mut sums = vec![0.0; 4 * d];
    let z = rows(z);
    add(&mut sums[..d], &z, |x| x);
    add(&mut sums[d..2 * d], &z, |x| x * x);
    for (target, sums) in targets.into_iter().zip(sums[2 * d..].chunks_exact_mut(d)) {
        add(sums, &rows(target), |x| x);
    }
    collective.sum_f64(&mut sums).map_err(TrainError::Collective)?;
    let all = (n * collective.world()) as f64;
    sums.iter_mut().for_each(|x| *x /= all);
    let (means, squares) = (&sums[..d], &sums[d..2 * d]);
    let deviations = means.iter().zip(squares).map(|(mean, square)| (square - mean * mean).max(0.0).sqrt());
    let std = deviations.sum::<f64>() / d as f64 * (d as f64).sqrt();
    let length = |means: &[f64]| means.iter().map(|x| x * x).sum::<f64>().sqrt();
    let constant = sums[2 * d..].chunks_exact(d).map(length).sum::<f64>() / 2.0;
    Ok((std, constant))
}

/// Replica 0's number.
pub(crate) fn of_first(collective: &dyn Collective, x: f64) -> Result<f64, TrainError> {
    let mut number = [if collective.rank() == 0 { x } else { 0.0 }];
    collective.sum_f64(&mut number).map_err(TrainError::Collective)?;
    Ok(number[0])
}

/// Whether it is so for any replica.
pub(crate) fn any(collective: &dyn Collective, this: bool) -> Result<bool, TrainError> {
    let mut number = [f64::from(u8::from(this))];
    collective.sum_f64(&mut number).map_err(TrainError::Collective)?;
    Ok(number[0] > 0.0)
}

/// Ends a run whose replicas have come apart: θ and ξ are the same bits everywhere, or unless `exact` of about the
/// same length, for GPUs choose their kernels by measuring them, each for itself. Running statistics are not
/// compared: without synchronised normalisation each replica has its own.
pub(crate) fn compare<E: Encoder>(
    collective: &dyn Collective,
    byol: &Byol<E>,
    step: u64,
    exact: bool,
) -> Result<(), TrainError> {
    let values = byol
        .target
        .named_tensors()
        .into_iter()
        .chain(named_tensors(&byol.online))
        .filter(|tensor| tensor.role != byol_model::Role::Buffer)
        .flat_map(|tensor| tensor.values);
    let own = if exact {
        // FNV-1a over the values' bits, whose halves are exact in f64.
        let hash = values.fold(0xcbf2_9ce4_8422_2325_u64, |hash, x| {
            (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
        });
        [hash >> 32, hash & 0xffff_ffff].map(|half| half as f64)
    } else {
        [values.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt(), 0.0]
    };
    let mut sums = own;
    collective.sum_f64(&mut sums).map_err(TrainError::Collective)?;
    let allowed = if exact { 0.0 } else { LENGTH };
    let alike = |(own, sum): (&f64, &f64)| {
        let all = own * collective.world() as f64;
        all == *sum || (all - sum).abs() <= allowed * sum
    };
    let alike = own.iter().zip(&sums).all(alike);
    if any(collective, !alike)? { Err(TrainError::Apart { step, world: collective.world() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io;

    use burn::tensor::Device;
    use byol_model::Collective;

    use super::*;
    use crate::{DataFacts, SpecBuilder, init_networks};

    /// Other replicas, who have the same, or hashes that differ by `gap`.
    #[derive(Debug)]
    struct Others {
        world: usize,
        gap: f64,
        stretch: f64,
    }

    impl Collective for Others {
        fn world(&self) -> usize {
            self.world
        }

        fn rank(&self) -> usize {
            0
        }

        fn sum(&self, _: &mut [f32]) -> io::Result<()> {
            Ok(())
        }

        fn sum_f64(&self, values: &mut [f64]) -> io::Result<()> {
            values.iter_mut().for_each(|x| *x *= self.world as f64);
            if let [length, low] = values {
                *low += self.gap;
                *length *= 1.0 + self.stretch;
            }
            Ok(())
        }

        fn broadcast(&self, _: &mut Vec<u8>) -> io::Result<()> {
            Ok(())
        }
    }

    fn plan(batch: usize, accumulation: usize, sync_batch_norm: bool) -> RunPlan {
        let mut spec = SpecBuilder::preset("quick").unwrap().build().unwrap();
        (spec.batch, spec.accumulation, spec.sync_batch_norm) = (batch, accumulation, sync_batch_norm);
        spec.encoder.width = 2;
        RunPlan::of(spec, DataFacts { samples: 1000, channels: 1, ..DataFacts::default() }).unwrap()
    }

    #[test]
    fn a_replica_that_differs_ends_the_run() {
        let byol = init_networks(&plan(16, 1, true), None, &Device::flex()).unwrap();
        for world in [2, 3, 7] {
            compare(&Others { world, gap: 0.0, stretch: 0.0 }, &byol, 100, true).unwrap();
            compare(&Others { world, gap: 0.0, stretch: 0.0 }, &byol, 100, false).unwrap();
            for gap in [1.0, -1.0] {
                let apart = compare(&Others { world, gap, stretch: 0.0 }, &byol, 100, true).unwrap_err();
                assert!(matches!(apart, TrainError::Apart { step: 100, .. }), "{apart}");
            }
            let others = |stretch| Others { world, gap: 0.0, stretch };
            compare(&others(1e-4), &byol, 100, false).unwrap();
            for stretch in [0.01, -0.01, f64::NAN] {
                compare(&others(stretch), &byol, 100, false).unwrap_err();
            }
        }
    }

    #[test]
    fn batches_are_shared_out_evenly_or_refused() {
        for (batch, parts, sync, world) in
            [(16, 1, true, 4), (16, 2, false, 4), (16, 4, true, 4), (7, 1, false, 1)]
        {
            check_world(&plan(batch, parts, sync), world).unwrap();
        }
        for (batch, parts, sync, world) in
            [(16, 1, true, 3), (16, 8, true, 4), (16, 4, false, 4), (6, 1, true, 4)]
        {
            let refused = check_world(&plan(batch, parts, sync), world).unwrap_err();
            assert!(matches!(refused, TrainError::Spec { key: "batch", .. }), "{refused}");
        }
    }
}
