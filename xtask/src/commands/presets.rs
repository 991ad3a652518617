use anyhow::Result;
use byol_augment::TwoViewPolicy;
use byol_train::SpecBuilder;
use serde_json::json;

use crate::cli::PresetsArgs;

/// Lists the presets, or prints one.
pub fn run(args: &PresetsArgs) -> Result<()> {
    if let Some(name) = &args.policy {
        let policy = TwoViewPolicy::preset(name)?;
        if args.json {
            crate::terminal::say(&serde_json::to_string(&policy)?);
        } else {
            crate::terminal::say(TwoViewPolicy::preset_toml(name).unwrap_or_default().trim_end());
        }
        return Ok(());
    }
    if let Some(name) = &args.name {
        let builder = SpecBuilder::preset(name)?;
        if args.json {
            crate::terminal::say(&serde_json::to_string(&builder.build()?)?);
        } else {
            crate::terminal::say(SpecBuilder::preset_text(name).unwrap_or_default().trim_end());
        }
        return Ok(());
    }
    let presets: Vec<_> = SpecBuilder::presets().map(|name| (name, about(name))).collect();
    if args.json {
        let list: Vec<_> =
            presets.iter().map(|(name, about)| json!({ "name": name, "about": about })).collect();
        crate::terminal::say(&format!("{}", json!({ "presets": list })));
    } else {
        for (name, about) in presets {
            crate::terminal::say(&format!("{name:<16} {about}"));
        }
    }
    Ok(())
}

/// The first line of a preset's comments.
fn about(name: &str) -> &'static str {
    let text = SpecBuilder::preset_text(name).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim_start_matches("# ")
}
