//! The policies that ship.

use crate::{AugmentError, TwoViewPolicy};

const PRESETS: [(&str, &str); 8] = [
    ("byol", include_str!("../policies/byol.toml")),
    ("byol-torchvision", include_str!("../policies/byol-torchvision.toml")),
    ("simclr", include_str!("../policies/simclr.toml")),
    ("weak", include_str!("../policies/weak.toml")),
    ("small", include_str!("../policies/small.toml")),
    ("grey", include_str!("../policies/grey.toml")),
    ("multispectral", include_str!("../policies/multispectral.toml")),
    ("microscopy", include_str!("../policies/microscopy.toml")),
];

impl TwoViewPolicy {
    /// Names of the policies that ship.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// The TOML of a policy that ships, with its sources in comments.
    pub fn preset_toml(name: &str) -> Option<&'static str> {
        PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// A policy that ships.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn preset(name: &str) -> Result<Self, AugmentError> {
        let text = Self::preset_toml(name).ok_or_else(|| AugmentError::UnknownPolicy {
            name: name.into(),
            known: Self::presets().collect::<Vec<_>>().join(", "),
        })?;
        Self::from_toml(text)
    }

    /// Reads a policy from TOML; unknown keys are refused.
    ///
    /// # Errors
    ///
    /// If the text is not TOML or does not describe a policy.
    pub fn from_toml(text: &str) -> Result<Self, AugmentError> {
        toml::from_str(text).map_err(|e| AugmentError::Toml(e.to_string()))
    }
}
