//! `download`: a known set's files, fetched or taken, and turned into shards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use byol_data::ingest::IngestReport;
use serde_json::json;

use super::ingest;
use crate::catalogue::{self, Manifest};
use crate::cli::DownloadArgs;
use crate::exit::Usage;
use crate::hub;
use crate::terminal::{say, tell};

/// Where fetched files wait, within the target.
const RAW: &str = ".download";

/// Fetches, verifies, unpacks and converts.
pub fn run(args: &DownloadArgs) -> Result<()> {
    if let Some(name) = args.name.strip_prefix(hub::SCHEME) {
        return from_hub(args, name);
    }
    let manifest = catalogue::find(&args.name)?;
    if args.config.is_some() {
        return Err(Usage("--config is of sets on the Hub (hf:OWNER/NAME)".into()).into());
    }
    let first = match (args.mini, manifest.mini) {
        (true, None) => return Err(Usage(format!("{} has no part that ships (--mini)", args.name)).into()),
        (true, mini) => mini,
        (false, _) => args.first,
    };
    let suffix = if args.mini { "-mini" } else { "" };
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("datasets/{}{suffix}", manifest.name)));
    let (report, notes) = convert(args, &manifest, &to, first)?;
    for note in &notes {
        tell(&format!("note: {note}"));
    }
    check(&manifest, &report, first);
    if args.json {
        let mut value = ingest::json(&to, &report)?;
        value["name"] = json!(manifest.name);
        value["notes"] = json!(notes);
        value["shards"] = shards(&to)?;
        say(&value.to_string());
    } else {
        ingest::say(&to, &report);
        tell(&format!("licence: {}", manifest.licence));
    }
    Ok(())
}

fn convert(
    args: &DownloadArgs,
    manifest: &Manifest,
    to: &Path,
    first: Option<u64>,
) -> Result<(IngestReport, Vec<String>)> {
    let was_there = to.exists();
    let raw = to.join(RAW);
    let unpacked = raw.join("unpacked");
    let result =
        catalogue::files(manifest, args.from.as_deref(), args.mirror.as_deref(), &raw).and_then(|taken| {
            catalogue::clear(&unpacked);
            let (source, assignment) = catalogue::source(manifest, &taken.folder, &unpacked)?;
            let mut options = catalogue::ingest_options(manifest, assignment);
            options.max_side = args.max_side;
            options.first = first;
            let report = ingest::with_progress(&source, to, &options)?;
            Ok((report, taken.notes))
        });
    catalogue::clear(&unpacked);
    if result.is_ok() && !args.keep {
        catalogue::clear(&raw);
    }
    // What was fetched stays for the next try; folders without anything do not.
    let _ = fs::remove_dir(&raw);
    if !was_there {
        let _ = fs::remove_dir(to);
    }
    result
}

/// Says so if the numbers of pictures are not those that were published.
fn check(manifest: &Manifest, report: &IngestReport, first: Option<u64>) {
    if manifest.val > 0.0 {
        let total: u64 = report.splits.values().sum();
        let published: u64 = manifest.splits.values().sum();
        if first.is_none() && published > 0 && total != published {
            tell(&format!("warning: {total} pictures, and {published} are published"));
        }
        tell(&format!(
            "note: {} has no published split; {:.0} % of its {total} pictures, chosen by what they show, are \
             `validation`",
            manifest.name,
            100.0 * manifest.val
        ));
        return;
    }
    for (split, &expected) in &manifest.splits {
        let expected = first.map_or(expected, |first| expected.min(first));
        let found = report.splits.get(split).copied().unwrap_or_default();
        if found != expected {
            tell(&format!("warning: {found} pictures in `{split}`, and {expected} are published"));
        }
    }
}

fn shards(to: &Path) -> Result<serde_json::Value> {
    let mut shards = Vec::new();
    for entry in fs::read_dir(to.join("data"))? {
        let path = entry?.path();
        let (bytes, sha256) = (fs::metadata(&path)?.len(), crate::http::sha256_of(&path)?);
        shards.push(json!({ "path": path, "bytes": bytes, "sha256": sha256 }));
    }
    shards.sort_by_key(|shard| shard["path"].to_string());
    Ok(json!(shards))
}

fn from_hub(args: &DownloadArgs, name: &str) -> Result<()> {
    if args.from.is_some() || args.mini || args.mirror.is_some() {
        let message =
            "--from, --mini and --mirror are of the catalogue's sets; the Hub's address is HF_ENDPOINT";
        return Err(Usage(message.into()).into());
    }
    let last = name.split('@').next().and_then(|name| name.rsplit('/').next()).unwrap_or(name);
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("datasets/{last}")));
    let was_there = to.exists();
    let raw = to.join(RAW);
    let result = hub::dataset(name, args.config.as_deref(), &raw).and_then(|()| {
        let mut options = byol_data::ingest::IngestOptions::STANDARD;
        (options.max_side, options.first) = (args.max_side, args.first);
        ingest::with_progress(&raw, &to, &options)
    });
    if result.is_ok() && !args.keep {
        catalogue::clear(&raw);
    }
    hub::forget_if_empty(&raw);
    if !was_there {
        let _ = fs::remove_dir(&to);
    }
    let report = result?;
    if args.json {
        let mut value = ingest::json(&to, &report)?;
        value["name"] = json!(args.name);
        value["shards"] = shards(&to)?;
        say(&value.to_string());
    } else {
        ingest::say(&to, &report);
    }
    Ok(())
}
