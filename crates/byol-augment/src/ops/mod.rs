//! One operation a file, on planes of `f32` in [0, 1] (CHW). This portable code
//! is the reference for any faster path.

pub(crate) mod blur;
pub(crate) mod color;
pub(crate) mod crop;
pub(crate) mod flip;
pub(crate) mod solarize;

#[cfg(test)]
mod golden;
