use anyhow::Result;
use byol_train::SpecBuilder;

use crate::cli::PresetsArgs;

/// Lists the presets, or prints one.
pub fn run(args: &PresetsArgs) -> Result<()> {
    if let Some(name) = &args.name {
        SpecBuilder::preset(name)?; // for its error
        crate::terminal::say(SpecBuilder::preset_text(name).unwrap_or_default().trim_end());
        return Ok(());
    }
    for name in SpecBuilder::presets() {
        let text = SpecBuilder::preset_text(name).unwrap_or_default();
        let about = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        crate::terminal::say(&format!("{name:<12} {about}"));
    }
    Ok(())
}
