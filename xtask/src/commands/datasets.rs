use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::catalogue::{self, Manifest};
use crate::cli::DatasetsArgs;
use crate::terminal::say;

/// Lists the known data sets, or says all of one.
pub fn run(args: &DatasetsArgs) -> Result<()> {
    let sets = match &args.name {
        Some(name) => vec![catalogue::find(name)?],
        None => catalogue::all()?,
    };
    if args.json {
        let sets: Vec<Value> = sets.iter().map(to_json).collect();
        say(&json!({ "datasets": sets }).to_string());
    } else if args.name.is_some() {
        sets.iter().for_each(in_full);
    } else {
        say(&format!("{:<16} {:>9}  {:<5} {}", "name", "download", "here", "what"));
        for set in &sets {
            let here = if is_here(set) { "yes" } else { "" };
            say(&format!("{:<16} {:>9}  {here:<5} {}", set.name, size(set), set.title));
        }
        say("`cargo xtask datasets NAME` says more; `cargo xtask download NAME` fetches");
    }
    Ok(())
}

fn is_here(set: &Manifest) -> bool {
    Path::new("datasets").join(&set.name).join("data").is_dir()
}

fn bytes(set: &Manifest) -> Option<u64> {
    set.files.iter().map(|file| file.bytes).sum::<Option<u64>>().filter(|&n| n > 0)
}

fn size(set: &Manifest) -> String {
    match bytes(set) {
        Some(bytes) if bytes >= 1_000_000_000 => format!("{:.1} GB", bytes as f64 / 1e9),
        Some(bytes) => format!("{:.0} MB", bytes as f64 / 1e6),
        None => "local".into(),
    }
}

fn in_full(set: &Manifest) {
    let splits: Vec<String> = set.splits.iter().map(|(name, n)| format!("{name} {n}")).collect();
    say(&set.name);
    say(&format!("  {}", set.title));
    say(&format!("  splits:   {}", splits.join(", ")));
    if set.val > 0.0 {
        say(&format!("            none is published: {:.0} % become `validation`", 100.0 * set.val));
    }
    say(&format!("  licence:  {}", set.licence));
    say(&format!("  origin:   {}", set.origin));
    say(&format!("  cite:     {}", set.citation));
    if let Some(n) = set.mini {
        say(&format!("  ships with the program: the first {n} training pictures and the test set"));
    }
    for file in &set.files {
        let sum = match (&file.sha256, &file.md5) {
            (Some(sum), _) => format!("sha256 {sum}"),
            (None, Some(sum)) => format!("md5 {sum}"),
            (None, None) => "no published sum".into(),
        };
        let doubt = if file.confirmed { "" } else { " (of third parties, not confirmed)" };
        say(&format!("  file:     {}, {sum}{doubt}", file.urls.first().map_or("no address", String::as_str)));
    }
}

fn to_json(set: &Manifest) -> Value {
    let files: Vec<Value> = set
        .files
        .iter()
        .map(|file| {
            json!({
                "name": file.name,
                "urls": file.urls,
                "bytes": file.bytes,
                "md5": file.md5,
                "sha256": file.sha256,
                "confirmed": file.confirmed,
            })
        })
        .collect();
    json!({
        "name": set.name,
        "title": set.title,
        "licence": set.licence,
        "origin": set.origin,
        "citation": set.citation,
        "splits": set.splits,
        "val": set.val,
        "names": set.names,
        "bytes": bytes(set),
        "files": files,
        "here": is_here(set),
    })
}
