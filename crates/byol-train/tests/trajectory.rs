//! Fifty steps with schedules, accumulation and exclusion against PyTorch
//! (tests/golden/trajectory).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use byol_model::{
    Encoder, HeadConfig, NamedTensor, OneProcess, OnlineNetwork, Precision, TargetNetwork, load_named,
    named_tensors,
};
use byol_train::{
    Byol, DataFacts, Lanes, Length, LrMultipliers, Optimizer, OptimizerKind, OptimizerSpec, RunPlan,
    SpecBuilder, learning_rate, tau,
};
use serde_json::Value;

const HEAD: HeadConfig = HeadConfig { layers: 1, hidden: 8, output: 8 };
const PART: usize = 8;
const PARTS: usize = 2;
const PIXELS: usize = 36;

/// tanh(LayerNorm(W x + b)).
#[derive(Module, Debug)]
struct Small {
    linear: Linear,
    norm: LayerNorm,
}

impl Encoder for Small {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.norm.forward(self.linear.forward(images.flatten(1, 3))).tanh()
    }

    fn dim(&self) -> usize {
        16
    }
}

/// `n` numbers of 16 bits from a counter; make.py has the same.
fn values(start: u32, n: usize) -> Vec<f32> {
    let one = |i: u32| {
        let x = i.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let x = ((x >> ((x >> 28) + 4)) ^ x).wrapping_mul(277_803_737);
        (((x >> 22) ^ x) >> 16) as f32 / 32768.0 - 1.0
    };
    (start..start + n as u32).map(one).collect()
}

/// The parameters of make.py for the tensors there are.
fn parameters(start: u32, of: &[NamedTensor]) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let order = [
        "encoder.linear.weight",
        "encoder.linear.bias",
        "encoder.norm.gamma",
        "encoder.norm.beta",
        "projector.output.weight",
        "predictor.output.weight",
    ];
    let fill = |tensor: &NamedTensor| {
        let nth = order.iter().position(|name| *name == tensor.name).unwrap() as u32;
        let offset = if tensor.name.ends_with("gamma") { 1.0 } else { 0.0 };
        let drawn = values(start + 10_000 * nth, tensor.values.len());
        let drawn = drawn.iter().map(|x| offset + x / 4.0).collect();
        (tensor.name.clone(), (tensor.shape.clone(), drawn))
    };
    of.iter().map(fill).collect()
}

fn networks(spec: OptimizerSpec, multipliers: LrMultipliers, device: &Device) -> Byol<Small> {
    let encoder = Small {
        linear: LinearConfig::new(PIXELS, 16).init(device),
        norm: LayerNormConfig::new(16).init(device),
    };
    let online = OnlineNetwork { encoder, projector: HEAD.init(16, device), predictor: HEAD.init(8, device) };
    let start = parameters(0, &named_tensors(&online));
    let online = load_named(online, start).unwrap();
    let target = TargetNetwork::copy_of(&online);
    let start = parameters(100_000, &target.named_tensors());
    let optimizer = Optimizer::new(spec).with_multipliers(multipliers);
    Byol {
        online,
        target: target.load_named(start).unwrap(),
        optimizer,
        lanes: Lanes::one(),
        precision: Precision::F32,
        shared: None,
    }
}

/// A plan with the schedules of the golden file.
fn plan(golden: &Value, peak_lr: f64) -> RunPlan {
    let mut spec = SpecBuilder::preset("quick").unwrap().build().unwrap();
    (spec.batch, spec.accumulation) = (PART * PARTS, PARTS);
    spec.base_lr = peak_lr * 256.0 / spec.batch as f64;
    spec.tau_base = golden["tau_base"].as_f64().unwrap();
    spec.length = Length::Steps(golden["steps"].as_u64().unwrap());
    spec.warmup = Length::Steps(golden["warmup_steps"].as_u64().unwrap());
    RunPlan::of(spec, DataFacts { samples: PART * PARTS, channels: 1, ..DataFacts::default() }).unwrap()
}

#[test]
fn fifty_steps_are_pytorchs() {
    let device = Device::flex().autodiff();
    let golden: Value =
        serde_json::from_str(include_str!("../../../tests/golden/trajectory/expected.json")).unwrap();
    let runs = golden["runs"].as_array().unwrap();
    assert_eq!((runs.len(), golden["steps"].as_u64()), (5, Some(50)));
    for run in runs {
        let name = run["name"].as_str().unwrap();
        let number = |key: &str| run[key].as_f64().unwrap();
        let spec = OptimizerSpec {
            kind: match run["kind"].as_str().unwrap() {
                "lars" => OptimizerKind::Lars,
                "sgd" => OptimizerKind::Sgd,
                _ => OptimizerKind::Adamw,
            },
            momentum: number("momentum"),
            nesterov: run["nesterov"].as_bool().unwrap(),
            weight_decay: number("weight_decay"),
            trust: number("trust"),
            beta2: number("beta2"),
            epsilon: number("epsilon"),
        };
        let multipliers =
            LrMultipliers { projector: number("projector_lr"), predictor: number("predictor_lr") };
        let plan = plan(&golden, number("peak_lr"));
        let mut byol = networks(spec, multipliers, &device);
        for k in 0..plan.total_steps {
            let views = |part: usize| {
                Ok([0, 1].map(|view| {
                    let nth = (k as usize * PARTS + part) * 2 + view;
                    let start = 1_000_000 + nth * PART * PIXELS;
                    let data = TensorData::new(values(start as u32, PART * PIXELS), [PART, 1, 6, 6]);
                    Tensor::<4>::from_data(data, &device)
                }))
            };
            let (lr, tau) = (learning_rate(&plan, k), tau(&plan, k));
            let (next, seen) = byol.step_over(PARTS, views, lr, tau, &OneProcess).unwrap();
            byol = next;
            let expected = run["losses"][k as usize].as_f64().unwrap();
            let apart = (seen.loss - expected).abs();
            // It is what is left of 4: two units in the last place of that besides.
            assert!(
                apart <= 1e-5 * expected + 5e-7,
                "{name} step {k}: loss {} against {expected}",
                seen.loss
            );
        }
        for (network, tensors) in
            [("online", named_tensors(&byol.online)), ("target", byol.target.named_tensors())]
        {
            assert_eq!(tensors.len(), run[network].as_object().unwrap().len(), "{name} {network}");
            for tensor in tensors {
                let expected = run[network][&tensor.name].as_array().unwrap();
                let expected: Vec<f64> = expected.iter().map(|x| x.as_f64().unwrap()).collect();
                assert_eq!(tensor.values.len(), expected.len());
                let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
                let mut gap = tensor.values.iter().zip(&expected).map(|(&a, b)| f64::from(a) - b);
                let apart = norm(&mut gap) / norm(&mut expected.iter().copied());
                assert!(apart <= 1e-5, "{name} {network} {}: {apart:e} apart", tensor.name);
            }
        }
    }
}
