//! The representation of a picture, by a file of weights alone.
//!
//!     cargo run --release --package byol-model --example use_encoder -- encoder.safetensors photo.jpg
//!
//! Without arguments: an untrained encoder and a grey picture.

use std::error::Error;

use burn::tensor::Device;
use byol_augment::{EvalTransform, Pixels, Workspace};
use byol_model::{
    Encoder, EncoderDescription, Loaded, Preprocessing, ResNetConfig, input, load, save_encoder,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    let (weights, picture) = match arguments.as_slice() {
        [weights, picture] => (weights.into(), image::open(picture)?.to_rgb8()),
        _ => (untrained(folder.path())?, image::RgbImage::from_pixel(300, 200, image::Rgb([128; 3]))),
    };

    let device = Device::flex();
    let Loaded { encoder, config, preprocessing, .. } = load(&weights, &device)?;
    let preprocessing = preprocessing.unwrap_or_else(Preprocessing::imagenet);
    let transform: EvalTransform = serde_json::from_value(serde_json::to_value(preprocessing)?)?;
    let (width, height) = picture.dimensions();
    let pixels = Pixels::new(picture.as_raw(), width as usize, height as usize, 3)?;
    let mut image = vec![0.0; transform.output_len(3)];
    transform.apply(pixels, &mut Workspace::default(), &mut image)?;
    let y = encoder.forward(input::tensor(image, 3, transform.size, &device));

    let y: Vec<f32> = y.into_data().try_into_vec()?;
    println!("{}: {} values, the first {:?}", config.name(), y.len(), &y[..4]);
    Ok(())
}

fn untrained(folder: &std::path::Path) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let path = folder.join("encoder.safetensors");
    let config = ResNetConfig::from_name("resnet18_w16", 3).ok_or("no such network")?;
    let description = EncoderDescription::new(config, Preprocessing::imagenet());
    save_encoder(&config.init(&Device::flex())?, &description, &path)?;
    Ok(path)
}
