use serde::{Deserialize, Serialize};

use crate::AugmentError;

/// Width, height and channels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelShape {
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// Interleaved channels, at least 1.
    pub channels: usize,
}

impl std::fmt::Display for PixelShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.width, self.height, self.channels)
    }
}

/// A borrowed 8-bit picture: rows from the top, channels interleaved (HWC).
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    data: &'a [u8],
    shape: PixelShape,
}

impl<'a> Pixels<'a> {
    /// Borrows `data` as a picture.
    ///
    /// # Errors
    ///
    /// If a side or the number of channels is 0, or `data` does not hold exactly
    /// `width * height * channels` bytes.
    pub fn new(data: &'a [u8], width: usize, height: usize, channels: usize) -> Result<Self, AugmentError> {
        if width == 0 || height == 0 || channels == 0 {
            return Err(AugmentError::EmptyPicture { width, height, channels });
        }
        let expected = width.saturating_mul(height).saturating_mul(channels);
        if data.len() != expected {
            return Err(AugmentError::PixelCount { width, height, channels, expected, got: data.len() });
        }
        Ok(Self { data, shape: PixelShape { width, height, channels } })
    }

    /// Width, height and channels.
    pub fn shape(&self) -> PixelShape {
        self.shape
    }

    /// The bytes, HWC.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}
