//! Which operations have no meaning for the channels at hand.

use serde::{Deserialize, Serialize};

use crate::Op;

/// An operation, or a part of one, that a policy asked for and that has no
/// meaning for the pictures at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omission {
    /// What was left out.
    pub what: String,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Omission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} left out: {}", self.what, self.why)
    }
}

/// The rule: hue, saturation and luma are of red, green and blue. Everything else
/// treats channels alike. An operation as it is meaningful for `channels`.
pub(crate) fn for_channels(op: Op, channels: usize, omitted: &mut Vec<Omission>) -> Option<Op> {
    if channels == 3 {
        return Some(op);
    }
    let why = format!("pictures have {channels} channel(s), not red, green and blue");
    match op {
        Op::ColorJitter { p, brightness, contrast, saturation, hue } => {
            if saturation > 0.0 || hue > 0.0 {
                omitted.push(Omission { what: "color_jitter's saturation and hue".into(), why });
            }
            Some(Op::ColorJitter { p, brightness, contrast, saturation: 0.0, hue: 0.0 })
        }
        Op::Grayscale { .. } => {
            omitted.push(Omission { what: "grayscale".into(), why });
            None
        }
        other => Some(other),
    }
}
