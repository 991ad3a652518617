//! The parts of a training step, each beside the least that it can take on this machine.

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Tensor;
use byol_kernels::{Floor, Path};
use byol_model::{EncoderCost, OnlineNetwork, ResNet, ResNetConfig, regression_loss};
use byol_train::Byol;
use serde_json::{Map, Value, json};

use super::train::{RATE, head, median};
use crate::cli::BenchTrainArgs;
use crate::terminal::say;

/// What a step is made of.
pub const PARTS: [&str; 6] = ["online forward", "target forward", "loss", "backward", "optimizer", "average"];

/// Arithmetic and memory that a step cannot do without. Products of 3x3 windows are counted as they
/// are written, nine for each result: minimal filtering needs fewer.
pub struct Work {
    batch: f64,
    /// Multiply-adds of a picture's pass through the encoder.
    encoder: f64,
    projector: f64,
    predictor: f64,
    /// Values that the normalisations of a pass are given, a picture.
    values: f64,
    /// Of f.
    parameters: f64,
}

impl Work {
    pub fn of(args: &BenchTrainArgs, cost: &EncoderCost, config: &ResNetConfig) -> Result<Self> {
        let parameters = |input: usize| head(args).parameters(input) as f64;
        Ok(Self {
            batch: args.batch as f64,
            encoder: cost.multiply_adds as f64,
            projector: parameters(config.dim()?),
            predictor: parameters(args.proj),
            values: cost.normalized as f64,
            parameters: cost.parameters as f64,
        })
    }

    /// Floating-point operations and bytes of each of [`PARTS`]: both views, results of
    /// convolutions and of normalisations written once and read once, and on the way back their
    /// gradients too.
    fn parts(&self) -> [(f64, f64); 6] {
        let views = 2.0 * self.batch;
        let online = 2.0 * views * (self.encoder + self.projector + self.predictor);
        let target = 2.0 * views * (self.encoder + self.projector);
        let values = 4.0 * views * self.values;
        let averaged = 4.0 * (self.parameters + self.projector);
        let learned = averaged + 4.0 * self.predictor;
        [
            (online, 4.0 * values),
            (target, 4.0 * values),
            (0.0, 0.0),
            (2.0 * online, 6.0 * values),
            // Reads w, its gradient and its momentum, and writes two of them.
            (0.0, 5.0 * learned),
            (0.0, 3.0 * averaged),
        ]
    }

    /// Floating-point operations of a step.
    pub fn flops(&self) -> f64 {
        self.parts().iter().map(|(flops, _)| flops).sum()
    }
}

/// What the parts took, and what they would at least.
pub struct Stages {
    seconds: [f64; 6],
    least: [f64; 6],
    pub floor: Floor,
}

impl Stages {
    /// Each part alone, on all threads; medians of so many steps. What a part changes is its own, as in a
    /// step. The online network afterwards too.
    pub fn measure(
        byol: Byol<ResNet>,
        [v, v_prime]: [&Tensor<4>; 2],
        steps: usize,
        path: Path,
        work: &Work,
    ) -> (Self, OnlineNetwork<ResNet>) {
        let Byol { mut online, mut target, mut optimizer, .. } = byol;
        let floor = Floor::measure(path);
        let mut times: [Vec<f64>; 6] = Default::default();
        for _ in 0..steps {
            let mut at = Instant::now();
            let mut lap = |part: usize| {
                times[part].push(at.elapsed().as_secs_f64());
                at = Instant::now();
            };
            let (theta, theta_prime) = (online.forward(v.clone()), online.forward(v_prime.clone()));
            lap(0);
            let (xi, xi_prime) = (target.forward(v.clone()), target.forward(v_prime.clone()));
            lap(1);
            let loss =
                regression_loss(theta.prediction, xi_prime) + regression_loss(theta_prime.prediction, xi);
            lap(2);
            let mut gradients = loss.backward();
            lap(3);
            online = optimizer.step(online, &mut gradients, RATE);
            lap(4);
            target = target.update(&online, 0.996);
            lap(5);
        }
        let least = work.parts().map(|(flops, bytes)| floor.seconds(flops, bytes));
        (Self { seconds: times.map(|mut times| median(&mut times)), least, floor }, online)
    }

    /// Seconds of each part, a picture.
    pub fn seconds(&self, pictures: f64) -> Value {
        by_part(&self.seconds, pictures)
    }

    /// Seconds that each part takes at least, a picture.
    pub fn floors(&self, pictures: f64) -> Value {
        by_part(&self.least, pictures)
    }

    /// As a table; `step` are a step's seconds.
    pub fn tell(&self, step: f64) {
        let Floor { flops, bytes } = self.floor;
        say(&format!(
            "floors by {:.0} GFLOP/s and {:.1} GB/s, measured here, and by operations as convolutions are written: \
             minimal filtering needs fewer; each part alone, on all threads",
            flops / 1e9,
            bytes / 1e9
        ));
        for (name, (seconds, least)) in PARTS.into_iter().zip(self.seconds.iter().zip(self.least)) {
            say(&format!(
                "  {name:<16} {:>9.2} ms {:>5.1} %   floor {:>9.2} ms",
                1e3 * seconds,
                100.0 * seconds / step,
                1e3 * least
            ));
        }
    }
}

fn by_part(seconds: &[f64; 6], pictures: f64) -> Value {
    let each = PARTS.into_iter().zip(seconds).map(|(name, s)| (name.to_owned(), json!(s / pictures)));
    Value::Object(each.collect::<Map<_, _>>())
}
