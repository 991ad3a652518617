//! What the replicas of a run agree on.

use byol_model::{Collective, Encoder, named_tensors};

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

/// Ends a run whose replicas have come apart: θ and ξ are the same bits everywhere. Running statistics
/// are not compared: without synchronised normalisation each replica has its own.
pub(crate) fn compare<E: Encoder>(
    collective: &dyn Collective,
    byol: &Byol<E>,
    step: u64,
) -> Result<(), TrainError> {
    let hash = byol
        .target
        .named_tensors()
        .into_iter()
        .chain(named_tensors(&byol.online))
        .filter(|tensor| tensor.role != byol_model::Role::Buffer)
        .flat_map(|tensor| tensor.values)
        // FNV-1a over the values' bits.
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, x| {
            (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
        });
    // Sums of halves are exact in f64.
    let own = [hash >> 32, hash & 0xffff_ffff].map(|half| half as f64);
    let mut sums = own;
    collective.sum_f64(&mut sums).map_err(TrainError::Collective)?;
    let alike = own.iter().zip(&sums).all(|(own, sum)| own * collective.world() as f64 == *sum);
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
            if let [_, low] = values {
                *low += self.gap;
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
            compare(&Others { world, gap: 0.0 }, &byol, 100).unwrap();
            for gap in [1.0, -1.0] {
                let apart = compare(&Others { world, gap }, &byol, 100).unwrap_err();
                assert!(matches!(apart, TrainError::Apart { step: 100, .. }), "{apart}");
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
