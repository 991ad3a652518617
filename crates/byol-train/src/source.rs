//! Where a step's views come from.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use byol_data::{DataError, ImageDataset, Loader, LoaderConfig};
use byol_model::input;

use crate::TrainError;

/// A micro-batch: v ~ T and v′ ~ T′ of the same pictures, `[N, C, H, W]` each, on the
/// autodiff device of the networks.
#[derive(Debug, Clone)]
pub struct Views {
    /// v and v′.
    pub views: [Tensor<4>; 2],
    /// Numbers of the pictures, in order, for messages and for observers.
    pub samples: Vec<usize>,
}

/// Gives one micro-batch after the other. A closure does.
pub trait ViewSource {
    /// The next one.
    ///
    /// # Errors
    ///
    /// An error ends the run.
    fn next_views(&mut self) -> Result<Views, TrainError>;

    /// How long the steps have waited for views so far, where that is known.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

impl<F: FnMut() -> Result<Views, TrainError>> ViewSource for F {
    fn next_views(&mut self) -> Result<Views, TrainError> {
        self()
    }
}

/// Views of an [`ImageDataset`].
pub(crate) struct LoadedViews {
    loader: Loader<2>,
    channels: usize,
    size: usize,
    device: Device,
}

impl LoadedViews {
    pub(crate) fn start(
        set: Arc<ImageDataset>,
        config: LoaderConfig,
        slot_len: usize,
        make: impl Fn(&ImageDataset, usize, u64, [&mut [f32]; 2]) -> Result<(), DataError> + Send + Sync + 'static,
        channels: usize,
        size: usize,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let loader = Loader::start(set, config, slot_len, make)?;
        Ok(Self { loader, channels, size, device: device.clone().autodiff() })
    }
}

impl ViewSource for LoadedViews {
    fn next_views(&mut self) -> Result<Views, TrainError> {
        let next = self.loader.next();
        let batch = next.ok_or_else(|| DataError::Loader("it ended early".into()))??;
        let views = batch.data.map(|view| input::tensor(view, self.channels, self.size, &self.device));
        Ok(Views { views, samples: batch.samples })
    }

    fn waited(&self) -> Duration {
        self.loader.waited()
    }
}
