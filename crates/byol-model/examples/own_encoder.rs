//! BYOL around a network of your own, end to end: a small vision transformer, a folder's
//! worth of unlabelled pictures, Burn's AdamW, weights out and in again.
//!
//!     cargo run --release --package byol-model --example own_encoder

use std::error::Error;

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use byol_augment::{Pixels, TwoViewPolicy, ViewKey, Workspace};
use byol_model::{
    Encoder, HeadConfig, OnlineNetwork, TargetNetwork, embedding_std, encoder_bytes, input, load_encoder,
    regression_loss,
};

/// Patches of 4 x 4 pixels as tokens, two transformer layers, the mean of the tokens.
#[derive(Module, Debug)]
struct Vit {
    patches: Conv2d,
    positions: Param<Tensor<3>>,
    layers: TransformerEncoder,
}

impl Vit {
    fn new(size: usize, dim: usize, device: &Device) -> Self {
        let tokens = (size / 4) * (size / 4);
        Self {
            patches: Conv2dConfig::new([3, dim], [4, 4]).with_stride([4, 4]).init(device),
            positions: Initializer::Normal { mean: 0.0, std: 0.02 }.init([1, tokens, dim], device),
            layers: TransformerEncoderConfig::new(dim, 2 * dim, 4, 2)
                .with_dropout(0.0)
                .with_norm_first(true)
                .init(device),
        }
    }
}

// All that byol-model asks of an encoder.
impl Encoder for Vit {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let patches = self.patches.forward(images);
        let [n, dim, height, width] = patches.dims();
        let tokens = patches.reshape([n, dim, height * width]).swap_dims(1, 2) + self.positions.val();
        let tokens = self.layers.forward(TransformerEncoderInput::new(tokens));
        tokens.mean_dim(1).reshape([n, dim])
    }

    fn dim(&self) -> usize {
        self.positions.dims()[2]
    }
}

const SIZE: usize = 32;
const BATCH: usize = 32;
const STEPS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let head = HeadConfig { layers: 2, hidden: 128, output: 32 };
    let encoder = Vit::new(SIZE, 64, &device);
    let dim = encoder.dim();
    let mut online = OnlineNetwork {
        encoder,
        projector: head.init(dim, &device),
        predictor: head.init(head.output, &device),
    };
    let mut target = TargetNetwork::copy_of(&online);
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.05).init();

    let pictures: Vec<Vec<u8>> = (0..BATCH).map(picture).collect();
    let policy = TwoViewPolicy::preset("small")?.with_size(SIZE).resolve(3)?;
    let mut workspace = Workspace::default();
    for step in 0..STEPS {
        let mut views = [Vec::new(), Vec::new()];
        for (sample, rgb) in pictures.iter().enumerate() {
            let pixels = Pixels::new(rgb, 48, 48, 3)?;
            for (view, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
                let key = ViewKey { seed: 0, epoch: step as u64, sample: sample as u64, view: view as u64 };
                let start = views[view].len();
                views[view].resize(start + policy.output_len(3), 0.0);
                let params = policy.sample(key, pixels.shape())?;
                policy.apply(&params, pixels, &mut workspace, &mut views[view][start..])?;
            }
        }
        let [v, v_prime] = views.map(|values| input::tensor(values, 3, SIZE, &device));

        // The method: each view through both networks, the target's word is constant.
        let (theta, theta_prime) = (online.forward(v.clone()), online.forward(v_prime.clone()));
        let (xi, xi_prime) = (target.forward(v), target.forward(v_prime));
        let loss = regression_loss(theta.prediction, xi_prime) + regression_loss(theta_prime.prediction, xi);
        if step % 10 == 0 || step == STEPS - 1 {
            let std = embedding_std(theta.projection.detach()).into_scalar::<f32>();
            println!("step {step:2}: loss {:.3}, z std {std:.2}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &online);
        online = optimizer.step(1e-3, online, gradients);
        target = target.update(&online, 0.99);
    }

    // Only the encoder is kept; a fresh one takes its weights.
    let bytes = encoder_bytes(&online.encoder, &"a vision transformer of 64")?;
    let encoder = load_encoder(Vit::new(SIZE, 64, &device), &bytes)?.valid();
    let policy = &policy.eval;
    let mut image = vec![0.0; policy.output_len(3)];
    policy.apply(Pixels::new(&pictures[0], 48, 48, 3)?, &mut workspace, &mut image)?;
    let y = encoder.forward(input::tensor(image, 3, SIZE, &device.without_autodiff()));
    println!("{} bytes of weights; the representation of a picture has {} values", bytes.len(), y.dims()[1]);
    Ok(())
}

/// Stripes of a colour and direction of their own: 48 x 48 pixels, RGB.
fn picture(i: usize) -> Vec<u8> {
    let angle = i as f32 * 0.4;
    let pixel = |p: usize| {
        let (x, y) = ((p % 48) as f32, (p / 48) as f32);
        let wave = (0.5 * (x * angle.cos() + y * angle.sin())).sin() * 0.5 + 0.5;
        [0.0, 2.1, 4.2].map(|hue: f32| (wave * 255.0 * ((i as f32 + hue).sin() * 0.5 + 0.5)) as u8)
    };
    (0..48 * 48).flat_map(pixel).collect()
}
