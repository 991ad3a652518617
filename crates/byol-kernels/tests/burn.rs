//! Against Burn's own operations on the same tensors: results and all gradients.

#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(missing_docs, reason = "tests/paths.rs calls them, too")]

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, Distribution, Tensor};
use byol_kernels::{Precision, autocast, weights_kept};

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device()).require_grad()
}

/// The same with channels last in memory, as the kernels leave images.
fn random_last([n, c, h, w]: [usize; 4]) -> Tensor<4> {
    Tensor::from_inner(random([n, h, w, c]).inner().permute([0, 3, 1, 2])).require_grad()
}

fn sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    x.reshape([1, -1]).sum_dim(1).reshape([1])
}

fn assert_same<const D: usize>(what: &str, ours: Tensor<D>, burns: Tensor<D>) {
    assert_eq!(ours.dims(), burns.dims(), "{what}");
    let scale = burns.clone().abs().max().into_scalar::<f32>().max(1e-3);
    let gap = (ours - burns).abs().max().into_scalar::<f32>();
    assert!(gap <= 1e-4 * scale, "{what}: {gap} of {scale}");
}

#[test]
pub fn convolutions_are_burns() {
    for (n, c, o, h, w, k, stride, padding) in [
        (2, 3, 16, 9, 11, 3, 1, 1),
        (3, 16, 5, 8, 8, 3, 2, 1),
        (2, 20, 33, 7, 7, 1, 1, 0),
        (2, 20, 33, 7, 6, 1, 2, 0),
        (1, 3, 8, 32, 32, 7, 2, 3),
        (2, 40, 36, 9, 8, 3, 1, 1),
        (2, 40, 36, 9, 8, 3, 2, 1),
        (2, 36, 40, 7, 6, 1, 1, 0),
    ] {
        let (x, weight, upstream) =
            (random([n, c, h, w]), random([o, c, k, k]), |y: &Tensor<4>| random(y.dims()));
        let ours = byol_kernels::conv2d(x.clone(), weight.clone(), stride, padding);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let burns = conv2d(x.clone(), weight.clone(), None, options);
        assert_same("results", ours.clone(), burns.clone());
        let g = upstream(&burns).detach();
        let (a, b) = (sum(ours * g.clone()).backward(), sum(burns * g).backward());
        assert_same("input gradient", x.grad(&a).unwrap(), x.grad(&b).unwrap());
        assert_same("weight gradient", weight.grad(&a).unwrap(), weight.grad(&b).unwrap());
    }
}

/// The same bits, direct and filtered, with gradients; and weights that change where they lie are
/// those that are used next.
#[test]
pub fn weights_that_are_kept_are_those_that_are_there() {
    for (channels, stride) in [(6, 1), (40, 1), (40, 2)] {
        let x = random([2, channels, 6, 5]);
        let weight = random([channels, channels, 3, 3]);
        let once = || byol_kernels::conv2d(x.clone(), weight.clone(), stride, 1);
        let alone = once();
        let g = random(alone.dims()).detach();
        let wanted = sum(alone.clone() * g.clone()).backward();
        weights_kept(3, || {
            for _ in 0..4 {
                let y = once();
                assert_eq!(y.clone().into_data(), alone.clone().into_data());
                let got = sum(y * g.clone()).backward();
                let same =
                    |t: &Tensor<4>| t.grad(&got).unwrap().into_data() == t.grad(&wanted).unwrap().into_data();
                assert!(same(&x) && same(&weight));
            }
        });
        let (x, mut changing) = (x.inner(), random([channels, channels, 3, 3]).inner());
        weights_kept(9, || {
            for _ in 0..3 {
                let kept = byol_kernels::conv2d(x.clone(), changing.clone(), stride, 1);
                changing =
                    byol_kernels::weighted_sum(changing.clone(), 0.5, Tensor::ones_like(&changing), 0.5);
                let next = byol_kernels::conv2d(x.clone(), changing.clone(), stride, 1);
                assert_ne!(next.clone().into_data(), kept.into_data());
                let fresh = weights_kept(1, || byol_kernels::conv2d(x.clone(), changing.clone(), stride, 1));
                assert_eq!(next.into_data(), fresh.into_data());
            }
        });
    }
}

/// Factors are rounded, forward and in both gradients, also where those are computed outside of the
/// scope; nothing else is.
#[test]
pub fn a_convolution_in_bf16_is_burns_of_rounded_factors() {
    let near = |x: Tensor<4>| x.cast(DType::BF16).cast(DType::F32);
    for (channels, kernel, stride) in [(6, 3, 1), (31, 3, 1), (40, 3, 2), (33, 1, 1)] {
        let (x, weight) = (random([3, channels, 7, 6]), random([36, channels, kernel, kernel]));
        let conv = || byol_kernels::conv2d(x.clone(), weight.clone(), stride, kernel / 2);
        let ours = autocast(Precision::Bf16, conv);
        let g = random(ours.dims()).detach();
        let a = sum(ours.clone() * g.clone()).backward();
        // Each product's own factors are rounded: three convolutions of Burn's.
        let leaf = |x: Tensor<4>| Tensor::from_inner(near(x.inner())).require_grad();
        let (rounded_x, rounded_weight) = (leaf(x.clone()), leaf(weight.clone()));
        let options = ConvOptions::new([stride; 2], [kernel / 2; 2], [1; 2], 1);
        let burns = conv2d(rounded_x.clone(), rounded_weight.clone(), None, options);
        let b = sum(burns.clone() * near(g)).backward();
        assert_same("results", ours, burns.clone());
        assert_same("input gradient", x.grad(&a).unwrap(), rounded_x.grad(&b).unwrap());
        assert_same("weight gradient", weight.grad(&a).unwrap(), rounded_weight.grad(&b).unwrap());
        let gap = (conv() - burns).abs().max().into_scalar::<f32>();
        assert!(gap > 1e-3, "outside of the scope it is f32: {gap}");
    }
}

/// Of 3×3 windows with many channels transformed values are rounded: near Burn's of f32, and not
/// the same.
#[test]
pub fn a_filtered_convolution_in_bf16_is_near_burns() {
    let (x, weight) = (random([3, 40, 9, 8]), random([36, 40, 3, 3]));
    let ours = autocast(Precision::Bf16, || byol_kernels::conv2d(x.clone(), weight.clone(), 1, 1));
    let g = random(ours.dims()).detach();
    let a = sum(ours.clone() * g.clone()).backward();
    let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
    let burns = conv2d(x.clone(), weight.clone(), None, options);
    let b = sum(burns.clone() * g).backward();
    for (ours, burns) in [
        (ours.inner(), burns.inner()),
        (x.grad(&a).unwrap(), x.grad(&b).unwrap()),
        (weight.grad(&a).unwrap(), weight.grad(&b).unwrap()),
    ] {
        let norm = |t: Tensor<4>| sum(t.clone() * t).into_scalar::<f32>().sqrt();
        let gap = norm(ours - burns.clone()) / norm(burns);
        assert!(gap > 1e-4 && gap < 1.0 / 128.0, "{gap}");
    }
}

/// In evaluation mode, too.
#[test]
fn what_follows_a_convolution_in_bf16_follows_it() {
    let (x, weight) = (random([2, 40, 6, 5]).inner(), random([40, 40, 3, 3]).inner());
    let (scale, offset) = (random([40]).inner(), random([40]).inner());
    let [at_once, later] = autocast(Precision::Bf16, || {
        let (x, weight, scale, offset) = (x.clone(), weight.clone(), scale.clone(), offset.clone());
        let y = byol_kernels::conv2d(x.clone(), weight.clone(), 1, 1);
        let later = byol_kernels::affine(y, scale.clone(), offset.clone(), None, true);
        [byol_kernels::conv2d_affine(x, weight, 1, 1, scale, offset, None, true), later]
    });
    at_once.into_data().assert_eq(&later.into_data(), true);
}

/// With and without a gradient to come, narrow and wide.
#[test]
pub fn what_follows_a_convolution_is_burns() {
    for (channels, shortcut, rectify) in [(6, false, true), (40, true, true), (40, true, false)] {
        let (x, weight) = (random([2, channels, 6, 5]), random([channels, channels, 3, 3]));
        let (scale, offset, s) = (random([channels]), random([channels]), random([2, channels, 6, 5]));
        let with = shortcut.then(|| s.clone());
        let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
        let by = |t: &Tensor<1>| t.clone().reshape([1, channels, 1, 1]);
        let y = conv2d(x.clone(), weight.clone(), None, options) * by(&scale) + by(&offset);
        let y = if shortcut { y + s.clone() } else { y };
        let burns = if rectify { relu(y) } else { y };
        let plain = byol_kernels::conv2d_affine(
            x.clone().inner(),
            weight.clone().inner(),
            1,
            1,
            scale.clone().inner(),
            offset.clone().inner(),
            with.clone().map(Tensor::inner),
            rectify,
        );
        assert_same("results", plain, burns.clone().inner());
        let ours = byol_kernels::conv2d_affine(
            x.clone(),
            weight.clone(),
            1,
            1,
            scale.clone(),
            offset.clone(),
            with,
            rectify,
        );
        let g = random(burns.dims()).detach();
        let (a, b) = (sum(ours * g.clone()).backward(), sum(burns * g).backward());
        assert_same("input gradient", x.grad(&a).unwrap(), x.grad(&b).unwrap());
        assert_same("weight gradient", weight.grad(&a).unwrap(), weight.grad(&b).unwrap());
        assert_same("scale's", scale.grad(&a).unwrap(), scale.grad(&b).unwrap());
    }
}

#[test]
pub fn normalisations_are_burns() {
    for case in 0..8 {
        let [last, shortcut, rectify] = [4, 2, 1].map(|bit| case & bit != 0);
        let of = if last { random_last } else { random };
        let (x, s) = (of([4, 6, 5, 3]), of([4, 6, 5, 3]));
        let (gamma, beta) = (random([6]), random([6]));
        let with = shortcut.then(|| s.clone());
        let kept = [&x, &s].map(|t| t.clone().mul_scalar(1.0));
        let ours =
            byol_kernels::batch_norm_train(x.clone(), gamma.clone(), beta.clone(), with, rectify, 1e-5);
        let batch = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-5);
        let burns = if shortcut { batch.output + s.clone() } else { batch.output };
        let burns = if rectify { relu(burns) } else { burns };
        assert_same("results", ours.output.clone(), burns.clone());
        assert_same("mean", ours.mean, batch.mean);
        assert_same("variance", ours.variance, batch.variance);
        let g = of(burns.dims()).detach();
        let (a, b) = (sum(ours.output * g.clone()).backward(), sum(burns * g).backward());
        assert_same("input gradient", x.grad(&a).unwrap(), x.grad(&b).unwrap());
        assert_same("gamma's", gamma.grad(&a).unwrap(), gamma.grad(&b).unwrap());
        assert_same("beta's", beta.grad(&a).unwrap(), beta.grad(&b).unwrap());
        if shortcut {
            assert_same("shortcut's", s.grad(&a).unwrap(), s.grad(&b).unwrap());
        }
        [x, s].into_iter().zip(kept).for_each(|(of, kept)| assert_same("what others have stays", of, kept));
    }
}

/// A value that two operations read, one of them a convolution: its gradient is the sum.
#[test]
pub fn gradients_of_shortcuts_are_added() {
    for stride in [1, 2] {
        let (x, weight) = (random([2, 4, 6, 6]), random([4, 4, 3, 3]));
        let (gamma, beta) = (random([4]), random([4]));
        let other = random([4, 4, 1, 1]);
        let block = |conv: &dyn Fn(Tensor<4>, Tensor<4>, usize, usize) -> Tensor<4>| {
            let x = relu(x.clone() * 2.0);
            let shortcut = if stride == 1 { x.clone() } else { conv(x.clone(), other.clone(), 2, 0) };
            let y = conv(x, weight.clone(), stride, 1);
            let y =
                byol_kernels::batch_norm_train(y, gamma.clone(), beta.clone(), Some(shortcut), true, 1e-5);
            sum(y.output.square())
        };
        let ours = block(&byol_kernels::conv2d).backward();
        let burns = block(&|x, w, stride, padding| {
            conv2d(x, w, None, ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1))
        })
        .backward();
        assert_same("input gradient", x.grad(&ours).unwrap(), x.grad(&burns).unwrap());
        assert_same("weight gradient", weight.grad(&ours).unwrap(), weight.grad(&burns).unwrap());
    }
}

#[test]
pub fn poolings_are_burns() {
    let x = random([2, 5, 9, 8]);
    let ours = byol_kernels::max_pool2d(x.clone(), 3, 2, 1);
    let pool = burn::nn::pool::MaxPool2dConfig::new([3, 3])
        .with_strides([2, 2])
        .with_padding(burn::nn::PaddingConfig2d::Explicit(1, 1, 1, 1));
    let burns = pool.init().forward(x.clone());
    assert_same("results", ours.clone(), burns.clone());
    let g = random(burns.dims()).detach();
    let (a, b) = (sum(ours * g.clone()).backward(), sum(burns * g).backward());
    assert_same("gradient", x.grad(&a).unwrap(), x.grad(&b).unwrap());
}

#[test]
pub fn evaluation_is_differentiable_too() {
    for of in [random, random_last] {
        let (x, s) = (of([3, 4, 2, 2]), of([3, 4, 2, 2]));
        let (scale, offset, kept) = (random([4]), random([4]), x.clone().mul_scalar(1.0));
        let ours = byol_kernels::affine(x.clone(), scale.clone(), offset.clone(), Some(s.clone()), true);
        let spread = |v: Tensor<1>| v.reshape([1, 4, 1, 1]);
        let burns = relu(x.clone() * spread(scale.clone()) + spread(offset) + s);
        assert_same("results", ours.clone(), burns.clone());
        let plain = byol_kernels::affine(
            x.clone().inner(),
            scale.clone().inner(),
            Tensor::zeros([4], &Device::flex()),
            None,
            false,
        );
        assert_same("plain", plain, (x.clone() * spread(scale.clone())).inner());
        let (a, b) = (sum(ours.square()).backward(), sum(burns.square()).backward());
        assert_same("gradient", x.grad(&a).unwrap(), x.grad(&b).unwrap());
        assert_same("factors", scale.grad(&a).unwrap(), scale.grad(&b).unwrap());
        assert_same("what others have stays", x, kept);
    }
}

/// Another precision is Burn's business.
#[test]
fn half_precision_goes_to_burn() {
    let device = Device::flex();
    let x = Tensor::<4>::random([1, 2, 4, 4], Distribution::Default, &device).cast(DType::F16);
    let weight = Tensor::<4>::random([3, 2, 3, 3], Distribution::Default, &device).cast(DType::F16);
    let y = byol_kernels::conv2d(x, weight, 1, 1);
    assert_eq!((y.dims(), y.dtype()), ([1, 3, 4, 4], DType::F16));
}

#[test]
fn what_does_not_fit_goes_to_burn() {
    let device = Device::flex();
    // Three dimensions.
    let x = Tensor::<3>::random([2, 3, 4], Distribution::Default, &device);
    let (scale, offset) =
        (Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device), Tensor::<1>::zeros([3], &device));
    let y = byol_kernels::affine(x.clone(), scale.clone(), offset, None, false);
    assert_same("three dimensions", y, x * scale.reshape([1, 3, 1]));
    // A shortcut that is spread out.
    let (x, gamma, beta) = (random([2, 3, 2, 2]), random([3]), random([3]));
    let shortcut = random([1, 3, 1, 1]);
    let y = byol_kernels::batch_norm_train(
        x.clone(),
        gamma.clone(),
        beta.clone(),
        Some(shortcut.clone()),
        false,
        1e-5,
    );
    assert_same("spread", y.output, batch_norm_train(x, gamma, beta, 1e-5).output + shortcut);
}

#[test]
#[should_panic(expected = "reshape must preserve total elements")]
fn parameters_of_other_channels_are_burns_error() {
    let x = Tensor::<4>::ones([1, 3, 1, 1], &Device::flex());
    let five = Tensor::<1>::ones([5], &Device::flex());
    let _ = byol_kernels::batch_norm_train(x, five.clone(), five, None, true, 1e-5);
}

/// In place or not, in any layout.
#[test]
pub fn weighted_sums_are_burns() {
    let device = Device::flex();
    let draw = || Tensor::<2>::random([30, 50], Distribution::Default, &device);
    let (a, b) = (draw(), draw());
    let expected = a.clone().mul_scalar(0.9) + b.clone().mul_scalar(-0.3);
    let kept = a.clone();
    assert_same("sum", byol_kernels::weighted_sum(a.clone(), 0.9, b.clone(), -0.3), expected.clone());
    assert_same("what others have stays", kept, a.clone());
    let turned = (b.clone().transpose().mul_scalar(1.0)).transpose();
    assert_same("turned", byol_kernels::weighted_sum(a.clone(), 0.9, turned, -0.3), expected.clone());
    let turned = a.transpose().mul_scalar(1.0).transpose();
    assert_same("turned", byol_kernels::weighted_sum(turned, 0.9, b, -0.3), expected);
}

/// In place or not, in any layout.
#[test]
pub fn steps_with_momentum_are_burns() {
    let device = Device::flex();
    let draw = || Tensor::<2>::random([30, 50], Distribution::Default, &device);
    let (w, m, g) = (draw(), draw(), draw());
    let next = m.clone().mul_scalar(0.9) + g.clone() + w.clone().mul_scalar(0.01);
    let expected = (w.clone() - next.clone().mul_scalar(0.3), next);
    let turned = |x: &Tensor<2>| x.clone().transpose().mul_scalar(1.0).transpose();
    let same = |what: &str, [w, m, g]: [Tensor<2>; 3]| {
        let got = byol_kernels::momentum_step(w, m, g, 0.01, 0.9, 0.3);
        assert_same(what, got.0, expected.0.clone());
        assert_same(what, got.1, expected.1.clone());
    };
    let kept = [&w, &m].map(|x| x.clone().mul_scalar(1.0));
    same("held by others", [w.clone(), m.clone(), g.clone()]);
    assert_same("what others have stays", w.clone(), kept[0].clone());
    assert_same("what others have stays", m.clone(), kept[1].clone());
    same("turned gradient", [w.clone(), m.clone(), turned(&g)]);
    same("turned weights", [turned(&w), m.clone(), g.clone()]);
    same("turned momentum", [w.clone(), turned(&m), g.clone()]);
    same("in place", [w, m, g]);
}

/// Tracked tensors have their gradients.
#[test]
fn weighted_sums_have_gradients() {
    let (a, b) = (random([3, 4]), random([3, 4]));
    let gradients = sum(byol_kernels::weighted_sum(a.clone(), 0.5, b.clone(), 2.0)).backward();
    assert_same("a", a.grad(&gradients).unwrap(), Tensor::full([3, 4], 0.5, &Device::flex()));
    assert_same("b", b.grad(&gradients).unwrap(), Tensor::full([3, 4], 2.0, &Device::flex()));
}

/// What is no number must be seen by whoever guards the loss.
#[test]
pub fn no_number_is_hidden() {
    let device = Device::flex();
    let x = Tensor::<4>::from_data([[[[f32::NAN]], [[-1.0]]], [[[2.0]], [[3.0]]]], &device);
    let one = Tensor::<1>::ones([2], &device);
    let zero = Tensor::<1>::zeros([2], &device);
    let y: Vec<f32> = byol_kernels::affine(x.clone(), one.clone(), zero.clone(), None, true)
        .into_data()
        .try_into_vec()
        .unwrap();
    assert!(y.iter().filter(|y| y.is_nan()).count() == 1, "{y:?}");
    let y: Vec<f32> = byol_kernels::batch_norm_train(x, one, zero, None, true, 1e-5)
        .output
        .into_data()
        .try_into_vec()
        .unwrap();
    assert!(y.iter().filter(|y| y.is_nan()).count() == 2, "{y:?}");
}
