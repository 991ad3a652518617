//! `ingest`: pictures as they come, into shards.

use std::path::Path;

use anyhow::Result;
use byol_data::ingest::{Format, IngestOptions, IngestReport, ingest};
use byol_data::{Columns, Limits, Rules};
use serde_json::json;

use crate::cli::IngestArgs;
use crate::compose::set_threads;
use crate::exit::Usage;
use crate::terminal::Progress;

/// Turns a source into a set.
pub fn run(args: &IngestArgs) -> Result<()> {
    set_threads(args.threads)?;
    let report = with_progress(&args.source, &args.to, &options(args)?)?;
    if args.json {
        crate::terminal::say(&json(&args.to, &report)?.to_string());
    } else {
        say(&args.to, &report);
    }
    Ok(())
}

/// Ingests behind a bar.
pub fn with_progress(source: &Path, to: &Path, options: &IngestOptions) -> Result<IngestReport> {
    let name = source.file_name().unwrap_or(source.as_os_str()).to_string_lossy().into_owned();
    let mut bar = None;
    let report = ingest(source, to, options, |done, total| {
        let bar = bar.get_or_insert_with(|| match total {
            Some(total) => Progress::bar(total, &name),
            None => Progress::spinner(&name),
        });
        bar.set(done);
    });
    if let Some(bar) = bar {
        bar.finish();
    }
    Ok(report?)
}

/// What was made, as JSON.
pub fn json(to: &Path, report: &IngestReport) -> Result<serde_json::Value> {
    let mut value = serde_json::to_value(report)?;
    value["to"] = json!(to);
    value["samples"] = json!(report.splits.values().sum::<u64>());
    Ok(value)
}

/// What was made, for people.
pub fn say(to: &Path, report: &IngestReport) {
    let splits: Vec<String> = report.splits.iter().map(|(name, n)| format!("{name} {n}")).collect();
    let labels = match (report.labelled, report.classes.len()) {
        (false, _) => "no labels".to_owned(),
        (true, 0) => "numbered labels".to_owned(),
        (true, 1) => "1 class".to_owned(),
        (true, n) => format!("{n} classes"),
    };
    crate::terminal::say(&format!(
        "{}: {}; {labels}; {} channel(s); {:.1} MB in {} shard(s)",
        to.display(),
        splits.join(", "),
        report.channels,
        report.bytes as f64 / 1e6,
        report.shards
    ));
    if report.duplicates > 0 {
        let what = if report.dropped { "left out" } else { "kept; --dedup leaves them out" };
        crate::terminal::tell(&format!(
            "note: {} pictures repeat another, pixel for pixel ({what}): see {}",
            report.duplicates,
            to.join("duplicates.csv").display()
        ));
    }
    if report.faults > 0 {
        crate::terminal::tell(&format!(
            "warning: {} files could not be read: see {}",
            report.faults,
            to.join("faults.csv").display()
        ));
        for fault in &report.first_faults {
            crate::terminal::tell(&format!("  {}: {}", fault.path, fault.reason));
        }
    }
    if report.channel_kinds.len() > 1 && report.channel_kinds != [1, 3] {
        crate::terminal::tell(&format!(
            "warning: there are pictures of {:?} channels; an encoder takes one number of them",
            report.channel_kinds
        ));
    }
    if report.ignored > 0 {
        crate::terminal::tell(&format!("note: {} other files are no pictures", report.ignored));
    }
}

fn options(args: &IngestArgs) -> Result<IngestOptions> {
    let usage = |message: String| anyhow::Error::from(Usage(message));
    if !(0.0..1.0).contains(&args.val) {
        return Err(usage(format!("--val {}: expected a fraction from 0 to below 1", args.val)));
    }
    let format = args.format.as_deref().and_then(|name| Format::ALL.iter().find(|(n, _)| *n == name));
    let digits = args.background.trim_start_matches('#');
    let colour =
        (digits.len() == 6 && digits.is_ascii()).then(|| u32::from_str_radix(digits, 16).ok()).flatten();
    let colour = colour.ok_or_else(|| usage(format!("--background {}: expected RRGGBB", args.background)))?;
    let range16 = args.range_16.split_once("..").and_then(|(low, high)| {
        let (low, high) = (low.parse::<u16>().ok()?, high.parse::<u16>().ok()?);
        (low < high).then_some((low, high))
    });
    let range16 = range16
        .ok_or_else(|| usage(format!("--range-16 {}: expected LOW..HIGH of 0 to 65535", args.range_16)))?;
    Ok(IngestOptions {
        format: format.map(|(_, format)| *format),
        columns: Columns { image: args.image_column.clone(), label: args.label_column.clone() },
        max_side: args.max_side,
        grey: args.grey,
        val: args.val,
        dedup: args.dedup,
        max_faults: args.max_faults,
        shard_bytes: args.shard_size << 20,
        limits: Limits {
            max_side: args.limit_side,
            max_pixels: args.limit_megapixels.saturating_mul(1_000_000),
            max_bytes: args.limit_memory.saturating_mul(1 << 20),
            max_file: args.limit_file.saturating_mul(1 << 20),
        },
        rules: Rules { background: [16, 8, 0].map(|shift| (colour >> shift) as u8), range16 },
        first: args.first,
        ..IngestOptions::STANDARD
    })
}
