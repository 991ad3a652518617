//! An encoder and pictures of one's own: whatever gives two views of the same things.

use std::error::Error;
use std::ops::ControlFlow::Continue;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor, activation::relu};
use byol_model::{Encoder, OneProcess};
use byol_train::{Byol, DataFacts, RunPlan, Seen, SpecBuilder, TrainState, Views, train_on};

/// One layer over all pixels.
#[derive(Module, Debug)]
struct Flat {
    linear: Linear,
}

impl Encoder for Flat {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        relu(self.linear.forward(images.flatten(1, 3)))
    }

    fn dim(&self) -> usize {
        32
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let spec = SpecBuilder::preset("quick")?.set("length.steps=100")?.set("warmup.steps=10")?.build()?;
    let data = DataFacts { path: "waves".into(), samples: 1000, channels: 1, ..DataFacts::default() };
    let mut plan = RunPlan::of(spec, data)?;
    let encoder = Flat { linear: LinearConfig::new(64, 32).init(&device) };
    let start = TrainState::new(Byol::new(encoder, &plan.spec, &device));
    // The same 8x8 pictures in different noise.
    let n = plan.spec.batch;
    let noise = |deviation| Tensor::random([n, 1, 8, 8], Distribution::Normal(0.0, deviation), &device);
    let mut views = || {
        let pictures: Tensor<4> = noise(1.0);
        Ok(Views { views: [0.3, 0.3].map(|d| pictures.clone() + noise(d)), samples: (0..n).collect() })
    };
    let mut say = |seen: &mut Seen<'_, Flat>| {
        println!("{} {:.3} {:.2}", seen.report.step, seen.report.loss, seen.report.z_std);
        Ok(Continue(()))
    };
    train_on(&mut plan, start, &mut views, None, &OneProcess, &mut [&mut say])?;
    Ok(())
}
