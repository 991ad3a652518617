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
            Some(labels) => {
                let why = format!("labels are {:?}, and the first file's are {labels:?}", reader.labels());
                return Err(DataError::Disagree { shard: file.display().to_string(), why });
            }
        });
    }
    let names: Vec<String> = names.into_iter().collect();
    let labels =
        if names.is_empty() { labels.unwrap_or(Labels::None) } else { Labels::Classes(names.clone()) };
    let paths: Vec<PathBuf> = files.iter().map(|(_, file)| file.clone()).collect();
    let signature = Signature::of_files(&paths)?;
    let items = read(files, options.columns.clone(), names)?;
    Ok(Listing { labels, n_items: Some(n_items), signature, ignored: 0, items: Box::new(items) })
}

fn read(
    files: Vec<(String, PathBuf)>,
    columns: Columns,
    names: Vec<String>,
) -> Result<impl Iterator<Item = Result<Item, DataError>> + Send, DataError> {
    produced("Parquet", AHEAD, move |send| {
        for (split, file) in files {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let split: Arc<str> = split.into();
            let mut wanted = true;
            let result = ShardReader::open_with(Shard::local(&file), &columns).and_then(|reader| {
                reader.for_each_or_fault(&names, |bytes, path, label, row| {
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
