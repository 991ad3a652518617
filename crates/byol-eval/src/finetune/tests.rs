use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use byol_model::{BatchNorm, BatchNormConfig, Encoder, load_named, named_tensors};
use serde_json::Value;

use super::*;
use crate::pictures::{as_they_are, set};

/// A linear map of the pixels, normalised.
#[derive(Module, Debug)]
struct Small {
    linear: Linear,
    norm: BatchNorm,
    units: usize,
}

impl Small {
    fn new(units: usize, device: &Device) -> Self {
        let linear = LinearConfig::new(16, units).with_initializer(Initializer::Zeros).init(device);
        Self { linear, norm: BatchNormConfig::new(units).init(device), units }
    }

    /// With this weight, units × 16.
    fn with(self, weight: &[f32]) -> Self {
        let units = self.units;
        let mut tensors: std::collections::BTreeMap<_, _> =
            named_tensors(&self).into_iter().map(|t| (t.name, (t.shape, t.values))).collect();
        let turned = (0..16).flat_map(|i| (0..units).map(move |o| weight[o * 16 + i])).collect();
        tensors.insert("linear.weight".into(), (vec![16, units], turned));
        load_named(self, tensors).unwrap()
    }
}

impl Encoder for Small {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let [n, ..] = images.dims();
        relu(self.norm.forward(self.linear.forward(images.reshape([n, 16]))))
    }

    fn dim(&self) -> usize {
        self.units
    }
}

fn rows<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn fine_tuning_is_pytorchs() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../tests/golden/eval/finetune.json")).unwrap();
    let (pictures, labels) = (rows::<Vec<u8>>(&golden["pictures"]), rows::<usize>(&golden["labels"]));
    let weight: Vec<f32> = rows::<Vec<f32>>(&golden["grid"]).concat().iter().map(|w| w / 64.0).collect();
    let (set, device) = (set(&pictures, &labels), Device::flex());
    let encoder = Small::new(6, &device).with(&weight).valid();
    let before = named_tensors(&encoder);
    let (views, transform) = as_they_are();
    let all: Vec<usize> = (0..labels.len()).collect();
    let data = Labelled {
        sets: &[&set],
        rows: &all,
        labels: &labels,
        n_classes: 3,
        views: &views,
        transform: &transform,
        channels: 1,
    };
    let training = Training {
        rate: golden["rate"].as_f64().unwrap(),
        epochs: golden["epochs"].as_u64().unwrap() as usize,
        batch: labels.len(),
        momentum: 0.9,
        seed: 0,
    };
    let net = Classifier::train(&encoder, &data, training, &device, &mut |_| {}).unwrap();
    let logits = net.answers(&[&set], &all, &transform, 1, &device, &mut |_| {}).unwrap().concat();
    let expected = rows::<f64>(&golden["logits"]);
    assert_eq!(logits.len(), expected.len());
    let gap = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(gap < 1e-4, "{gap}");
    let expected = rows::<f64>(&golden["encoder_weight"]);
    let learned = &named_tensors(&net.encoder)[0];
    assert_eq!((learned.name.as_str(), learned.shape.as_slice()), ("linear.weight", &[16, 6][..]));
    let at = |o: usize, i: usize| f64::from(learned.values[i * 6 + o]);
    let gap = (0..96).map(|k| (at(k / 16, k % 16) - expected[k]).abs()).fold(0.0, f64::max);
    assert!(gap < 1e-5, "{gap}");
    let moved = (0..96).map(|k| (expected[k] - f64::from(weight[k])).abs()).fold(0.0, f64::max);
    assert!(moved > 0.01, "the encoder learns too: {moved}");
    assert_eq!(named_tensors(&encoder), before, "what was given stays as it was");
}

#[test]
fn the_choice_is_made_on_pictures_that_did_not_teach_and_repeats() {
    // Bright ones and dark ones: with any rate but the smallest they are soon told apart.
    let pictures: Vec<Vec<u8>> =
        (0..60).map(|i| vec![if i % 2 == 0 { 20 } else { 200 } + (i % 7) as u8; 16]).collect();
    let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
    let (set, device) = (set(&pictures, &labels), Device::flex());
    let weight: Vec<f32> = (0..64).map(|i| (i % 5) as f32 / 10.0 - 0.1).collect();
    let encoder = Small::new(4, &device).with(&weight).valid();
    let (views, transform) = as_they_are();
    let known: Vec<usize> = (0..60).filter(|row| row % 3 != 0).collect();
    let known_labels: Vec<usize> = known.iter().map(|row| labels[*row]).collect();
    let data = Labelled {
        sets: &[&set],
        rows: &known,
        labels: &known_labels,
        n_classes: 2,
        views: &views,
        transform: &transform,
        channels: 1,
    };
    let config = FinetuneConfig { rates: vec![1e-9, 0.1], epochs: vec![1, 8], ..FinetuneConfig::paper() };
    let mut learned = 0;
    let run =
        |learned: &mut usize| finetune(&encoder, &data, &config, 3, &device, &mut |n| *learned += n).unwrap();
    let (net, report) = run(&mut learned);
    assert_eq!((report.trials.len(), report.n_held_out, report.rate), (4, 40, 0.1));
    assert!(report.at_the_edge);
    assert_eq!((report.batch, report.steps), (16, report.epochs * 3));
    // Every fold of 8 is left out once: 5 * 32 pictures a pass of each trial, then all 40.
    assert_eq!(learned, 2 * (1 + 8) * 5 * 32 + report.epochs * 40);
    assert!(learned <= config.pictures(40));
    let ranked = net.predict(&set, &transform, 1, &device, &mut |_| {}).unwrap();
    assert!(ranked.iter().zip(&labels).all(|(classes, label)| classes[0] == *label));
    let (again, same) = run(&mut learned);
    assert_eq!(report, same);
    assert_eq!(named_tensors(&net), named_tensors(&again));

    let one = FinetuneConfig { rates: vec![0.1], epochs: vec![2], ..config.clone() };
    let (_, report) = finetune(&encoder, &data, &one, 3, &device, &mut |_| {}).unwrap();
    assert_eq!((report.trials.len(), report.n_held_out, report.at_the_edge), (0, 0, false));
}

#[test]
fn what_cannot_be_is_said() {
    let (set, device) = (set(&[vec![0; 16], vec![90; 16]], &[0, 1]), Device::flex());
    let encoder = Small::new(2, &device).with(&[0.1; 32]);
    let (views, transform) = as_they_are();
    let data = Labelled {
        sets: &[&set],
        rows: &[0, 1],
        labels: &[0, 1],
        n_classes: 2,
        views: &views,
        transform: &transform,
        channels: 1,
    };
    let paper = FinetuneConfig::paper();
    let says = |data: &Labelled<'_>, config: &FinetuneConfig| {
        finetune(&encoder, data, config, 0, &device, &mut |_| {})
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    assert!(says(&Labelled { labels: &[0, 2], ..data }, &paper).contains("label 2 of 2"));
    assert!(says(&Labelled { labels: &[0], ..data }, &paper).contains("1 labels for 2"));
    assert!(says(&Labelled { rows: &[0, 7], ..data }, &paper).contains('7'));
    assert!(says(&Labelled { rows: &[0], labels: &[0], ..data }, &paper).contains("one picture"));
    for config in [
        FinetuneConfig { rates: vec![], ..paper.clone() },
        FinetuneConfig { rates: vec![-1.0], ..paper.clone() },
        FinetuneConfig { epochs: vec![0], ..paper.clone() },
        FinetuneConfig { batch: 0, ..paper.clone() },
        FinetuneConfig { momentum: 1.0, ..paper.clone() },
    ] {
        assert!(says(&data, &config).contains("expected") || says(&data, &config).contains("batches of"));
    }
    let one = FinetuneConfig { rates: vec![0.1], epochs: vec![1], ..paper };
    let (net, _) = finetune(&encoder, &data, &one, 0, &device, &mut |_| {}).unwrap();
    let mut tensors: std::collections::BTreeMap<_, _> =
        named_tensors(&net).into_iter().map(|t| (t.name, (t.shape, t.values))).collect();
    tensors.insert("fc.bias".into(), (vec![2], vec![f32::NAN, 0.0]));
    let net = load_named(net, tensors).unwrap();
    let error = net.predict(&set, &transform, 1, &device, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("diverged"), "{error}");
}

#[test]
fn batches_and_lengths_are_the_papers_where_labels_are_many() {
    let paper = FinetuneConfig::paper();
    assert_eq!(
        [5, 40, 100, 1000, 12_811, 1_281_167].map(|n| paper.batch_of(n)),
        [5, 16, 16, 100, 1024, 1024]
    );
    // 10 trials of five folds of four fifths, and 50 passes; then one fold.
    assert_eq!(paper.pictures(100), 5 * 5 * 80 * 80 + 50 * 100);
    assert_eq!(paper.pictures(1000), 5 * 80 * 800 + 50 * 1000);
}
