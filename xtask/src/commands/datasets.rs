use anyhow::Result;
use serde_json::json;

use crate::cli::DatasetsArgs;
use crate::fashion;

/// Lists the known data sets.
pub fn run(args: &DatasetsArgs) -> Result<()> {
    let manifest = fashion::manifest()?;
    if args.json {
        let sets = json!([{
            "name": manifest.name,
            "title": manifest.title,
            "licence": manifest.licence,
            "origin": manifest.origin,
            "citation": manifest.citation,
            "classes": manifest.classes,
        }]);
        crate::terminal::say(&format!("{}", json!({ "datasets": sets })));
    } else {
        crate::terminal::say(&manifest.name);
        crate::terminal::say(&format!("  {}", manifest.title));
        crate::terminal::say(&format!("  licence: {}", manifest.licence));
        crate::terminal::say(&format!("  origin:  {}", manifest.origin));
        crate::terminal::say(&format!(
            "  ships with the program: the first {} training pictures and the test set",
            manifest.mini_train
        ));
    }
    Ok(())
}
