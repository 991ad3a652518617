//! A batch of views straight into a candle tensor, one slot a picture.
//!
//!     cargo run --release --package byol-augment --example candle

use byol_augment::{Pixels, TwoViewPolicy, ViewKey, Workspace};
use candle_core::{Device, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Pictures of several sizes, as a loader would give them.
    let pictures: Vec<(Vec<u8>, usize, usize)> = (0..8)
        .map(|i| (40 + 5 * i, 60 - 3 * i))
        .map(|(width, height)| ((0..width * height * 3).map(|j| (j % 251) as u8).collect(), width, height))
        .collect();
    let policy = TwoViewPolicy::preset("small")?.resolve(3)?;
    let (size, slot) = (policy.view.size, policy.view.output_len(3));
    let mut workspace = Workspace::default();
    let mut batch = vec![0.0f32; pictures.len() * slot];
    for (sample, ((data, width, height), view)) in
        pictures.iter().zip(batch.chunks_exact_mut(slot)).enumerate()
    {
        let pixels = Pixels::new(data, *width, *height, 3)?;
        let key = ViewKey { seed: 0, epoch: 0, sample: sample as u64, view: 0 };
        let params = policy.view.sample(key, pixels.shape())?;
        policy.view.apply(&params, pixels, &mut workspace, view)?;
    }
    let views = Tensor::from_vec(batch, (pictures.len(), 3, size, size), &Device::Cpu)?;
    println!("{:?}, mean {:.3}", views.shape(), views.mean_all()?.to_scalar::<f32>()?);
    Ok(())
}
