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
    struct Gradients<'a>(&'a burn::tensor::Gradients, usize, usize);
    impl burn::module::ModuleVisitor for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            self.1 += 1;
            self.2 += usize::from(param.val().grad(self.0).is_some());
        }
    }
    let online = online();
    let target = TargetNetwork::copy_of(&online);
    let z = target.forward(images());
    assert!(!z.is_require_grad() && !z.is_tracked());
    let gradients = regression_loss(online.forward(images()).prediction, z).backward();
    let mut seen = Gradients(&gradients, 0, 0);
    online.visit(&mut seen);
    let buffers = of(named_tensors(&online), true).len();
    assert_eq!(seen.2, seen.1 - buffers, "every online parameter has a gradient");
    let mut seen = Gradients(&gradients, 0, 0);
    target.encoder().visit(&mut seen);
    target.projector().visit(&mut seen);
    assert!(seen.1 > 60);
    assert_eq!(seen.2, 0, "no target parameter has one");
}

/// A pass of either leaves every tensor of the other as it is.
fn assert_nothing_is_shared(what: &str, online: &OnlineNetwork<ResNet>, target: &TargetNetwork<ResNet>) {
    let all_of_target =
        |target: &TargetNetwork<ResNet>| (named_tensors(target.encoder()), named_tensors(target.projector()));
    let before = named_tensors(online);
    let of_target = all_of_target(target);
    target.forward(images());
    assert_eq!(before, named_tensors(online), "{what}: the target's pass moved the online network");
    assert_ne!(of_target, all_of_target(target), "{what}: the target's statistics follow its own passes");
    let of_target = all_of_target(target);
    online.forward(images());
    assert_eq!(of_target, all_of_target(target), "{what}: the online pass moved the target");
    assert_ne!(before, named_tensors(online), "{what}: the online statistics follow their own passes");
}

#[test]
fn online_and_target_share_nothing() {
    let online = online();
    let target = TargetNetwork::copy_of(&online);
    assert_eq!(named_tensors(&online.encoder), named_tensors(target.encoder()));
    assert_nothing_is_shared("a copy", &online, &target);
    let clone = online.clone();
    assert_nothing_is_shared("after a clone", &online, &TargetNetwork::copy_of(&clone));
    assert_nothing_is_shared(
        "a target of clones",
        &clone,
        &TargetNetwork::new(online.encoder, online.projector),
    );
}

#[test]
fn online_and_target_share_nothing_after_a_record() {
    let first = online();
    let record = first.clone().into_record();
    let second = online().load_record(record);
    assert_eq!(named_tensors(&first), named_tensors(&second));
    assert_nothing_is_shared("after a record", &first, &TargetNetwork::copy_of(&second));
    assert_nothing_is_shared("after a record, the other way", &second, &TargetNetwork::copy_of(&first));
}

#[test]
fn online_and_target_share_nothing_after_a_device_move() {
    let first = online();
    let target = TargetNetwork::copy_of(&first);
    let moved = first.clone().to_device(&device());
    assert_nothing_is_shared("after a move", &moved, &target);
    assert_nothing_is_shared("after a move, a copy", &first, &TargetNetwork::copy_of(&moved));
    let forked = first.clone().fork(&device());
    assert_nothing_is_shared("after a fork", &forked, &TargetNetwork::copy_of(&first));
}

#[test]
fn the_predictor_is_online_only() {
    let (first, second) = (online(), online());
    let target = TargetNetwork::copy_of(&first);
    let z = target.forward(images());
    // z is what g gives: as long as a projection, and no function of q.
    assert_eq!(z.dims(), [6, first.projector.output.as_ref().unwrap().weight.dims()[1]]);
    let other = OnlineNetwork { predictor: second.predictor, ..first.clone() };
    let x = images();
    let (a, b) =
        (TargetNetwork::copy_of(&first).forward(x.clone()), TargetNetwork::copy_of(&other).forward(x));
    assert_eq!(a.into_data(), b.into_data());
    let moved = target.update(&other, 0.0);
    assert_eq!(of(named_tensors(moved.projector()), false), of(named_tensors(&first.projector), false));
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
    assert_eq!(before, named_tensors(target.encoder()), "tau = 1 leaves the target bit-identical");
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

/// He et al. 2015, fan-out: standard deviation sqrt(2 / (out · k · k)).
#[test]
fn convolutions_begin_as_he_says() {
    let encoder = ResNetConfig { width: 32, ..config() }.init(&Device::flex()).unwrap();
    let mut seen = 0;
    for t in named_tensors(&encoder) {
        let &[out, _, k, _] = t.shape.as_slice() else { continue };
        if t.values.len() < 2000 {
            continue;
        }
        let n = t.values.len() as f64;
        let mean = t.values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let std = (t.values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let expected = (2.0 / (out * k * k) as f64).sqrt();
        // Five standard errors.
        assert!((std / expected - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{}: {std} for {expected}", t.name);
        assert!(mean.abs() < 5.0 * expected / n.sqrt(), "{}: mean {mean}", t.name);
        seen += 1;
    }
    assert!(seen >= 16);
}

/// A stranger's encoder with Burn's own batch normalisation, whose running state clones
/// share and whose mode follows the device.
#[derive(Module, Debug)]
struct Strange {
    conv: burn::nn::conv::Conv2d,
    norm: burn::nn::BatchNorm,
}

impl Encoder for Strange {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.norm.forward(self.conv.forward(images));
        let [n, channels, height, width] = x.dims();
        x.reshape([n, channels, height * width]).mean_dim(2).reshape([n, channels])
    }

    fn dim(&self) -> usize {
        4
    }
}

#[test]
fn an_encoder_with_burns_own_normalisation_is_safe() {
    let device = device();
    let head = HeadConfig { layers: 2, hidden: 8, output: 4 };
    let online = OnlineNetwork {
        encoder: Strange {
            conv: burn::nn::conv::Conv2dConfig::new([1, 4], [3, 3]).init(&device),
            norm: burn::nn::BatchNormConfig::new(4).init(&device),
        },
        projector: head.init(4, &device),
        predictor: head.init(4, &device),
    };
    let target = TargetNetwork::copy_of(&online);
    let buffers = |module: &Strange| of(named_tensors(&module.valid()), true);
    let before = buffers(&online.encoder);
    let x = images();
    let (a, b) = (target.forward(x.clone()), target.forward(x));
    assert_eq!(a.clone().into_data(), b.into_data(), "the target uses the batch's statistics");
    assert!(!a.is_tracked());
    assert_eq!(before, buffers(&online.encoder), "the target's passes moved the online statistics");
    let kept = of(named_tensors(target.encoder()), true);
    let (xi, theta) = (named_tensors(target.encoder()), named_tensors(&online.encoder));
    assert_eq!(of(xi, false), of(theta, false));
    let target = target.update(&online, 0.5);
    assert_eq!(kept, of(named_tensors(target.encoder()), true), "statistics are not averaged");
    // The norm's parameters are no weights: neither decayed nor adapted.
    let roles: Vec<Role> = named_tensors(&online.encoder).iter().map(|t| t.role).collect();
    assert_eq!(roles, [Role::Weight, Role::Bias, Role::Norm, Role::Norm, Role::Buffer, Role::Buffer]);
}
