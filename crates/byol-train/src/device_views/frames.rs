//! Decoded pictures on their way to a device: bytes, four to a word, in frames of one size.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Int, Tensor};
use byol_augment::{PixelShape, ResolvedPolicy, ViewKey, ViewParams};
use byol_data::{DataError, ImageDataset, Limits, Loader, LoaderConfig, decode, probe};

use super::DeviceViews;
use crate::TrainError;
use crate::source::{ViewSource, Views};
use crate::views::SOME_HEADERS;

/// Bytes of a word.
const WORD: usize = 4;
/// Words that say how large a picture is.
const SIDES: usize = 2;

/// How large the frames are that pictures lie in, at their upper left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Of each pixel.
    pub channels: usize,
}

impl Frames {
    /// For the largest pictures of a set, as far as their headers are read: all, or the first 4,096 of a
    /// set that does not fit into memory.
    ///
    /// # Errors
    ///
    /// If a header cannot be read, naming shard, row and path.
    pub fn of(set: &ImageDataset, channels: usize) -> Result<Self, TrainError> {
        let n = if set.in_memory() { set.len() } else { set.len().min(SOME_HEADERS) };
        let mut frames = Self { width: 1, height: 1, channels };
        for i in 0..n {
            let header =
                probe(set.sample(i)?.bytes(), Limits::STANDARD).map_err(|e| set.picture_error(i, &e))?;
            frames.width = frames.width.max(header.width);
            frames.height = frames.height.max(header.height);
        }
        Ok(frames)
    }

    fn pixels(self) -> usize {
        self.width * self.height * self.channels
    }

    fn words(self) -> usize {
        SIDES + self.pixels().div_ceil(WORD)
    }

    /// Bytes of a frame.
    pub fn bytes(self) -> usize {
        self.words() * WORD
    }

    /// Lays a picture, `[height, width, channels]` bytes, into a frame.
    fn put(self, [width, height]: [usize; 2], pixels: &[u8], frame: &mut [u8]) -> Result<(), String> {
        if width > self.width || height > self.height {
            let Self { width: w, height: h, .. } = self;
            return Err(format!(
                "{width}x{height} pixels, and frames on the device have {w}x{h}, which is the largest of the first \
                 {SOME_HEADERS} pictures; shrink them by `ingest --max-side`, or set device_views=false"
            ));
        }
        let (sides, frame) = frame.split_at_mut(SIDES * WORD);
        for (to, side) in sides.chunks_exact_mut(WORD).zip([width, height]) {
            to.copy_from_slice(&(side as u32).to_le_bytes());
        }
        let (row, stride) = (width * self.channels, self.width * self.channels);
        for (to, from) in frame.chunks_mut(stride).zip(pixels.chunks_exact(row)) {
            to[..row].copy_from_slice(from);
        }
        Ok(())
    }

    /// Width and height of the picture in a frame.
    fn sides(frame: &[u8]) -> [usize; 2] {
        let word = |i: usize| {
            let bytes: [u8; WORD] = std::array::from_fn(|k| frame.get(i * WORD + k).copied().unwrap_or(0));
            u32::from_le_bytes(bytes) as usize
        };
        [word(0), word(1)]
    }

    /// Frames one after the other as a batch of levels, 0 to 255, `[N, C, height, width]`. What goes to the
    /// device is bytes.
    ///
    /// # Panics
    ///
    /// If they are no whole number of frames.
    fn upload(self, frames: &[u8], device: &Device) -> Tensor<4> {
        let (n, words) = (frames.len() / self.bytes(), self.words());
        let packed: Vec<i32> = frames
            .chunks_exact(WORD)
            .map(|bytes| i32::from_le_bytes(std::array::from_fn(|k| bytes[k])))
            .collect();
        let packed = Tensor::<1, Int>::from_data(packed.as_slice(), device).reshape([n, words]);
        let packed = packed.narrow(1, SIDES, words - SIDES);
        let byte = |k: i32| packed.clone().bitwise_right_shift_scalar(8 * k).bitwise_and_scalar(255);
        let bytes: Tensor<3, Int> = Tensor::stack((0..WORD as i32).map(byte).collect(), 2);
        let bytes = bytes.reshape([n, (words - SIDES) * WORD]).narrow(1, 0, self.pixels());
        bytes.float().reshape([n, self.height, self.width, self.channels]).permute([0, 3, 1, 2])
    }
}

/// A picture in a frame, decoded.
pub(crate) struct Frame;

impl Frame {
    /// Decodes picture `index` into a frame.
    ///
    /// # Errors
    ///
    /// If it cannot be decoded or is larger, naming shard, row and path.
    pub(crate) fn make(
        frames: Frames,
        set: &ImageDataset,
        index: usize,
        frame: &mut [u8],
    ) -> Result<(), DataError> {
        let fault = |e: &dyn std::fmt::Display| set.picture_error(index, e);
        let sample = set.sample(index)?;
        let decoded = decode(sample.bytes(), frames.channels, Limits::STANDARD).map_err(|e| fault(&e))?;
        frames.put([decoded.width, decoded.height], &decoded.data, frame).map_err(|e| fault(&e))
    }
}

/// Views of an [`ImageDataset`] that are made on a device.
pub(crate) struct LoadedPictures {
    loader: Loader<1, u8>,
    set: Arc<ImageDataset>,
    frames: Frames,
    policy: ResolvedPolicy,
    views: [DeviceViews; 2],
    seed: u64,
    device: Device,
    params: [Vec<ViewParams>; 2],
}

impl LoadedPictures {
    pub(crate) fn start(
        set: Arc<ImageDataset>,
        config: LoaderConfig,
        policy: ResolvedPolicy,
        channels: usize,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let frames = Frames::of(&set, channels)?;
        let views = [&policy.view, &policy.view_prime].map(|view| DeviceViews::new(view, channels, device));
        let [v, v_prime] = views;
        let views = [v?, v_prime?];
        let make = move |set: &ImageDataset, index, _, [frame]: [&mut [u8]; 1]| {
            Frame::make(frames, set, index, frame)
        };
        let seed = config.seed;
        let loader = Loader::start(set.clone(), config, frames.bytes(), make)?;
        let (device, params) = (device.clone(), Default::default());
        Ok(Self { loader, set, frames, policy, views, seed, device, params })
    }
}

impl ViewSource for LoadedPictures {
    fn next_views(&mut self) -> Result<Views, TrainError> {
        let next = self.loader.next();
        let batch = next.ok_or_else(|| DataError::Loader("it ended early".into()))??;
        let (bytes, n) = (&batch.data[0], batch.samples.len());
        let policies = [&self.policy.view, &self.policy.view_prime];
        for (view, (params, policy)) in self.params.iter_mut().zip(policies).enumerate() {
            params.resize_with(n, ViewParams::default);
            for ((index, frame), params) in
                batch.samples.iter().zip(bytes.chunks_exact(self.frames.bytes())).zip(params)
            {
                let sample = self.set.sample(*index)?.id;
                let key = ViewKey { seed: self.seed, epoch: batch.cursor.epoch, sample, view: view as u64 };
                let [width, height] = Frames::sides(frame);
                let shape = PixelShape { width, height, channels: self.frames.channels };
                policy.sample_into(key, shape, params)?;
            }
        }
        let pictures = self.frames.upload(bytes, &self.device);
        let make = |i: usize| {
            let params: Vec<&ViewParams> = self.params[i].iter().collect();
            Ok::<_, TrainError>(self.views[i].make(pictures.clone(), &params)?.autodiff())
        };
        let views = [make(0)?, make(1)?];
        Ok(Views { views, samples: batch.samples })
    }

    fn waited(&self) -> Duration {
        self.loader.waited()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_as_levels() {
        let device = Device::flex();
        let frames = Frames { width: 5, height: 3, channels: 3 };
        let mut bytes = vec![7; 2 * frames.bytes()];
        let (first, second) = bytes.split_at_mut(frames.bytes());
        let picture: Vec<u8> = (0..45).map(|i| (i * 53 % 256) as u8).collect();
        frames.put([5, 3], &picture, first).unwrap();
        frames.put([2, 3], &picture[..18], second).unwrap();
        assert_eq!(Frames::sides(second), [2, 3]);
        let there = frames.upload(&bytes, &device);
        assert_eq!(there.dims(), [2, 3, 3, 5]);
        let values: Vec<f32> = there.into_data().iter::<f32>().collect();
        let at = |n: usize, c: usize, y: usize, x: usize| values[((n * 3 + c) * 3 + y) * 5 + x];
        for (y, x, c) in (0..3).flat_map(|y| (0..5).flat_map(move |x| (0..3).map(move |c| (y, x, c)))) {
            assert_eq!(at(0, c, y, x), f32::from(picture[(y * 5 + x) * 3 + c]));
            if x < 2 {
                assert_eq!(at(1, c, y, x), f32::from(picture[(y * 2 + x) * 3 + c]));
            }
        }
        let refused = frames.put([6, 1], &picture, &mut bytes).unwrap_err();
        assert!(refused.contains("6x1") && refused.contains("5x3"), "{refused}");
    }
}
