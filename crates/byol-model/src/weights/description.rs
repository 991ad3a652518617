//! What a file of weights says of itself, so that the file is enough to use it.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{ModelError, ResNetConfig};

/// What stands beside the weights in `encoder.safetensors`: one JSON object under the
/// metadata key `byol`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderDescription {
    /// [`ResNetConfig::name`], for people.
    pub architecture: String,
    /// Which ResNet.
    pub encoder: ResNetConfig,
    /// How pictures are prepared for it.
    pub preprocessing: Preprocessing,
    /// Where the weights come from: `preset`, `seed`, `data_fingerprint`, `version`.
    #[serde(flatten)]
    pub origin: BTreeMap<String, String>,
}

impl EncoderDescription {
    /// A description without an origin.
    pub fn new(encoder: ResNetConfig, preprocessing: Preprocessing) -> Self {
        Self { architecture: encoder.name(), encoder, preprocessing, origin: BTreeMap::new() }
    }
}

/// How a picture of any size becomes the encoder's input: central square crop,
/// resize, normalise. The same fields as byol-augment's `EvalTransform`, which does it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Whose rounding: `paper` or `torchvision`.
    pub semantics: String,
    /// Side of the encoder's input in pixels.
    pub size: usize,
    /// Share of the short side that is kept, 0 to 1.
    pub crop: f64,
    /// Interpolation.
    pub resample: Resampling,
    /// The last step.
    pub normalize: Normalization,
}

/// Interpolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resampling {
    /// `bicubic` or `bilinear`.
    pub filter: String,
    /// Whether the filter widens when a picture shrinks.
    pub antialias: bool,
}

/// (x − mean) / std a channel, x from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// One a channel.
    pub mean: Vec<f64>,
    /// One a channel, positive.
    pub std: Vec<f64>,
}

impl Preprocessing {
    /// torchvision's for its first ImageNet weights: 224 of 256 pixels, bilinear,
    /// ImageNet's mean and standard deviation.
    pub fn imagenet() -> Self {
        Self {
            semantics: "torchvision".into(),
            size: 224,
            crop: 0.875,
            resample: Resampling { filter: "bilinear".into(), antialias: true },
            normalize: Normalization { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] },
        }
    }

    /// Pictures that have the right size already as the encoder's input,
    /// `[n, channels, size, size]`; `pixels` has them one after another, interleaved
    /// (`n · size · size · channels` bytes).
    ///
    /// # Errors
    ///
    /// If `pixels` is no whole number of pictures of that size.
    pub fn tensor(&self, pixels: &[u8], device: &Device) -> Result<Tensor<4>, ModelError> {
        let Normalization { mean, std } = &self.normalize;
        let channels = mean.len();
        let picture = self.size * self.size * channels;
        if picture == 0 || std.len() != channels || !pixels.len().is_multiple_of(picture) {
            return Err(ModelError::Config {
                key: "pixels",
                value: format!("{} bytes", pixels.len()),
                expected: "whole pictures of size x size pixels of as many channels as mean and std have",
            });
        }
        let mut values = Vec::with_capacity(pixels.len());
        for picture in pixels.chunks_exact(picture) {
            for (c, (mean, std)) in mean.iter().zip(std).enumerate() {
                let plane = picture.iter().skip(c).step_by(channels);
                values.extend(plane.map(|&byte| ((f64::from(byte) / 255.0 - mean) / std) as f32));
            }
        }
        let shape = [pixels.len() / picture, channels, self.size, self.size];
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }
}
