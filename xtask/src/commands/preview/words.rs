//! Parameters as a few words.

use byol_augment::{JitterOp, OpParams, Semantics, ViewParams};

/// What was drawn for a view, one line an operation.
pub fn of_view(params: &ViewParams, semantics: Semantics) -> Vec<String> {
    let crop = params.crop;
    let mut lines = vec![format!("crop {}x{}+{}+{}", crop.width, crop.height, crop.x, crop.y)];
    lines.extend(params.ops.iter().map(|op| of_op(op, semantics)));
    lines
}

/// One operation.
pub fn of_op(op: &OpParams, semantics: Semantics) -> String {
    match op {
        OpParams::HorizontalFlip => "flip".into(),
        OpParams::VerticalFlip => "flip upside down".into(),
        OpParams::RightAngle { quarter_turns } => format!("turn {}", 90 * u32::from(*quarter_turns)),
        OpParams::Rotate { degrees, .. } => format!("rotate {degrees:+.0}"),
        OpParams::ColorJitter { steps } => {
            let words: Vec<String> = steps
                .iter()
                .map(|step| match step {
                    JitterOp::Brightness(x) if semantics == Semantics::Paper => format!("brightness{x:+.2}"),
                    JitterOp::Brightness(x) => format!("brightness*{x:.2}"),
                    JitterOp::Contrast(x) => format!("contrast*{x:.2}"),
                    JitterOp::Saturation(x) => format!("saturation*{x:.2}"),
                    JitterOp::Hue(x) => format!("hue{x:+.3}"),
                })
                .collect();
            words.join(" ")
        }
        OpParams::Grayscale => "grey".into(),
        OpParams::ChannelGain { channels } => {
            let each = channels.iter().take(4).map(|[gain, offset]| format!("*{gain:.2}{offset:+.2}"));
            format!("channels {}", each.collect::<Vec<_>>().join(" "))
        }
        OpParams::Blur { sigma, .. } => format!("blur {sigma:.2}"),
        OpParams::Solarize { threshold } => format!("solarize {threshold:.2}"),
        OpParams::Posterize { bits } => format!("posterize {bits} bits"),
        OpParams::Noise { sigma, .. } => format!("noise {sigma:.3}"),
        OpParams::Erase { area, .. } => format!("erase {}x{}+{}+{}", area.width, area.height, area.x, area.y),
    }
}
