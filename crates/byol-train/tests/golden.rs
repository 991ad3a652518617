//! Schedules, optimisers and whole steps against independent implementations
//! (tests/golden: NumPy and PyTorch scripts beside the values).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use byol_model::{
    Encoder, HeadConfig, Mlp, OneProcess, OnlineNetwork, Precision, ResNet, ResNetConfig, Stem,
    TargetNetwork, Version, load_named, named_tensors,
};
use byol_train::{
    Byol, DataFacts, Lanes, Length, Optimizer, OptimizerKind, OptimizerSpec, RunPlan, SpecBuilder,
    learning_rate, tau,
};
use safetensors::SafeTensors;
use serde_json::Value;

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

/// A plan with the schedule values of a golden case.
fn plan(case: &Value) -> RunPlan {
    let number = |key: &str| case[key].as_f64().unwrap();
    let mut spec = SpecBuilder::preset("quick").unwrap().build().unwrap();
    spec.batch = 4;
    // The peak is base_lr * batch / 256 for the case's batch.
    spec.base_lr = number("base_lr") * number("batch") / 4.0;
    spec.tau_base = number("tau_base");
    spec.length = Length::Steps(case["steps"].as_u64().unwrap());
    spec.warmup = Length::Steps(case["warmup_steps"].as_u64().unwrap());
    RunPlan::of(spec, DataFacts { samples: 4, channels: 1, ..DataFacts::default() }).unwrap()
}

#[test]
fn learning_rate_and_tau_follow_the_step() {
    let golden = golden(include_str!("../../../tests/golden/schedules/expected.json"));
    let plans = golden["plans"].as_array().unwrap();
    assert_eq!(plans.len(), 4);
    for case in plans {
        let plan = plan(case);
        for value in case["values"].as_array().unwrap() {
            let k = value["step"].as_u64().unwrap();
            for (got, key) in [(learning_rate(&plan, k), "lr"), (tau(&plan, k), "tau")] {
                let expected = value[key].as_f64().unwrap();
                assert!(
                    (got - expected).abs() <= 1e-12 + 1e-9 * expected.abs(),
                    "{} step {k} {key}: {got} against {expected}",
                    case["name"]
                );
            }
        }
    }
}

/// Layers whose parameters have the roles of the golden file.
#[derive(Module, Debug)]
struct Weights<const D: usize> {
    weight: Param<Tensor<D>>,
}
#[derive(Module, Debug)]
struct Biased {
    bias: Param<Tensor<1>>,
}
#[derive(Module, Debug)]
struct SomeNorm {
    weight: Param<Tensor<1>>,
}

fn param<const D: usize>(values: &[f32], shape: &[usize], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(
        Tensor::from_data(TensorData::new(values.to_vec(), shape.to_vec()), device).require_grad(),
    )
}

/// Runs all steps of one parameter; the gradient of sum(w * g) is g.
fn follow<const D: usize, M: Module>(
    mut module: M,
    weight_of: impl Fn(&M) -> Tensor<D>,
    spec: OptimizerSpec,
    case: &Value,
    device: &Device,
) {
    let mut optimizer = Optimizer::new(spec);
    let shape: Vec<usize> =
        case["shape"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect();
    for (i, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let grad = TensorData::new(floats(&step["grad"]), shape.clone());
        let loss = (weight_of(&module) * Tensor::from_data(grad, device)).reshape([-1]).sum_dim(0);
        let mut gradients = loss.backward();
        module = optimizer.step(module, &mut gradients, step["lr"].as_f64().unwrap());
        let got: Vec<f32> = weight_of(&module).into_data().try_into_vec().unwrap();
        for (got, expected) in got.iter().zip(floats(&step["expected"])) {
            assert!(
                (got - expected).abs() <= 1e-6 + 1e-5 * expected.abs(),
                "{} step {i}: {got} against {expected} ({spec:?})",
                case["name"]
            );
        }
    }
}

fn check_optimizer(runs: &Value, kind: OptimizerKind) {
    let device = Device::flex().autodiff();
    let runs = runs["runs"].as_array().unwrap();
    assert!(runs.len() >= 2);
    for run in runs {
        let spec = OptimizerSpec {
            kind,
            momentum: run["momentum"].as_f64().unwrap(),
            nesterov: run["nesterov"].as_bool().unwrap_or(false),
            weight_decay: run["weight_decay"].as_f64().unwrap(),
            trust: run["trust"].as_f64().unwrap_or(1e-3),
            beta2: 0.999,
            epsilon: 1e-8,
        };
        for case in run["params"].as_array().unwrap() {
            let shape: Vec<usize> =
                case["shape"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect();
            let init = floats(&case["init"]);
            match (case["role"].as_str().unwrap(), shape.len()) {
                ("weight", 4) => {
                    let module = Weights::<4> { weight: param(&init, &shape, &device) };
                    follow(module, |m| m.weight.val(), spec, case, &device);
                }
                ("weight", _) => {
                    let module = Weights::<2> { weight: param(&init, &shape, &device) };
                    follow(module, |m| m.weight.val(), spec, case, &device);
                }
                ("bias", _) => {
                    let module = Biased { bias: param(&init, &shape, &device) };
                    follow(module, |m| m.bias.val(), spec, case, &device);
                }
                _ => {
                    let module = SomeNorm { weight: param(&init, &shape, &device) };
                    follow(module, |m| m.weight.val(), spec, case, &device);
                }
            }
        }
    }
}

#[test]
fn lars_is_deepminds_and_spares_biases_and_norms() {
    check_optimizer(&golden(include_str!("../../../tests/golden/lars/expected.json")), OptimizerKind::Lars);
}

#[test]
fn sgd_is_torchs_and_spares_biases_and_norms() {
    check_optimizer(
        &golden(include_str!("../../../tests/golden/lars/expected_sgd.json")),
        OptimizerKind::Sgd,
    );
}

type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Tensors whose name begins with `prefix`, without it; linear weights as Burn has
/// them, `[input, output]`.
fn tensors(file: &SafeTensors<'_>, prefix: &str) -> Named {
    file.tensors()
        .into_iter()
        .filter_map(|(name, view)| {
            let name = name.strip_prefix(prefix)?.to_owned();
            let values: Vec<f32> =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let mut shape = view.shape().to_vec();
            let linear = name.ends_with("linear.weight") || name.ends_with("output.weight");
            if !linear {
                return Some((name, (shape, values)));
            }
            let transposed =
                (0..values.len()).map(|i| values[i % shape[0] * shape[1] + i / shape[0]]).collect();
            shape.reverse();
            Some((name, (shape, transposed)))
        })
        .collect()
}

fn part(all: &Named, prefix: &str) -> Named {
    all.iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}

fn networks(device: &Device) -> (ResNet, Mlp, Mlp) {
    let config = ResNetConfig {
        depth: 18,
        width: 4,
        in_channels: 1,
        stem: Stem::Small,
        zero_gamma: false,
        version: Version::V1,
    };
    let head = HeadConfig { layers: 2, hidden: 16, output: 8 };
    (config.init(device).unwrap(), head.init(32, device), head.init(8, device))
}

/// Compares whole tensors by their norms; says how many.
fn assert_close(
    what: &str,
    got: &[byol_model::NamedTensor],
    expected: &Named,
    prefix: &str,
    by: f64,
) -> usize {
    let mut compared = 0;
    for tensor in got {
        let Some((_, expected)) = expected.get(&format!("{prefix}{}", tensor.name)) else { continue };
        assert_eq!(tensor.values.len(), expected.len(), "{what} {prefix}{}", tensor.name);
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let mut apart = tensor.values.iter().zip(expected).map(|(a, b)| f64::from(a - b));
        let (gap, norm) = (squares(&mut apart), squares(&mut expected.iter().map(|&x| f64::from(x))));
        assert!(gap <= by * norm, "{what} {prefix}{}: {:e} apart", tensor.name, gap / norm);
        compared += 1;
    }
    compared
}

/// Learning rates and tau of the golden steps.
const STEPS: [(f64, f64); 10] = [
    (0.5, 0.9),
    (0.4, 0.95),
    (0.3, 0.99),
    (0.25, 0.99),
    (0.2, 0.992),
    (0.16, 0.994),
    (0.12, 0.996),
    (0.08, 0.998),
    (0.05, 0.999),
    (0.02, 1.0),
];

/// Catches, by value: views swapped or shared, gradients into the target, running
/// statistics in the target, a predictor on it, an average before the step or the
/// wrong way round or over buffers, decay on biases and norms.
#[test]
fn ten_whole_steps_are_pytorchs() {
    let device = Device::flex().autodiff();
    let inputs = include_bytes!("../../../tests/golden/byol_step/inputs.safetensors");
    let expected = include_bytes!("../../../tests/golden/byol_step/expected.safetensors");
    let (inputs, expected) =
        (SafeTensors::deserialize(inputs).unwrap(), SafeTensors::deserialize(expected).unwrap());

    let start = tensors(&inputs, "online.");
    let (encoder, projector, predictor) = networks(&device);
    let online = OnlineNetwork {
        encoder: load_named(encoder, part(&start, "encoder.")).unwrap(),
        projector: load_named(projector, part(&start, "projector.")).unwrap(),
        predictor: load_named(predictor, part(&start, "predictor.")).unwrap(),
    };
    let start = tensors(&inputs, "target.");
    let (encoder, projector, _) = networks(&device);
    let target = TargetNetwork::new(
        load_named(encoder, part(&start, "encoder.")).unwrap(),
        load_named(projector, part(&start, "projector.")).unwrap(),
    );
    let optimizer = Optimizer::new(OptimizerSpec {
        kind: OptimizerKind::Lars,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1e-2,
        trust: 1e-3,
        beta2: 0.999,
        epsilon: 1e-8,
    });
    let mut byol =
        Byol { online, target, optimizer, lanes: Lanes::one(), precision: Precision::F32, shared: None };
    for (i, (lr, tau)) in STEPS.into_iter().enumerate() {
        let views = tensors(&inputs, &format!("step{i}."));
        let view = |name: &str| {
            let (shape, values) = views[name].clone();
            Tensor::<4>::from_data(TensorData::new(values, shape), &device)
        };
        let (next, values) = byol.step(view("view"), view("view_prime"), lr, tau, &OneProcess).unwrap();
        byol = next;
        let loss = f64::from(tensors(&expected, &format!("step{i}."))["loss"].1[0]);
        assert!((values.loss - loss).abs() <= 1e-5 * loss, "step {i}: {} against {loss}", values.loss);
        if !matches!(i, 0 | 9) {
            continue;
        }
        let (what, by) = (format!("after step {i},"), if i == 0 { 1e-5 } else { 1e-4 });
        let state = |network: &str| tensors(&expected, &format!("step{i}.{network}."));
        let mut compared = assert_close(&what, &named_tensors(&byol.online), &state("online"), "", by);
        let target = state("target");
        compared += assert_close(&what, &named_tensors(byol.target.encoder()), &target, "encoder.", by);
        compared += assert_close(&what, &named_tensors(byol.target.projector()), &target, "projector.", by);
        assert_eq!(compared, state("online").len() + target.len());
    }
    let views = tensors(&inputs, "step0.");
    let (shape, values) = views["view"].clone();
    let view = Tensor::<4>::from_data(TensorData::new(values, shape), &device).inner();
    let got: Vec<f32> = byol.online.encoder.valid().forward(view).into_data().try_into_vec().unwrap();
    let eval = tensors(&expected, "eval.")["features"].1.clone();
    let largest = eval.iter().fold(0f32, |most, x| most.max(x.abs()));
    for (got, expected) in got.iter().zip(eval) {
        assert!((got - expected).abs() <= 1e-4 * largest, "evaluation: {got} against {expected}");
    }
}
