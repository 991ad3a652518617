//! `embed`: representations for use elsewhere.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use byol_data::ImageDataset;
use byol_eval::{EmbeddingsWriter, RowInfo, extract_each};
use serde_json::json;

use super::evaluate::features::digest;
use crate::cli::EmbedArgs;
use crate::compose::{Source, set_threads};
use crate::device::pick_for_encoder;
use crate::exit::Usage;
use crate::out::check_out;
use crate::subject::Subject;
use crate::terminal::{Progress, say, tell};

/// Writes the file, batch by batch: a million pictures take the memory of 256.
pub fn run(args: &EmbedArgs) -> Result<()> {
    set_threads(args.threads)?;
    let place = pick_for_encoder(args.device, args.json)?;
    let subject = Subject::open(&args.encoder)?;
    let source = subject.source(args.data.as_deref())?;
    let parts = parts(&source, &args.split, args.partition)?;
    let total: usize = parts.iter().map(|(_, range)| range.len()).sum();
    let classes = parts[0].0.classes().to_vec(); // there is one: `parts`
    if let Some((other, _)) = parts.iter().find(|(set, _)| set.classes() != classes) {
        bail!(
            "{}: the splits `{}` and `{}` name different classes; write them one by one with --split",
            source.describe(),
            parts[0].0.split(),
            other.split()
        );
    }
    check_out(&args.out, [&source])?;
    if fs::metadata(&args.out).is_ok_and(|about| !about.is_file()) {
        return Err(Usage(format!(
            "--out {}: there is something that is no regular file",
            args.out.display()
        ))
        .into());
    }
    let mut subject = subject.on(place)?;
    let started = Instant::now();
    if args.untrained {
        subject.encoder = subject.untrained()?;
        subject.name = format!("{}, untrained", subject.name);
    }
    let mut about = BTreeMap::from([
        ("byol.encoder".to_owned(), subject.name.clone()),
        ("byol.weights".to_owned(), digest(&subject.encoder)),
        ("byol.preprocessing".to_owned(), serde_json::to_string(&subject.transform)?),
        ("byol.data".to_owned(), source.describe()),
    ]);
    if subject.place.gpu.is_some() {
        about.insert("byol.device".to_owned(), subject.place.name());
    }
    // Of this process alone: others may write beside it.
    let mut name = args.out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = args.out.with_file_name(name);
    let writing = || format!("writing {}", partial.display());
    let write = || {
        let file = BufWriter::new(File::create(&partial).with_context(writing)?);
        let dim = subject.config().dim()?;
        let mut writer = EmbeddingsWriter::new(file, dim, &classes, &about)?;
        let progress = Progress::bar(total as u64, "representations");
        for (set, range) in &parts {
            of_split(set, range.clone(), &subject, &mut writer, &progress)?;
        }
        progress.finish();
        let file = writer.finish()?.into_inner().map_err(|e| e.into_error()).with_context(writing)?;
        file.sync_all().with_context(writing)?;
        fs::rename(&partial, &args.out).with_context(|| format!("writing {}", args.out.display()))
    };
    let written = subject.place.guarded(write).and_then(std::convert::identity);
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written?;
    report(args, &subject, total, started.elapsed().as_secs_f64())
}

type Part = (ImageDataset, std::ops::Range<usize>);

/// Splits, and which of their pictures.
fn parts(source: &Source, named: &[String], partition: Option<(u64, u64)>) -> Result<Vec<Part>> {
    let splits = if named.is_empty() { source.split_names()? } else { named.to_vec() };
    let sets: Vec<ImageDataset> = splits.iter().map(|split| source.open(split)).collect::<Result<_>>()?;
    let total: u64 = sets.iter().map(|set| set.len() as u64).sum();
    let (i, n) = partition.unwrap_or((1, 1));
    if n > total {
        return Err(Usage(format!("--partition {i}/{n}: there are {total} pictures")).into());
    }
    let share = |i: u64| (u128::from(total) * u128::from(i) / u128::from(n)) as usize;
    let (first, end) = (share(i - 1), share(i));
    let mut before = 0;
    let mut parts = Vec::new();
    for set in sets {
        let len = set.len();
        let within = |at: usize| at.clamp(before, before + len) - before;
        let range = within(first)..within(end);
        if !range.is_empty() {
            parts.push((set, range));
        }
        before += len;
    }
    Ok(parts)
}

fn of_split(
    set: &ImageDataset,
    range: std::ops::Range<usize>,
    subject: &Subject,
    writer: &mut EmbeddingsWriter<BufWriter<File>>,
    progress: &Progress,
) -> Result<()> {
    let labels = set.known_labels()?;
    let pictures: Vec<usize> = range.collect();
    let (channels, device) = (subject.config().in_channels, &subject.place.device);
    extract_each(&subject.encoder, set, &pictures, &subject.transform, channels, device, |some, features| {
        let info = |&i: &usize| -> Result<RowInfo> {
            let path = set.sample(i)?.path().to_owned();
            Ok(RowInfo {
                path: (!path.is_empty()).then_some(path),
                label: labels.get(i).copied().flatten().filter(|label| *label >= 0),
                split: Some(set.split().to_owned()),
            })
        };
        let infos: Vec<RowInfo> = some.iter().map(info).collect::<Result<_>>()?;
        writer.push(&infos, features)?;
        progress.advance(some.len() as u64);
        Ok::<(), anyhow::Error>(())
    })
}

fn report(args: &EmbedArgs, subject: &Subject, rows: usize, seconds: f64) -> Result<()> {
    let dim = subject.config().dim()?;
    let bytes = fs::metadata(&args.out).map_or(0, |about| about.len());
    if args.json {
        let value = json!({
            "out": args.out,
            "rows": rows,
            "dim": dim,
            "bytes": bytes,
            "device": subject.place.name(),
            "seconds": seconds,
            "images_per_second": rows as f64 / seconds,
        });
        say(&value.to_string());
    } else {
        tell(&format!(
            "{}: {rows} rows of {dim} in {seconds:.1} s; columns path, label, split, embedding",
            Path::new(&args.out).display()
        ));
    }
    Ok(())
}
