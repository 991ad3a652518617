//! An encoder with a classifier, and how both learn.

use std::sync::mpsc::sync_channel;

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use byol_augment::EvalTransform;
use byol_data::ImageDataset;
use byol_model::{Encoder, input};

use super::Labelled;
use crate::extract::{pictures_at_once, prepare, views};
use crate::labels::shuffled;
use crate::score::ranked;
use crate::{EvalError, Ranked};

/// One training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// The learning rate of the first step; it falls to 0 by half a cosine.
    pub rate: f64,
    /// Passes over the labelled pictures.
    pub epochs: usize,
    /// Pictures in a step at most: those of a pass are shared out evenly.
    pub batch: usize,
    /// Of Nesterov's momentum.
    pub momentum: f64,
    /// Of order and views.
    pub seed: u64,
}

/// An encoder with a linear classifier on its representations.
#[derive(Module, Debug)]
pub struct Classifier<E: Encoder> {
    /// f.
    pub encoder: E,
    /// y to one number a class, before the softmax.
    pub fc: Linear,
}

impl<E: Encoder> Classifier<E> {
    /// Trains a copy of `encoder` and a classifier that begins at 0 on all labelled pictures,
    /// which the seed shuffles and cuts views of: the same seed gives the same bits on the CPU. `learned` is
    /// told of each batch how many pictures it had.
    ///
    /// # Errors
    ///
    /// If the data do not belong together, or a picture cannot be decoded.
    pub fn train(
        encoder: &E,
        data: &Labelled<'_>,
        training: Training,
        device: &Device,
        learned: &mut dyn FnMut(usize),
    ) -> Result<Self, EvalError> {
        data.check()?;
        let Training { rate, epochs, batch, momentum, seed } = training;
        let device = device.clone().autodiff();
        let fc = LinearConfig::new(encoder.dim(), data.n_classes)
            .with_initializer(Initializer::Zeros)
            .init(&device);
        // Off the autodiff device and back: running statistics of its own.
        let mut net = Self { encoder: encoder.clone(), fc }.valid().train();
        let nesterov = MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(true);
        let mut optimizer = SgdConfig::new().with_momentum(Some(nesterov)).init();
        let n = data.rows.len();
        let per_epoch = n.div_ceil(batch.max(1)).max(1);
        let total = epochs * per_epoch;
        std::thread::scope(|scope| {
            // Views are made one step ahead.
            let (sender, receiver) = sync_channel(1);
            scope.spawn(move || {
                for epoch in 0..epochs as u64 {
                    let order = shuffled(n, seed, epoch);
                    for nth in 0..per_epoch {
                        // As even as can be, so that no batch is of one picture.
                        let some = &order[nth * n / per_epoch..(nth + 1) * n / per_epoch];
                        let rows: Vec<usize> = some.iter().map(|i| data.rows[*i]).collect();
                        let labels: Vec<usize> = some.iter().map(|i| data.labels[*i]).collect();
                        let images = views(data.sets, &rows, data.views, [seed, epoch], data.channels);
                        let failed = images.is_err();
                        if sender.send(images.map(|images| (images, labels))).is_err() || failed {
                            return; // whoever receives is gone, or is told
                        }
                    }
                }
            });
            for (step, made) in receiver.into_iter().enumerate() {
                let (images, labels) = made?;
                let lr = rate * half_cosine(step as f64 / total as f64);
                let images = input::tensor(images, data.channels, data.views.size, &device);
                let loss = cross_entropy(net.logits(images), &labels, &device);
                let gradients = GradientsParams::from_grads(loss.backward(), &net);
                net = optimizer.step(lr, net, gradients);
                learned(labels.len());
            }
            Ok(net.valid())
        })
    }

    /// One number a class, before the softmax: `[N, C, H, W]` to `[N, classes]`.
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.fc.forward(self.encoder.forward(images))
    }

    /// Classes of pictures, most probable first, by running statistics; `done` is told of each
    /// batch how many pictures it had.
    ///
    /// # Errors
    ///
    /// If a picture cannot be decoded, or an answer is no number: the network has diverged.
    pub fn predict(
        &self,
        set: &ImageDataset,
        transform: &EvalTransform,
        channels: usize,
        device: &Device,
        done: &mut dyn FnMut(usize),
    ) -> Result<Ranked, EvalError> {
        let all: Vec<usize> = (0..set.len()).collect();
        let logits = self.answers(&[set], &all, transform, channels, device, done)?;
        if let Some(row) = logits.iter().position(|row| row.iter().any(|x| !x.is_finite())) {
            return Err(EvalError::Disagree(format!(
                "the fine-tuned network says nothing finite of picture {row}: it has diverged; lower learning \
                 rates may help"
            )));
        }
        Ok(logits.iter().map(|row| ranked(row)).collect())
    }

    /// One number a class of each picture.
    pub(super) fn answers(
        &self,
        sets: &[&ImageDataset],
        rows: &[usize],
        transform: &EvalTransform,
        channels: usize,
        device: &Device,
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<f64>>, EvalError> {
        let (net, device) = (self.valid(), device.clone().without_autodiff());
        let mut answers = Vec::with_capacity(rows.len());
        for some in rows.chunks(pictures_at_once(transform.size)) {
            let images = prepare(sets, some, transform, channels)?;
            let logits = net.logits(input::tensor(images, channels, transform.size, &device));
            let [_, classes] = logits.dims();
            // Cannot fail: they are f32.
            let values: Vec<f32> = logits.into_data().try_into_vec().unwrap_or_default();
            answers
                .extend(values.chunks_exact(classes).map(|row| row.iter().map(|x| f64::from(*x)).collect()));
            done(some.len());
        }
        Ok(answers)
    }
}

fn half_cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

/// Mean over the rows of −log softmax at their labels.
fn cross_entropy(logits: Tensor<2>, labels: &[usize], device: &Device) -> Tensor<1> {
    let [n, classes] = logits.dims();
    let mut wanted = vec![0.0f32; n * classes];
    labels.iter().enumerate().for_each(|(row, label)| wanted[row * classes + label] = -1.0 / n as f32);
    let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [n, classes]), device);
    (log_softmax(logits, 1) * wanted).sum_dim(1).sum_dim(0).reshape([1])
}
