use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::cli::DownloadArgs;
use crate::exit::Usage;
use crate::fashion;

/// Turns a known data set's original files into shards.
pub fn run(args: &DownloadArgs) -> Result<()> {
    let manifest = fashion::manifest()?;
    if args.name != manifest.name {
        let message = format!("no data set is called `{}`; there are: {}", args.name, manifest.name);
        return Err(Usage(message).into());
    }
    let suffix = if args.mini { "-mini" } else { "" };
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("datasets/{}{suffix}", args.name)));
    let mut shards = Vec::new();
    for (path, n) in fashion::convert(&args.from, &to, args.mini)? {
        let bytes = fs::read(&path)?;
        let sum = fashion::sha256(&bytes);
        if !args.json {
            crate::terminal::say(&format!(
                "{}: {n} pictures, {} bytes, sha256 {sum}",
                path.display(),
                bytes.len()
            ));
        }
        shards.push(json!({ "path": path, "samples": n, "bytes": bytes.len(), "sha256": sum }));
    }
    if args.json {
        crate::terminal::say(&format!("{}", json!({ "name": args.name, "to": to, "shards": shards })));
    }
    Ok(())
}
