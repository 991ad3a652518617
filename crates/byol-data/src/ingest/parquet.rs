//! Parquet files of whatever layout, cut anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::IngestOptions;
use super::source::{Content, Item, Listing, Signature, produced};
use crate::dataset::parquet_files;
use crate::shard::ShardReader;
use crate::{Columns, DataError, Labels, Shard};

/// Rows that are read ahead.
const AHEAD: usize = 64;

/// The rows of all files, in their order.
pub(super) fn open(path: &Path, options: &IngestOptions) -> Result<Listing, DataError> {
    let files = parquet_files(path)?;
    if files.is_empty() {
        return Err(DataError::Source { path: path.into(), why: "no Parquet files in it".into() });
    }
    let mut labels: Option<Labels> = None;
    let mut names = BTreeSet::new();
    let mut texts = None;
    let mut n_items = 0;
    for (_, file) in &files {
        let reader = ShardReader::open_with(Shard::local(file), &options.columns)?;
        n_items += reader.n_rows() as u64;
        reader.same_kind(&mut texts)?;
        if reader.has_texts() {
            reader.collect_texts(&mut names, 100_000)?;
        }
        labels = Some(match labels {
            None => reader.labels().clone(),
            Some(labels) if labels == *reader.labels() => labels,
            // An unlabelled split beside labelled ones.
            Some(Labels::None) => reader.labels().clone(),
            Some(labels) if *reader.labels() == Labels::None => labels,
            // Splits that number their classes differently: by name.
            Some(Labels::Classes(mut all)) if !reader.labels().classes().is_empty() => {
                let new = reader.labels().classes().iter().filter(|name| !all.contains(name));
                let new: Vec<_> = new.cloned().collect();
                all.extend(new);
                Labels::Classes(all)
            }
            Some(_) => {
                let why =
                    "its labels have class names and those of other files have none; ingest them one by one";
                return Err(DataError::Disagree { shard: file.display().to_string(), why: why.into() });
            }
        });
    }
    let names: Vec<String> = names.into_iter().collect();
    let labels =
        if names.is_empty() { labels.unwrap_or(Labels::None) } else { Labels::Classes(names.clone()) };
    let paths: Vec<PathBuf> = files.iter().map(|(_, file)| file.clone()).collect();
    let signature = Signature::of_files(&paths)?;
    let items = read(files, options.columns.clone(), names, labels.classes().to_vec())?;
    Ok(Listing { labels, n_items: Some(n_items), signature, ignored: 0, items: Box::new(items) })
}

fn place(name: &String, classes: &[String]) -> i64 {
    // Cannot be missing: they are the names of all files.
    classes.iter().position(|class| class == name).map_or(-1, |at| at as i64)
}

fn read(
    files: Vec<(String, PathBuf)>,
    columns: Columns,
    names: Vec<String>,
    classes: Vec<String>,
) -> Result<impl Iterator<Item = Result<Item, DataError>> + Send, DataError> {
    produced("Parquet", AHEAD, move |send| {
        for (split, file) in files {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let split: Arc<str> = split.into();
            let mut wanted = true;
            let result = ShardReader::open_with(Shard::local(&file), &columns).and_then(|reader| {
                // Where the classes stand that this file numbers in its own way.
                let own = reader.labels().classes();
                let places: Vec<i64> = match own.len() {
                    n if reader.has_texts() || own == &classes[..n.min(classes.len())] => Vec::new(),
                    _ => own.iter().map(|name| place(name, &classes)).collect(),
                };
                reader.for_each_or_fault(&names, |bytes, path, label, row| {
                    let label = label.map(|n| places.get(n as usize).copied().unwrap_or(n));
                    let path = if path.is_empty() { format!("{stem}-{row:06}") } else { path.to_owned() };
                    let content = match bytes {
                        Some(bytes) => Content::Encoded(bytes.to_vec()),
                        None => {
                            Content::Fault(format!("row {row} of {} has no picture bytes", file.display()))
                        }
                    };
                    wanted = send(Ok(Item { path, split: split.clone(), label, content }));
                    let gone = || DataError::Sample("nobody wants the rows".into());
                    if wanted { Ok(()) } else { Err(gone()) }
                })
            });
            match result {
                Ok(()) => {}
                Err(error) if wanted => {
                    send(Err(error));
                    return;
                }
                Err(_) => return,
            }
        }
    })
}
