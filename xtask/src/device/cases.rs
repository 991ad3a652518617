//! The operations of a step, at its shapes.

use std::collections::BTreeSet;

use anyhow::Result;
use burn::tensor::{Device, Distribution, Gradients, Tensor, TensorData};
use byol_augment::{PixelShape, Pixels, TwoViewPolicy, ViewKey, ViewParams, ViewPolicy, Workspace};
use byol_kernels::{
    affine, batch_norm_train, conv2d, conv2d_affine, max_pool2d, momentum_step, weighted_sum,
};
use byol_model::{ConvLayer, HeadConfig, Precision, Stem, regression_loss};
use byol_train::DeviceViews;

use super::proof::Shapes;

/// How far results may be from the CPU's, as ‖difference‖ / ‖result‖: some GPUs multiply f32 values with 10 bits of
/// mantissa (TF32), and bf16 has 7. What is wrong is further off than that.
const F32: f64 = 2e-3;
const BF16: f64 = 2e-2;
/// Results by name, flat.
pub type Results = Vec<(&'static str, Tensor<1>)>;

/// Computes an operation on a device; the last says whether it is what others are compared with.
type Run = Box<dyn Fn(&Device, &[TensorData], bool) -> Results>;

/// An operation with its inputs.
pub struct Case {
    pub operation: String,
    /// How far its results may be from the CPU's.
    pub allowed: f64,
    pub inputs: Vec<TensorData>,
    pub run: Run,
}

/// Values of the usual size, the same on every device.
fn draw(dims: &[usize], seed: u64) -> TensorData {
    let device = Device::flex();
    device.seed(seed);
    let flat = Tensor::<1>::random([dims.iter().product::<usize>()], Distribution::Normal(0.0, 1.0), &device);
    TensorData::new(flat.into_data().iter::<f32>().collect::<Vec<_>>(), dims)
}

fn leaf<const D: usize>(data: &TensorData, device: &Device) -> Tensor<D> {
    Tensor::from_data(data.clone(), &device.clone().autodiff()).require_grad()
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let n = x.shape().num_elements();
    x.reshape([n])
}

/// Results, and the gradients for `leaves` of a loss whose gradient for them is `grad`.
fn with_gradients<const D: usize>(
    y: Tensor<D>,
    grad: &TensorData,
    leaves: impl FnOnce(&Gradients) -> Results,
) -> Results {
    let weights = Tensor::from_data(grad.clone(), &y.device());
    // Whose order of summing is of no account: its gradient is `grad` to the bit.
    let gradients = flat(y.clone() * weights).sum_dim(0).backward();
    let mut all = vec![("result", flat(y.inner()))];
    all.extend(leaves(&gradients));
    all
}

fn gradient<const D: usize>(x: &Tensor<D>, gradients: &Gradients) -> Tensor<1> {
    // A gradient that is missing is a wrong one.
    x.grad(gradients).map_or_else(|| flat(x.clone().inner().zeros_like()), flat)
}

fn convolution(layer: ConvLayer, shapes: &Shapes) -> Case {
    let ConvLayer { channels: [from, to], kernel, stride, side } = layer;
    let (n, after, precision) = (shapes.batch, layer.side_after(), shapes.precision);
    Case {
        operation: format!("convolution {kernel}×{kernel} {from}→{to} /{stride} at {side}×{side}"),
        allowed: if precision == Precision::F32 { F32 } else { BF16 },
        inputs: vec![
            draw(&[n, from, side, side], 1),
            draw(&[to, from, kernel, kernel], 2),
            draw(&[n, to, after, after], 3),
        ],
        run: Box::new(move |device, inputs, _| {
            let (x, weight) = (leaf::<4>(&inputs[0], device), leaf::<4>(&inputs[1], device));
            let y = precision.scope(|| conv2d(x.clone(), weight.clone(), stride, kernel / 2));
            with_gradients(y, &inputs[2], |g| vec![("x", gradient(&x, g)), ("weights", gradient(&weight, g))])
        }),
    }
}

fn normalisation([channels, side]: [usize; 2], add: bool, shapes: &Shapes) -> Case {
    let dims = [shapes.batch, channels, side, side];
    Case {
        operation: format!(
            "batch norm, {}ReLU, {channels} at {side}×{side}",
            if add { "shortcut, " } else { "" }
        ),
        allowed: F32,
        inputs: vec![
            draw(&dims, 4),
            draw(&[channels], 5),
            draw(&[channels], 6),
            draw(&dims, 7),
            draw(&dims, 8),
        ],
        run: Box::new(move |device, inputs, _| {
            let (x, shortcut) = (leaf::<4>(&inputs[0], device), leaf::<4>(&inputs[3], device));
            let (gamma, beta) = (leaf::<1>(&inputs[1], device), leaf::<1>(&inputs[2], device));
            let added = add.then(|| shortcut.clone());
            let batch = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), added, true, 1e-5);
            let (mean, variance) = (batch.mean.inner(), batch.variance.inner());
            with_gradients(batch.output, &inputs[4], |g| {
                let mut all = vec![("mean", mean), ("variance", variance), ("x", gradient(&x, g))];
                all.extend([("γ", gradient(&gamma, g)), ("β", gradient(&beta, g))]);
                all.extend(add.then(|| ("shortcut", gradient(&shortcut, g))));
                all
            })
        }),
    }
}

/// By running statistics, as representations are made.
fn rescaling([channels, side]: [usize; 2], shapes: &Shapes) -> Case {
    let dims = [shapes.batch, channels, side, side];
    let per_channel = |seed| draw(&[channels], seed);
    Case {
        operation: format!("running statistics, shortcut, ReLU, {channels} at {side}×{side}"),
        allowed: F32,
        inputs: vec![draw(&dims, 25), per_channel(26), per_channel(27), per_channel(28), draw(&dims, 29)],
        run: Box::new(|device, inputs, _| {
            let [x, shortcut] = [0, 4].map(|i| Tensor::<4>::from_data(inputs[i].clone(), device));
            let [gamma, variance, offset] =
                [1, 2, 3].map(|i| Tensor::<1>::from_data(inputs[i].clone(), device));
            let scale = gamma / (variance.square() + 0.1).sqrt();
            vec![("result", flat(affine(x, scale, offset, Some(shortcut), true)))]
        }),
    }
}

/// A convolution with that, in one pass where the device has one.
fn frozen_convolution(layer: ConvLayer, shapes: &Shapes) -> Case {
    let ConvLayer { channels: [from, to], kernel, stride, side } = layer;
    let precision = shapes.precision;
    Case {
        operation: format!(
            "convolution {kernel}×{kernel} {from}→{to} /{stride} at {side}×{side}, scaled, ReLU"
        ),
        allowed: if precision == Precision::F32 { F32 } else { BF16 },
        inputs: vec![
            draw(&[shapes.batch, from, side, side], 30),
            draw(&[to, from, kernel, kernel], 31),
            draw(&[to], 32),
            draw(&[to], 33),
        ],
        run: Box::new(move |device, inputs, _| {
            let [x, weight] = [0, 1].map(|i| Tensor::<4>::from_data(inputs[i].clone(), device));
            let [scale, offset] = [2, 3].map(|i| Tensor::<1>::from_data(inputs[i].clone(), device));
            let make = || conv2d_affine(x, weight, stride, kernel / 2, scale, offset, None, true);
            vec![("result", flat(precision.scope(make)))]
        }),
    }
}

fn pooling(shapes: &Shapes, side: usize) -> Case {
    let (n, channels, after) = (shapes.batch, shapes.encoder.width, side.div_ceil(2));
    Case {
        operation: format!("max pooling, {channels} at {side}×{side}"),
        allowed: F32,
        inputs: vec![draw(&[n, channels, side, side], 9), draw(&[n, channels, after, after], 10)],
        run: Box::new(|device, inputs, _| {
            let x = leaf::<4>(&inputs[0], device);
            let y = max_pool2d(x.clone(), 3, 2, 1);
            with_gradients(y, &inputs[1], |g| vec![("x", gradient(&x, g))])
        }),
    }
}

fn mean_and_linear(shapes: &Shapes, [dim, side]: [usize; 2]) -> Case {
    let (n, hidden) = (shapes.batch, shapes.projector.hidden);
    Case {
        operation: format!("mean over {side}×{side}, linear {dim}→{hidden}"),
        allowed: F32,
        inputs: vec![draw(&[n, dim, side, side], 11), draw(&[dim, hidden], 12), draw(&[n, hidden], 13)],
        run: Box::new(move |device, inputs, _| {
            let (x, weight) = (leaf::<4>(&inputs[0], device), leaf::<2>(&inputs[1], device));
            let mean = x.clone().mean_dim(3).mean_dim(2).reshape([n, dim]);
            let y = mean.matmul(weight.clone());
            with_gradients(y, &inputs[2], |g| vec![("x", gradient(&x, g)), ("weights", gradient(&weight, g))])
        }),
    }
}

/// As a head has it.
fn flat_norm(shapes: &Shapes) -> Case {
    let dims = [shapes.batch, shapes.projector.hidden];
    Case {
        operation: format!("batch norm of a head, ReLU, {}", dims[1]),
        allowed: F32,
        inputs: vec![draw(&dims, 21), draw(&dims[1..], 22), draw(&dims[1..], 23), draw(&dims, 24)],
        run: Box::new(|device, inputs, _| {
            let (x, gamma) = (leaf::<2>(&inputs[0], device), leaf::<1>(&inputs[1], device));
            let beta = leaf::<1>(&inputs[2], device);
            let batch = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), None, true, 1e-5);
            with_gradients(batch.output, &inputs[3], |g| {
                vec![("x", gradient(&x, g)), ("γ", gradient(&gamma, g)), ("β", gradient(&beta, g))]
            })
        }),
    }
}

fn loss(shapes: &Shapes) -> Case {
    let dims = [shapes.batch, shapes.projector.output];
    Case {
        operation: format!("loss of projections of {}", dims[1]),
        allowed: F32,
        inputs: vec![draw(&dims, 14), draw(&dims, 15), TensorData::new(vec![1f32], [1])],
        run: Box::new(|device, inputs, _| {
            let (q, z) = (leaf::<2>(&inputs[0], device), leaf::<2>(&inputs[1], device));
            let y = regression_loss(q.clone(), z.inner().autodiff());
            with_gradients(y, &inputs[2], |g| vec![("prediction", gradient(&q, g))])
        }),
    }
}

fn updates(shapes: &Shapes) -> Case {
    let HeadConfig { hidden, output, .. } = shapes.projector;
    let dims = [hidden, output];
    Case {
        operation: format!("step of the optimiser and of the target, {hidden}×{output}"),
        allowed: F32,
        inputs: vec![draw(&dims, 16), draw(&dims, 17), draw(&dims, 18)],
        run: Box::new(|device, inputs, _| {
            let [w, m, g] = [0, 1, 2].map(|i| Tensor::<2>::from_data(inputs[i].clone(), device));
            let norm = g.clone().square().sum_dim(1).sum_dim(0).sqrt();
            let average = weighted_sum(w.clone(), 0.9, g.clone(), 0.1);
            let (w, m) = momentum_step(w, m, g, 1e-3, 0.9, 0.2);
            vec![("norm", flat(norm)), ("average", flat(average)), ("w", flat(w)), ("momentum", flat(m))]
        }),
    }
}

/// Views of pictures of several sides, on the CPU by byol-augment itself.
fn views(shapes: &Shapes) -> Result<Case> {
    const CHANNELS: usize = 3;
    let size = shapes.size;
    let policy = TwoViewPolicy::preset("byol")?.with_size(size).resolve(CHANNELS)?.view_prime;
    let side = |i: usize| [size / 2 + 9 + 5 * i, size + 3 * i];
    let frame = [side(VIEWS)[0].max(side(VIEWS)[1]); 2];
    let mut params = Vec::new();
    for i in 0..VIEWS {
        let [width, height] = side(i);
        let key = ViewKey { seed: 19, epoch: 0, sample: i as u64, view: 1 };
        params.push(policy.sample(key, PixelShape { width, height, channels: CHANNELS })?);
    }
    let levels = draw(&[VIEWS, CHANNELS, frame[1], frame[0]], 20);
    let levels: Vec<f32> =
        levels.iter::<f32>().map(|x| (128.0 + 50.0 * x).clamp(0.0, 255.0).floor()).collect();
    Ok(Case {
        operation: format!("views of {size}×{size} by the policy byol"),
        // Of values whose deviation is about 1: on average half a level of 8 bits.
        allowed: 1e-2,
        inputs: vec![TensorData::new(levels, [VIEWS, CHANNELS, frame[1], frame[0]])],
        run: Box::new(move |device, inputs, exact| {
            let params: Vec<&ViewParams> = params.iter().collect();
            if exact {
                let views: Vec<f32> = params
                    .iter()
                    .enumerate()
                    .flat_map(|(i, params)| view_here(&policy, params, &inputs[0], i))
                    .collect();
                return vec![("result", Tensor::from_data(views.as_slice(), device))];
            }
            let pictures = Tensor::<4>::from_data(inputs[0].clone(), device);
            let made =
                DeviceViews::new(&policy, CHANNELS, device).and_then(|there| there.make(pictures, &params));
            // What was refused is not what the CPU makes.
            vec![("result", made.map_or_else(|_| Tensor::zeros([1], device), flat))]
        }),
    })
}

/// Pictures that views are made of.
const VIEWS: usize = 12;

/// The view of picture `n` of a batch, by the CPU; nothing if it is refused.
fn view_here(policy: &ViewPolicy, params: &ViewParams, levels: &TensorData, n: usize) -> Vec<f32> {
    let PixelShape { width, height, channels } = params.source;
    let values: Vec<f32> = levels.iter::<f32>().collect();
    let shape = levels.shape();
    let (h, w) = (shape[2], shape[3]);
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| (0..channels).map(move |c| (y, x, c))))
        .map(|(y, x, c)| values[((n * channels + c) * h + y) * w + x] as u8)
        .collect();
    let mut view = vec![0.0; policy.output_len(channels)];
    let made = Pixels::new(&pixels, width, height, channels)
        .and_then(|pixels| policy.apply(params, pixels, &mut Workspace::default(), &mut view));
    if made.is_ok() { view } else { Vec::new() }
}

/// All that a step does, each shape once.
pub fn cases(shapes: &Shapes) -> Result<Vec<Case>> {
    let mut layers = shapes.encoder.convolutions(shapes.size)?;
    let stem = layers[0];
    let dim = shapes.encoder.dim()?;
    let side = layers.last().map_or(shapes.size, ConvLayer::side_after);
    let mut seen = BTreeSet::new();
    layers.retain(|layer| seen.insert(*layer));
    let mut normed: Vec<[usize; 2]> = layers.iter().map(|l| [l.channels[1], l.side_after()]).collect();
    normed.dedup();
    let mut seen = BTreeSet::new();
    normed.retain(|shape| seen.insert(*shape));
    let last = layers.last().copied();
    let mut all: Vec<Case> = layers.into_iter().map(|layer| convolution(layer, shapes)).collect();
    all.extend(normed.iter().map(|shape| normalisation(*shape, false, shapes)));
    all.extend(normed.last().map(|shape| normalisation(*shape, true, shapes)));
    all.extend(normed.iter().map(|shape| rescaling(*shape, shapes)));
    all.extend(last.map(|layer| frozen_convolution(layer, shapes)));
    if shapes.encoder.stem == Stem::Imagenet {
        all.push(pooling(shapes, stem.side_after()));
    }
    all.extend([mean_and_linear(shapes, [dim, side]), flat_norm(shapes), loss(shapes), updates(shapes)]);
    all.push(views(shapes)?);
    Ok(all)
}
