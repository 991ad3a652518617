//! Replicas, here as threads, take the steps of one process.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support {
    pub mod networks;
    pub mod threads;
}

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Distribution, Tensor};
use byol_model::{Collective, NamedTensor, OneProcess, ResNet, Role, SharedStatistics, named_tensors};
use byol_train::{Byol, OptimizerKind, OptimizerSpec};
use support::networks::networks;
use support::threads::Threads;

const SGD: OptimizerSpec = OptimizerSpec {
    kind: OptimizerKind::Sgd,
    momentum: 0.9,
    nesterov: false,
    weight_decay: 0.0,
    trust: 1e-2,
    beta2: 0.999,
    epsilon: 1e-8,
};
const STEPS: usize = 20;
const BATCH: usize = 32;
/// So small that a ReLU which another order of summing turns on or off does not show in the losses.
const RATE: f64 = 1e-5;

/// Losses with z std and a constant's cosine, and all tensors afterwards.
type Trained = (Vec<[f64; 3]>, Vec<NamedTensor>);

/// `STEPS` steps; the views are `parts` to the step, of which each replica has its own.
fn trained(
    mut byol: Byol<ResNet>,
    views: &[[Tensor<4>; 2]],
    parts: usize,
    collective: &dyn Collective,
) -> Trained {
    let n = BATCH / collective.world() / parts;
    let mut losses = Vec::new();
    for step in views {
        let part = |i: usize| {
            // As the loader shares out: a part is the same pictures for any number of replicas.
            let first = (i * collective.world() + collective.rank()) * n;
            Ok(step.clone().map(|view| view.narrow(0, first, n)))
        };
        let (next, values) = byol.step_over(parts, part, RATE, 0.95, collective).unwrap();
        byol = next;
        losses.push([values.loss, values.z_std, values.constant_cosine]);
    }
    (losses, [named_tensors(&byol.online), byol.target.named_tensors()].concat())
}

/// As many replicas as asked for, each on its thread.
fn replicas(
    world: usize,
    shared: bool,
    parts: usize,
    start: &[NamedTensor],
    views: &[[Tensor<4>; 2]],
) -> Vec<Trained> {
    let all = Threads::new(world);
    std::thread::scope(|scope| {
        let one = |rank: usize| {
            let replica: Arc<dyn Collective> = Arc::new(all.replica(rank));
            scope.spawn(move || {
                let mut byol = networks(Some(start), SGD, &Device::flex().autodiff());
                byol.shared = shared.then(|| SharedStatistics::new(replica.clone()));
                trained(byol, views, parts, replica.as_ref())
            })
        };
        let threads: Vec<_> = (0..world).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Tests draw from one generator: one at a time, so that each draws the same.
static DRAWING: Mutex<()> = Mutex::new(());

fn setting() -> (Vec<NamedTensor>, Vec<[Tensor<4>; 2]>, Device) {
    let device = Device::flex().autodiff();
    device.seed(7);
    let start = named_tensors(&networks(None, SGD, &device).online);
    let view = || Tensor::<4>::random([BATCH, 1, 16, 16], Distribution::Normal(0.0, 1.0), &device);
    (start, (0..STEPS).map(|_| [view(), view()]).collect(), device)
}

/// Losses to 1e-4, and what the steps changed, to 1 %.
fn compare(start: &[NamedTensor], one: &Trained, others: &[Trained], buffers: bool, what: &str) {
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
    let begun = start.iter().chain(start.iter().filter(|tensor| !tensor.name.starts_with("predictor")));
    for (rank, (losses, tensors)) in others.iter().enumerate() {
        // Diagnostics are of the pictures that normalisations see together.
        let compared = if buffers { 3 } else { 1 };
        for (step, (a, b)) in one.0.iter().zip(losses).enumerate() {
            for (a, b) in a.iter().zip(b).take(compared) {
                assert!((a - b).abs() <= 1e-4, "{what}, replica {rank}, step {step}: {b} against {a}");
            }
        }
        assert!(one.1.len() == tensors.len() && tensors.len() == begun.clone().count());
        for ((s, a), b) in begun.clone().zip(&one.1).zip(tensors) {
            if a.role == Role::Buffer && !buffers {
                continue;
            }
            let (step, gap) = (apart(&s.values, &a.values), apart(&a.values, &b.values));
            let rounding = 5e-7 * apart(&a.values, &vec![0.0; a.values.len()]);
            assert!(
                gap <= 0.01 * step + rounding,
                "{what}, replica {rank}: `{}` is {gap} of {step} apart",
                a.name
            );
        }
    }
    // Among themselves to the bit.
    for (_, tensors) in &others[1..] {
        for (a, b) in others[0].1.iter().zip(tensors).filter(|(a, _)| buffers || a.role != Role::Buffer) {
            assert!(a.values == b.values, "{what}: `{}` differs from replica to replica", a.name);
        }
    }
}

#[test]
fn replicas_that_share_statistics_are_one_process() {
    let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    let (start, views, device) = setting();
    for (world, parts) in [(2, 1), (4, 1), (2, 2)] {
        let one = trained(networks(Some(&start), SGD, &device), &views, parts, &OneProcess);
        let what = format!("{world} replicas of {parts} micro-batch(es)");
        compare(&start, &one, &replicas(world, true, parts, &start, &views), true, &what);
    }
}

/// What their batch normalisations see are micro-batches.
#[test]
fn replicas_that_do_not_are_one_process_with_micro_batches() {
    let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    let (start, views, device) = setting();
    for (world, parts) in [(2, 1), (4, 1), (2, 2)] {
        let one = trained(networks(Some(&start), SGD, &device), &views, world * parts, &OneProcess);
        let what = format!("{world} replicas of {parts} micro-batch(es)");
        compare(&start, &one, &replicas(world, false, parts, &start, &views), false, &what);
    }
    // And that is something else than the whole batch.
    let [whole, halves] =
        [1, 2].map(|parts| trained(networks(Some(&start), SGD, &device), &views, parts, &OneProcess).0);
    assert!(
        whole.iter().zip(&halves).any(|(a, b)| (a[0] - b[0]).abs() > 1e-3),
        "the test sees no difference"
    );
}
