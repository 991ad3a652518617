//! Which ResNet a file holds, from the shapes of its tensors.

use std::collections::BTreeMap;

use crate::resnet::DEPTHS;
use crate::{ModelError, ResNetConfig, Stem, Version};

/// The configuration of the network that has tensors of these names (ours) and shapes.
/// A 3×3 first convolution is taken for the stem `small`: its stride leaves no trace.
pub(super) fn config(shapes: &BTreeMap<&str, &[usize]>) -> Result<ResNetConfig, ModelError> {
    let other = |why: String| Err(ModelError::Architecture(why));
    if shapes.contains_key("conv1.0.weight") {
        return other("a stem of several convolutions (timm's resnet50d and its like)".into());
    }
    let Some(&&[width, in_channels, kernel, _]) = shapes.get("conv1.weight") else {
        return Err(ModelError::Mismatch(vec!["`conv1.weight` is missing, or no convolution".into()]));
    };
    let stem = match kernel {
        7 => Stem::Imagenet,
        3 => Stem::Small,
        _ => return other(format!("a first convolution of {kernel}x{kernel}; known are 7x7 and 3x3")),
    };
    let blocks = [1, 2, 3, 4].map(|stage| {
        let prefix = format!("layer{stage}.");
        let places = shapes.keys().filter_map(|name| name.strip_prefix(&prefix)?.split('.').next());
        places.filter_map(|place| place.parse::<usize>().ok()).max().map_or(0, |last| last.saturating_add(1))
    });
    let bottleneck = shapes.keys().any(|name| name.starts_with("layer") && name.ends_with(".conv3.weight"));
    let Some((depth, ..)) = DEPTHS.into_iter().find(|(_, b, n)| (*b, *n) == (blocks, bottleneck)) else {
        let kind = if bottleneck { "bottleneck" } else { "basic" };
        return other(format!("{kind} blocks {blocks:?}; known depths are 18, 34, 50, 101, 152 and 200"));
    };
    let inner = match shapes.get("layer1.0.conv1.weight") {
        Some(&&[inner, ..]) => inner,
        _ => width, // `misfits` will say that it is missing
    };
    if let Some(&&[_, within, ..]) = shapes.get("layer1.0.conv2.weight")
        && within != inner
    {
        return other(format!("convolutions in groups ({within} of {inner} channels each), a ResNeXt"));
    }
    if inner != width {
        return other(format!(
            "blocks of {inner} channels behind a stem of {width}: torchvision's wide_resnet widens the 3x3 \
             convolutions alone, where the paper's width widens every layer"
        ));
    }
    let version = if shapes.contains_key("norm.weight") { Version::V2 } else { Version::V1 };
    Ok(ResNetConfig { depth, width, in_channels, stem, zero_gamma: false, version })
}
