//! Where a step is computed changes none of its bits.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support {
    pub mod networks;
}

use burn::tensor::{Device, Distribution, Tensor};
use byol_model::{NamedTensor, OneProcess, ResNet, named_tensors};
use byol_train::{Byol, Lanes, OptimizerKind, OptimizerSpec};

const SGD: OptimizerSpec = OptimizerSpec {
    kind: OptimizerKind::Sgd,
    momentum: 0.9,
    nesterov: false,
    weight_decay: 1e-4,
    trust: 1e-3,
    beta2: 0.999,
    epsilon: 1e-8,
};

fn networks(start: Option<&[NamedTensor]>, lanes: Lanes, device: &Device) -> Byol<ResNet> {
    Byol { lanes, ..support::networks::networks(start, SGD, device) }
}

#[test]
fn lanes_change_no_bit() {
    let device = Device::flex().autodiff();
    device.seed(5);
    let start = named_tensors(&networks(None, Lanes::one(), &device).online);
    let view = || Tensor::<4>::random([6, 1, 12, 12], Distribution::Normal(0.0, 1.0), &device);
    let views: Vec<[Tensor<4>; 2]> = (0..6).map(|_| [view(), view()]).collect();
    let trained = |lanes: Lanes, parts: usize| {
        let mut byol = networks(Some(&start), lanes, &device);
        let mut seen = Vec::new();
        for step in views.chunks(parts) {
            let of = |part: usize| Ok(step[part].clone());
            let (next, values) = byol.step_over(parts, of, 0.1, 0.9, &OneProcess).unwrap();
            byol = next;
            seen.push([values.loss, values.loss_v, values.loss_v_prime, values.z_std].map(f64::to_bits));
        }
        let all = [named_tensors(&byol.online), byol.target.named_tensors()].concat();
        let bits = |t: NamedTensor| (t.name, t.values.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        (seen, all.into_iter().map(bits).collect::<Vec<_>>())
    };
    for parts in [1, 2] {
        let (seen, tensors) = trained(Lanes::one(), parts);
        assert!(tensors.iter().zip(&start).any(|(a, b)| a.1[0] != b.values[0].to_bits()), "it learned");
        for threads in [2, 5] {
            let (also, others) = trained(Lanes::of(threads).unwrap(), parts);
            assert_eq!(seen, also, "{threads} threads, {parts} parts");
            for (one, other) in tensors.iter().zip(others) {
                assert!(*one == other, "`{}` with {threads} threads, {parts} parts", one.0);
            }
        }
    }
}

/// What breaks in a lane breaks the step.
#[test]
#[should_panic(expected = "channels")]
fn a_panic_in_a_lane_is_the_steps() {
    let device = Device::flex().autodiff();
    let byol = networks(None, Lanes::of(2).unwrap(), &device);
    let view = || Tensor::<4>::zeros([2, 3, 12, 12], &device);
    let _ = byol.step(view(), view(), 0.1, 0.9, &OneProcess);
}
