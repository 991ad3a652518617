//! One operation over its range.

use byol_augment::{Border, CropBox, JitterOp, Op, OpParams, Semantics, ViewPolicy};

use crate::exit::Usage;

/// Columns of a strip.
pub const COLUMNS: usize = 7;

/// What can be shown: operations, and the parts of a colour jitter.
const NAMES: [&str; 15] = [
    "horizontal_flip",
    "vertical_flip",
    "right_angle",
    "rotate",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grayscale",
    "channel_gain",
    "blur",
    "solarize",
    "posterize",
    "noise",
    "erase",
];

/// The parameters of the columns for operation `name`: the range that the policy
/// gives it, or a usual one where the policy has no such operation.
pub fn columns(name: &str, policy: &ViewPolicy, channels: usize) -> Result<Vec<Vec<OpParams>>, Usage> {
    if !NAMES.contains(&name) {
        return Err(Usage(format!(
            "--op {name}: there is no such operation; there are: {}",
            NAMES.join(", ")
        )));
    }
    if channels != 3 && matches!(name, "saturation" | "hue" | "grayscale") {
        return Err(Usage(format!(
            "--op {name} needs red, green and blue; these pictures have {channels} channel(s)"
        )));
    }
    let paper = policy.semantics == Semantics::Paper;
    let jitter = policy.ops.iter().find_map(|op| match *op {
        Op::ColorJitter { brightness, contrast, saturation, hue, .. } => {
            Some([brightness, contrast, saturation, hue])
        }
        _ => None,
    });
    // A part that the policy leaves out is shown over its usual range.
    let usual = [0.4, 0.4, 0.2, 0.1];
    let jitter = jitter.unwrap_or(usual);
    let part = |i: usize| if jitter[i] > 0.0 { jitter[i] } else { usual[i] };
    let [brightness, contrast, saturation, hue] = std::array::from_fn(part);
    let range =
        |pick: &dyn Fn(&Op) -> Option<[f64; 2]>, usual| policy.ops.iter().find_map(pick).unwrap_or(usual);
    let over = |[low, high]: [f64; 2], make: &dyn Fn(f32) -> OpParams| {
        let at = |i: usize| low + (high - low) * i as f64 / (COLUMNS - 1) as f64;
        (0..COLUMNS).map(|i| vec![make(at(i) as f32)]).collect::<Vec<_>>()
    };
    let step = |step: JitterOp| OpParams::ColorJitter { steps: [step].into_iter().collect() };
    let around = |centre: f64, half: f64| [centre - half, centre + half];
    let size = policy.size;
    Ok(match name {
        "horizontal_flip" => vec![vec![], vec![OpParams::HorizontalFlip]],
        "vertical_flip" => vec![vec![], vec![OpParams::VerticalFlip]],
        "right_angle" => std::iter::once(vec![])
            .chain((1..=3).map(|quarter_turns| vec![OpParams::RightAngle { quarter_turns }]))
            .collect(),
        "rotate" => {
            let pick = |op: &Op| if let Op::Rotate { degrees, .. } = op { Some(*degrees) } else { None };
            let fill = |op: &Op| if let Op::Rotate { fill, .. } = op { Some(*fill) } else { None };
            let fill = policy.ops.iter().find_map(fill).unwrap_or(0.0) as f32;
            over(range(&pick, [-45.0, 45.0]), &|degrees| OpParams::Rotate { degrees, fill })
        }
        "brightness" => {
            let centre = if paper { 0.0 } else { 1.0 };
            over(around(centre, brightness), &|x| step(JitterOp::Brightness(x)))
        }
        "contrast" => over(around(1.0, contrast), &|x| step(JitterOp::Contrast(x))),
        "saturation" => over(around(1.0, saturation), &|x| step(JitterOp::Saturation(x))),
        "hue" => over(around(0.0, hue), &|x| step(JitterOp::Hue(x))),
        "grayscale" => vec![vec![], vec![OpParams::Grayscale]],
        "channel_gain" => {
            let pick =
                |op: &Op| if let Op::ChannelGain { gain, .. } = op { Some(around(1.0, *gain)) } else { None };
            over(range(&pick, [0.7, 1.3]), &|gain| {
                let gains = (0..channels).map(|c| [if c == 0 { gain } else { 1.0 }, 0.0]);
                OpParams::ChannelGain { channels: gains.collect() }
            })
        }
        "blur" => {
            let pick = |op: &Op| if let Op::Blur { sigma, .. } = op { Some(*sigma) } else { None };
            let edge = |op: &Op| if let Op::Blur { border, .. } = op { Some(*border) } else { None };
            let (radius, border) = (size / 20, policy.ops.iter().find_map(edge).unwrap_or(Border::Reflect));
            over(range(&pick, [0.1, 2.0]), &|sigma| OpParams::Blur { sigma, radius, border })
        }
        "solarize" => over([1.0, 0.0], &|threshold| OpParams::Solarize { threshold }),
        "posterize" => (2..=8).rev().map(|bits| vec![OpParams::Posterize { bits }]).collect(),
        "noise" => {
            let pick = |op: &Op| if let Op::Noise { sigma, .. } = op { Some(*sigma) } else { None };
            over(range(&pick, [0.0, 0.1]), &|sigma| OpParams::Noise { sigma, seed: 0 })
        }
        _ => {
            let pick = |op: &Op| if let Op::Erase { area, .. } = op { Some(*area) } else { None };
            let paint = |op: &Op| if let Op::Erase { value, .. } = op { Some(*value) } else { None };
            let value = policy.ops.iter().find_map(paint).unwrap_or(0.5) as f32;
            over(range(&pick, [0.02, 0.33]), &|share| {
                let side = ((share.sqrt() * size as f32) as usize).clamp(1, size);
                let at = (size - side) / 2;
                OpParams::Erase { area: CropBox { x: at, y: at, width: side, height: side }, value }
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use byol_augment::TwoViewPolicy;

    #[test]
    fn every_operation_has_a_strip() {
        let policy = TwoViewPolicy::preset("byol").unwrap().resolve(3).unwrap().view;
        for name in NAMES {
            let columns = columns(name, &policy, 3).unwrap();
            assert!((2..=COLUMNS).contains(&columns.len()), "{name}");
            assert!(columns.iter().any(|ops| !ops.is_empty()), "{name}");
        }
        assert!(columns("sharpen", &policy, 3).is_err());
        assert!(columns("hue", &policy, 1).is_err());
    }
}
