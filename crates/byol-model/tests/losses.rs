//! Losses and diagnostics against PyTorch in float64 (tests/golden/losses).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use burn::tensor::{Device, Tensor, TensorData};
use byol_model::{
    InfoNce, LossNorm, alignment, effective_rank, embedding_std, info_nce_loss, mean_cosine, regression_loss,
    regression_loss_with, uniformity,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/golden/losses/expected.json")).unwrap()
}

fn numbers(rows: &Value) -> Vec<f32> {
    let rows = rows.as_array().unwrap();
    rows.iter().flat_map(|row| row.as_array().unwrap()).map(|x| x.as_f64().unwrap() as f32).collect()
}

fn matrix(rows: &Value) -> Tensor<2> {
    let shape = [rows.as_array().unwrap().len(), rows[0].as_array().unwrap().len()];
    Tensor::from_data(TensorData::new(numbers(rows), shape), &Device::flex().autodiff())
}

fn scalar(x: Tensor<1>) -> f64 {
    f64::from(x.into_scalar::<f32>())
}

fn close(what: &str, got: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((got - expected).abs() <= 1e-4 * expected.abs().max(1e-3), "{what}: {got} against {expected}");
}

/// Within 1e-4 of the largest value.
fn gradients_close(what: &str, got: Option<Tensor<2>>, expected: &Value) {
    let expected = numbers(expected);
    let got: Vec<f32> = match got {
        Some(gradient) => gradient.into_data().try_into_vec().unwrap(),
        None => vec![0.0; expected.len()],
    };
    let scale = expected.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got - expected).abs() <= 1e-4 * scale, "{what}: {got} against {expected}");
    }
}

#[test]
fn the_family_is_the_papers() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let point = InfoNce { alpha: case["alpha"].as_f64().unwrap(), beta: case["beta"].as_f64().unwrap() };
        let [phi, psi, prime] = ["phi", "psi", "psi_prime"].map(|name| matrix(&golden[name]).require_grad());
        let loss = info_nce_loss(phi.clone(), psi.clone(), prime.clone(), point);
        close(&format!("{point:?}"), scalar(loss.clone()), &case["loss"]);
        let gradients = loss.backward();
        gradients_close("phi", phi.grad(&gradients), &case["grad_phi"]);
        gradients_close("psi", psi.grad(&gradients), &case["grad_psi"]);
        gradients_close("psi'", prime.grad(&gradients), &case["grad_psi_prime"]);
    }
}

#[test]
fn byol_is_the_point_without_negatives() {
    let golden = golden();
    let [phi, psi, prime] = ["phi", "psi", "psi_prime"].map(|name| matrix(&golden[name]));
    let point = InfoNce { alpha: 0.1, beta: 0.0 };
    let family = scalar(info_nce_loss(phi.clone(), psi, prime.clone(), point));
    assert_eq!(family, scalar(regression_loss(phi, prime)));
}

#[test]
fn no_temperature_overflows() {
    let golden = golden();
    let [phi, psi, prime] = ["phi", "psi", "psi_prime"].map(|name| matrix(&golden[name]).require_grad());
    for alpha in [1e-4, 1e-3, 10.0] {
        let point = InfoNce { alpha, beta: 1.0 };
        let loss = info_nce_loss(phi.clone(), psi.clone(), prime.clone(), point);
        assert!(scalar(loss.clone()).is_finite(), "alpha {alpha}");
        let gradient: Vec<f32> = phi.grad(&loss.backward()).unwrap().into_data().try_into_vec().unwrap();
        assert!(gradient.iter().all(|x| x.is_finite()), "alpha {alpha}");
    }
}

#[test]
fn normalisations_are_the_ablations() {
    let golden = golden();
    let norms = golden["norms"].as_array().unwrap();
    assert_eq!(norms.len(), 4);
    for case in norms {
        let norm: LossNorm = serde_json::from_value(case["norm"].clone()).unwrap();
        let q = matrix(&golden["phi"]).require_grad();
        let loss = regression_loss_with(norm, q.clone(), matrix(&golden["psi"]));
        close(&format!("{norm:?}"), scalar(loss.clone()), &case["loss"]);
        gradients_close(&format!("{norm:?}"), q.grad(&loss.backward()), &case["grad"]);
    }
}

#[test]
fn diagnostics_are_the_published_ones() {
    let golden = golden();
    let expected = &golden["diagnostics"];
    let (z, w) = (matrix(&golden["phi"]), matrix(&golden["psi"]));
    close("std", scalar(embedding_std(z.clone())), &expected["embedding_std"]);
    close("cosine", scalar(mean_cosine(z.clone(), w.clone())), &expected["mean_cosine"]);
    close("alignment", scalar(alignment(z.clone(), w)), &expected["alignment"]);
    close("uniformity", scalar(uniformity(z.clone())), &expected["uniformity"]);
    close("rank", effective_rank(z.clone()), &expected["effective_rank"]);
    // Three rows span two dimensions about their mean.
    let few = effective_rank(z.narrow(0, 0, 3));
    assert!((1.0..=2.0).contains(&few), "{few}");
}

#[test]
fn a_collapsed_batch_is_seen() {
    let rows = Tensor::<2>::ones([6, 4], &Device::flex());
    assert!(scalar(embedding_std(rows.clone())) < 1e-6);
    assert_eq!(effective_rank(rows.clone()), 0.0);
    assert!(scalar(uniformity(rows.clone())).abs() < 1e-5);
    assert!((scalar(mean_cosine(rows.clone(), rows)) - 1.0).abs() < 1e-6);
    // On a line: one dimension.
    let line = TensorData::new(vec![1.0f32, 0.1, 1.0, -0.1, 1.0, 0.2, 1.0, -0.2], [4, 2]);
    let rank = effective_rank(Tensor::from_data(line, &Device::flex()));
    assert!((1.0..1.1).contains(&rank), "{rank}");
}

#[test]
fn losses_are_in_f32_whatever_the_precision() {
    use burn::tensor::DType;
    let golden = golden();
    let [phi, psi, prime] = ["phi", "psi", "psi_prime"].map(|name| matrix(&golden[name]).cast(DType::F16));
    let whole = |x: &Tensor<2>| x.clone().cast(DType::F32);
    let losses = |phi: Tensor<2>, psi: Tensor<2>, prime: Tensor<2>| {
        let point = InfoNce { alpha: 0.1, beta: 1.0 };
        let family = info_nce_loss(phi.clone(), psi, prime.clone(), point);
        [family, regression_loss(phi.clone(), prime.clone())].into_iter().chain(
            [LossNorm::LayerNorm, LossNorm::None, LossNorm::BatchNorm]
                .map(|norm| regression_loss_with(norm, phi.clone(), prime.clone())),
        )
    };
    let half = losses(phi.clone(), psi.clone(), prime.clone()).map(|loss| {
        assert_eq!(loss.dtype(), DType::F32);
        scalar(loss)
    });
    let single = losses(whole(&phi), whole(&psi), whole(&prime)).map(scalar);
    assert!(half.eq(single), "the same bits as from the same values in f32");
}
