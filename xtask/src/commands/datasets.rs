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
        println!("{}", json!({ "datasets": sets }));
    } else {
        println!("{}", manifest.name);
        println!("  {}", manifest.title);
        println!("  licence: {}", manifest.licence);
        println!("  origin:  {}", manifest.origin);
        println!(
            "  ships with the program: the first {} training pictures and the test set",
            manifest.mini_train
        );
    }
    Ok(())
}
