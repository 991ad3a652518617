//! What must hold of online and target, whatever the weights.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use byol_model::{
    Encoder, HeadConfig, NamedTensor, OnlineNetwork, ResNet, ResNetConfig, Role, Stem, TargetNetwork,
    Version, encoder_bytes, l2_normalize, load_encoder, named_tensors, regression_loss,
};
use serde_json::Value;

fn device() -> Device {
    Device::flex().autodiff()
}

fn config() -> ResNetConfig {
    ResNetConfig {
        depth: 18,
        width: 4,
        in_channels: 1,
        stem: Stem::Small,
        zero_gamma: false,
        version: Version::V1,
    }
}

fn online() -> OnlineNetwork<ResNet> {
    let device = device();
    let head = HeadConfig { layers: 2, hidden: 8, output: 4 };
    let online = OnlineNetwork {
        encoder: config().init(&device).unwrap(),
        projector: head.init(32, &device),
        predictor: head.init(4, &device),
    };
    named_tensors(&online); // draws the parameters
    online
}

fn images() -> Tensor<4> {
    Tensor::random([6, 1, 8, 8], Distribution::Normal(3.0, 2.0), &device())
}

fn of(tensors: Vec<NamedTensor>, buffers: bool) -> Vec<NamedTensor> {
    tensors.into_iter().filter(|t| (t.role == Role::Buffer) == buffers).collect()
}

#[test]
fn no_gradient_reaches_the_target() {
    let online = online();
    let target = TargetNetwork::copy_of(&online);
    let z = target.forward(images());
    assert!(!z.is_require_grad() && !z.is_tracked());
    let gradients = regression_loss(online.forward(images()).prediction, z).backward();
    assert!(online.projector.output.weight.val().grad(&gradients).is_some());
    assert!(target.projector().output.weight.val().grad(&gradients).is_none());
}

#[test]
fn online_and_target_share_nothing() {
    let online = online();
    let target = TargetNetwork::copy_of(&online);
    let before = named_tensors(&online);
    target.forward(images());
    assert_eq!(before, named_tensors(&online), "the target's pass moved the online network");
    let before = named_tensors(target.encoder());
    online.forward(images());
    assert_eq!(before, named_tensors(target.encoder()), "the online pass moved the target");
}

#[test]
fn the_target_normalises_by_the_batch() {
    let target = TargetNetwork::copy_of(&online());
    let x = images();
    let (a, b) = (target.forward(x.clone()), target.forward(x));
    // Running statistics have moved in between; batch statistics have not.
    assert_eq!(a.into_data(), b.into_data());
    let buffers = of(named_tensors(target.encoder()), true);
    assert!(buffers.iter().any(|t| t.name == "bn1.running_mean" && t.values.iter().any(|x| *x != 0.0)));
    // The batch's statistics take the scale of the pictures out again; running
    // statistics would not.
    let x = images();
    let (a, b) = (target.forward(x.clone()), target.forward(x * 5.0));
    let difference = (a - b).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn the_average_moves_parameters_towards_online_and_leaves_buffers() {
    let (first, second) = (online(), online());
    let target = TargetNetwork::copy_of(&first);
    let (xi, theta) = (named_tensors(target.encoder()), named_tensors(&second.encoder));
    assert_ne!(of(xi.clone(), false), of(theta.clone(), false));
    second.encoder.forward(images());
    let target = target.update(&second, 0.75);
    let moved = named_tensors(target.encoder());
    assert_eq!(of(xi.clone(), true), of(moved.clone(), true), "buffers must not be averaged");
    for ((moved, xi), theta) in of(moved, false).iter().zip(of(xi, false)).zip(of(theta, false)) {
        for ((moved, xi), theta) in moved.values.iter().zip(xi.values).zip(theta.values) {
            assert!((moved - (0.75 * xi + 0.25 * theta)).abs() < 1e-6);
        }
    }
    assert!(!target.forward(images()).is_tracked());
}

#[test]
fn tau_1_leaves_the_target_and_tau_0_copies() {
    let (first, second) = (online(), online());
    let target = TargetNetwork::copy_of(&first);
    let before = named_tensors(target.encoder());
    let target = target.update(&second, 1.0);
    assert_eq!(before, named_tensors(target.encoder()));
    let target = target.update(&second, 0.0);
    assert_eq!(of(named_tensors(&second.encoder), false), of(named_tensors(target.encoder()), false));
}

#[test]
fn the_representation_is_what_the_encoder_says() {
    let online = online();
    let x = images();
    let output = online.forward(x.clone());
    assert_eq!(output.representation.clone().into_data(), online.encoder.forward(x).into_data());
    assert_eq!(output.representation.dims(), [6, online.encoder.dim()]);
    assert_eq!((output.projection.dims(), output.prediction.dims()), ([6, 4], [6, 4]));
}

#[test]
fn running_statistics_are_never_late() {
    let online = online();
    online.encoder.forward(images());
    let after_one = of(named_tensors(&online.encoder), true);
    assert!(after_one.iter().all(|t| t.values.iter().all(|x| *x != 0.0)), "{after_one:?}");
    assert_eq!(after_one, of(named_tensors(&online.encoder.valid()), true));
}

#[test]
fn evaluation_mode_uses_running_statistics() {
    let encoder = online().encoder;
    encoder.forward(images());
    let frozen = encoder.valid();
    let x = images().inner();
    let alone = frozen.forward(x.clone().narrow(0, 0, 1));
    let together = frozen.forward(x).narrow(0, 0, 1);
    let difference = (alone - together).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-5, "a picture's representation depends on its neighbours: {difference}");
}

#[test]
fn the_loss_is_the_papers() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../tests/golden/loss/expected.json")).unwrap();
    let device = device();
    let matrix = |value: &Value| {
        let rows = value.as_array().unwrap();
        let values: Vec<f32> =
            rows.iter().flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap() as f32).collect();
        let shape = [rows.len(), rows[0].as_array().unwrap().len()];
        Tensor::<2>::from_data(TensorData::new(values, shape), &device)
    };
    let (q, z) = (matrix(&golden["q"]).require_grad(), matrix(&golden["z"]));
    let loss = regression_loss(q.clone(), z);
    let expected = golden["loss"].as_f64().unwrap();
    let got = f64::from(loss.clone().into_scalar::<f32>());
    assert!((got - expected).abs() < 1e-5 * expected, "{got} against {expected}");
    let gradient = q.grad(&loss.backward()).unwrap();
    let difference = (gradient - matrix(&golden["grad_q"]).inner()).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-5, "{difference}");
    let zero = l2_normalize(Tensor::zeros([1, 3], &device));
    assert_eq!(zero.abs().max().into_scalar::<f32>(), 0.0);
}

#[test]
fn parameter_counts_are_torchvisions() {
    let device = Device::flex();
    // torchvision's counts without `fc`.
    for (depth, width, expected) in [(18, 64, 11_176_512), (50, 64, 23_508_032)] {
        let config = ResNetConfig {
            depth,
            width,
            in_channels: 3,
            stem: Stem::Imagenet,
            zero_gamma: false,
            version: Version::V1,
        };
        let encoder = config.init(&device).unwrap();
        let count: usize = of(named_tensors(&encoder), false).iter().map(|t| t.values.len()).sum();
        assert_eq!(count, expected, "ResNet-{depth}");
        assert_eq!(encoder.dim(), config.dim().unwrap());
    }
}

#[test]
fn weights_come_back_or_are_refused_whole() {
    let encoder = online().encoder;
    encoder.forward(images());
    let bytes = encoder_bytes(&encoder, &()).unwrap();
    let other = config().init(&device()).unwrap();
    let loaded = load_encoder(other, &bytes).unwrap();
    assert_eq!(named_tensors(&encoder), named_tensors(&loaded));
    assert!(named_tensors(&encoder).iter().any(|t| t.name == "layer2.0.downsample.0.weight"));
    let wider = ResNetConfig { width: 8, ..config() }.init(&device()).unwrap();
    let error = load_encoder(wider, &bytes).unwrap_err().to_string();
    assert!(error.contains("conv1.weight") && error.contains("nothing was loaded"), "{error}");
    for end in (0..bytes.len()).step_by(997) {
        assert!(load_encoder(config().init(&device()).unwrap(), &bytes[..end]).is_err());
    }
}

#[test]
fn heads_have_the_layers_that_are_asked_for() {
    for (layers, hidden) in [(1, 0), (2, 1), (3, 2)] {
        let head = HeadConfig { layers, hidden: 8, output: 4 };
        let mlp = head.init(6, &device());
        assert_eq!(mlp.hidden.len(), hidden);
        let tensors = named_tensors(&mlp);
        let counted: usize = tensors.iter().filter(|t| t.role != Role::Buffer).map(|t| t.values.len()).sum();
        assert_eq!(counted as u64, head.parameters(6), "{layers} layers");
        // Hidden layers have a bias, the output has none and no normalisation.
        assert_eq!(tensors.iter().filter(|t| t.role == Role::Bias).count(), hidden);
        assert_eq!(tensors.last().unwrap().name, "output.weight");
        let out = mlp.forward(Tensor::random([5, 6], Distribution::Normal(0.0, 1.0), &device()));
        assert_eq!(out.dims(), [5, 4]);
    }
}
