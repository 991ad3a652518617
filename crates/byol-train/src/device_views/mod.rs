//! Views made where the networks are: decoded pictures go there as bytes, once for both views, and the
//! same [`ViewParams`] that the CPU would apply are applied by matrix products and operations on whole batches.

mod colour;
mod frames;
mod resample;

use burn::tensor::{Bool, Device, Tensor};
use byol_augment::{Op, OpParams, Semantics, ViewParams, ViewPolicy};

use crate::TrainError;
use colour::Colours;
pub use frames::Frames;
pub(crate) use frames::LoadedPictures;
use resample::{Axis, blurred, resized};

/// Applies a [`ViewPolicy`] to batches on a device: to within rounding what
/// [`ViewPolicy::apply`] makes of the same parameters, picture by picture.
#[derive(Debug, Clone)]
pub struct DeviceViews {
    policy: ViewPolicy,
    channels: usize,
    device: Device,
}

impl DeviceViews {
    /// For pictures of so many channels.
    ///
    /// # Errors
    ///
    /// If the policy has operations that are made on the CPU alone: turns and noise.
    pub fn new(policy: &ViewPolicy, channels: usize, device: &Device) -> Result<Self, TrainError> {
        let refused = |op: &str| TrainError::Spec {
            key: "device_views",
            value: "true".into(),
            expected: format!("false, as the policy has `{op}`, which is made on the CPU alone"),
        };
        for op in &policy.ops {
            match op {
                Op::RightAngle { p } if *p > 0.0 => return Err(refused("right_angle")),
                Op::Rotate { p, .. } if *p > 0.0 => return Err(refused("rotate")),
                Op::Noise { p, .. } if *p > 0.0 => return Err(refused("noise")),
                _ => {}
            }
        }
        Ok(Self { policy: policy.clone(), channels, device: device.clone() })
    }

    /// Makes a view of each picture.
    ///
    /// # Shapes
    ///
    /// `pictures`: `[N, C, H, W]`, levels 0 to 255, whatever lies outside of the shape that a view's parameters
    /// were drawn for; `params`: N; result: `[N, C, size, size]`, normalised, on the pictures' device.
    ///
    /// # Errors
    ///
    /// If parameters do not fit pictures or policy.
    pub fn make(&self, pictures: Tensor<4>, params: &[&ViewParams]) -> Result<Tensor<4>, TrainError> {
        let [n, channels, height, width] = pictures.dims();
        let odd = |what: String| TrainError::Views(what);
        if params.len() != n || channels != self.channels {
            return Err(odd(format!("{} parameters for {n} pictures of {channels} channels", params.len())));
        }
        let inside = |p: &&ViewParams| {
            let (crop, source) = (p.crop, p.source);
            source.width <= width
                && source.height <= height
                && source.channels == channels
                && crop.width > 0
                && crop.height > 0
                && crop.x + crop.width <= source.width
                && crop.y + crop.height <= source.height
        };
        if let Some(p) = params.iter().find(|p| !inside(p)) {
            return Err(odd(format!("{:?} of {} in {width}x{height}", p.crop, p.source)));
        }
        let mut left: Vec<&[OpParams]> = params.iter().map(|p| p.ops.as_slice()).collect();
        // Flips that follow at once are the crop's, as on the CPU.
        let mirrored: Vec<[bool; 2]> = left.iter_mut().map(leading_flips).collect();
        let crops = params.iter().zip(&mirrored);
        let [x, y]: [Vec<Axis>; 2] = [
            crops.clone().map(|(p, m)| Axis { start: p.crop.x, len: p.crop.width, mirrored: m[0] }).collect(),
            crops.map(|(p, m)| Axis { start: p.crop.y, len: p.crop.height, mirrored: m[1] }).collect(),
        ];
        let torchvision = self.policy.semantics == Semantics::Torchvision;
        let colours = Colours { torchvision, device: self.device.clone() };
        let mut view = resized(pictures, &x, &y, self.policy.size, self.policy.resample, &colours);
        for op in &self.policy.ops {
            let drawn: Vec<Option<&OpParams>> = left.iter_mut().map(|ops| next_of(op, ops)).collect();
            if drawn.iter().any(Option::is_some) {
                view = self.apply(view, &drawn, &colours)?;
            }
        }
        if let Some(op) = left.iter().find_map(|ops| ops.first()) {
            return Err(odd(format!("{op:?} is not the policy's, or not in its order")));
        }
        let normalize = &self.policy.normalize;
        let (scale, shift): (Vec<f32>, Vec<f32>) = (0..channels)
            .map(|c| normalize.channel(c))
            .map(|(mean, std)| (1.0 / (std * colours.top()), -mean / std))
            .unzip();
        let by_channel = |values: Vec<f32>| colours.values(values).reshape([1, channels, 1, 1]);
        Ok(view * by_channel(scale) + by_channel(shift))
    }

    fn apply(
        &self,
        x: Tensor<4>,
        drawn: &[Option<&OpParams>],
        colours: &Colours,
    ) -> Result<Tensor<4>, TrainError> {
        // A value of each picture; any of those that are left as they are.
        let values = |of: &dyn Fn(&OpParams) -> Option<f32>| {
            colours.each(drawn.iter().map(|op| op.and_then(of).unwrap_or(0.0)).collect())
        };
        let before = x.clone();
        let after = match drawn.iter().flatten().next() {
            Some(OpParams::HorizontalFlip) => x.flip([3]),
            Some(OpParams::VerticalFlip) => x.flip([2]),
            Some(OpParams::ColorJitter { .. }) => {
                let steps = drawn.iter().map(|op| match op {
                    Some(OpParams::ColorJitter { steps }) => steps.iter().collect(),
                    _ => Vec::new(),
                });
                return Ok(colours.jittered(x, &steps.collect::<Vec<_>>()));
            }
            Some(OpParams::Grayscale) => colours.grey(&x),
            Some(OpParams::ChannelGain { .. }) => {
                let gains = drawn.iter().map(|op| match op {
                    Some(OpParams::ChannelGain { channels }) => Some(channels),
                    _ => None,
                });
                colours.gained(x, &gains.collect::<Vec<_>>())
            }
            Some(OpParams::Blur { .. }) => blurred(x, drawn, colours)?,
            Some(OpParams::Solarize { .. }) => {
                let threshold = values(&|op| match op {
                    OpParams::Solarize { threshold } => Some(*threshold),
                    _ => None,
                });
                colours.solarized(x, threshold)
            }
            Some(OpParams::Posterize { .. }) => {
                let step = values(&|op| match op {
                    OpParams::Posterize { bits } => Some((1u32 << (8 - (*bits).clamp(1, 8))) as f32),
                    _ => Some(1.0),
                });
                colours.posterized(x, step)
            }
            Some(OpParams::Erase { .. }) => colours.erased(&x, drawn),
            // Refused by `new`.
            _ => x,
        };
        Ok(where_drawn(&before, after, drawn, colours))
    }
}

/// `after` where something was drawn, `before` elsewhere.
fn where_drawn<T>(before: &Tensor<4>, after: Tensor<4>, drawn: &[Option<T>], colours: &Colours) -> Tensor<4> {
    if drawn.iter().all(Option::is_some) {
        return after;
    }
    let mask: Tensor<4, Bool> =
        colours.each(drawn.iter().map(|d| f32::from(u8::from(d.is_some()))).collect()).greater_elem(0.5);
    before.clone().mask_where(mask.expand(before.dims()), after)
}

/// Takes flips from the front: whether left and right, and top and bottom, are mirrored.
fn leading_flips(ops: &mut &[OpParams]) -> [bool; 2] {
    let mut mirrored = [false; 2];
    while let Some((op @ (OpParams::HorizontalFlip | OpParams::VerticalFlip), rest)) = ops.split_first() {
        mirrored[usize::from(*op == OpParams::VerticalFlip)] ^= true;
        *ops = rest;
    }
    mirrored
}

/// Takes what was drawn of `op`, if that comes next.
fn next_of<'a>(op: &Op, ops: &mut &'a [OpParams]) -> Option<&'a OpParams> {
    let (next, rest) = ops.split_first()?;
    let is = matches!(
        (op, next),
        (Op::HorizontalFlip { .. }, OpParams::HorizontalFlip)
            | (Op::VerticalFlip { .. }, OpParams::VerticalFlip)
            | (Op::ColorJitter { .. }, OpParams::ColorJitter { .. })
            | (Op::Grayscale { .. }, OpParams::Grayscale)
            | (Op::ChannelGain { .. }, OpParams::ChannelGain { .. })
            | (Op::Blur { .. }, OpParams::Blur { .. })
            | (Op::Solarize { .. }, OpParams::Solarize { .. })
            | (Op::Posterize { .. }, OpParams::Posterize { .. })
            | (Op::Erase { .. }, OpParams::Erase { .. })
    );
    is.then(|| {
        *ops = rest;
        next
    })
}
