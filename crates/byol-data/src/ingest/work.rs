//! The ingest itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::IngestOptions;
use super::journal::{Fate, Journal};
use super::output::{self, Output};
use super::prepare::{Prepared, prepare};
use super::source::{self, Content, Item};
use crate::{DataError, Labels, NewSample, write_atomic};

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its path within the source.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What an ingest did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IngestReport {
    /// Pictures of each split.
    pub splits: BTreeMap<String, u64>,
    /// Names of the classes; none where there are no labels or they are numbers.
    pub classes: Vec<String>,
    /// Whether pictures have labels.
    pub labelled: bool,
    /// The most channels of a picture.
    pub channels: usize,
    /// All numbers of channels that pictures have. 1 beside 3 is grey among colour; others do
    /// not go together.
    pub channel_kinds: Vec<usize>,
    /// Bytes of the pictures.
    pub bytes: u64,
    /// Shards.
    pub shards: u64,
    /// Files that could not be read; all of them stand in faults.csv.
    pub faults: u64,
    /// Pictures whose pixels were there before; all of them stand in duplicates.csv.
    pub duplicates: u64,
    /// Whether those were left out.
    pub dropped: bool,
    /// Files that are no pictures.
    pub ignored: u64,
    /// The first faults.
    pub first_faults: Vec<Fault>,
}

/// Items that are looked at together, and bytes that they may hold.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 64 << 20;
/// Faults that a report shows.
const SHOWN: usize = 5;

/// Turns the pictures of `from` into shards in `to`: `to/data/SPLIT-00000-of-00001.parquet`,
/// beside them `faults.csv`, `duplicates.csv` and `ingest.json` (the report).
///
/// Every picture is decoded once, so that what a set holds can be read. What an earlier try
/// has done is gone on with. A set that is there already is replaced when the new one is
/// whole. Threads are those of the rayon pool that it is called in. `progress` is told how
/// many items are done, and of how many, if that is known.
///
/// # Errors
///
/// If the source cannot be recognised or holds no picture, if there are more faults than
/// allowed, or if the target cannot be written. What is whole stays in `to/.ingest` for the
/// next try.
pub fn ingest(
    from: &Path,
    to: &Path,
    options: &IngestOptions,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<IngestReport, DataError> {
    let work = to.join(output::WORK);
    let (format, listing) = source::open(from, options)?;
    let n_items = listing.n_items;
    let signature =
        format!("{} {format:?} {} {}", env!("CARGO_PKG_VERSION"), listing.signature, options.signature());
    let is_new = !to.exists();
    if let (Ok(from), Ok(there)) = (fs::canonicalize(from), fs::canonicalize(to))
        && (from == there || output::OWN.iter().any(|own| from.starts_with(there.join(own))))
    {
        let why = "it is the source too, and would be replaced; name another folder with --to";
        return Err(DataError::Source { path: to.into(), why: why.into() });
    }
    output::ready(to)?;
    let journal = Journal::open(&work, &signature)?;
    if journal.is_complete() {
        return placed(to);
    }
    output::put_back(to)?;
    let mut run = Run {
        known: journal.known.clone(),
        output: Output::new(journal, listing.labels.clone(), options.shard_bytes),
        options,
        seen: HashMap::new(),
        paths: Paths::default(),
        faults: Vec::new(),
        duplicates: Vec::new(),
        report: IngestReport {
            classes: listing.labels.classes().to_vec(),
            labelled: listing.labels != Labels::None,
            ignored: listing.ignored,
            dropped: options.dedup,
            ..IngestReport::default()
        },
        n_done: 0,
    };
    let mut items = listing.items;
    let result = loop {
        match run.chunk(&mut items) {
            Ok(0) => break Ok(()),
            Ok(_) => progress(run.n_done, n_items),
            Err(error) => break Err(error),
        }
    };
    let empty = run.report.splits.is_empty();
    match result {
        Err(error) => {
            run.output.abandon();
            Err(error)
        }
        Ok(()) if empty => {
            let faults = &run.faults;
            let why = match faults.first() {
                Some(Fault { path, reason }) => {
                    format!(
                        "no picture in it could be read; of {} faults the first is {path}: {reason}",
                        faults.len()
                    )
                }
                None => "no pictures in it".into(),
            };
            drop(run);
            let _ = fs::remove_dir_all(&work); // nothing in it is of use
            if is_new {
                let _ = fs::remove_dir(to); // only if it is empty
            }
            Err(DataError::Source { path: from.into(), why })
        }
        Ok(()) => run.finish(to),
    }
}

/// Looks at every picture of a source and writes nothing. Returns how many there are, and
/// what cannot be read.
///
/// # Errors
///
/// If the source cannot be recognised or read.
pub fn check(from: &Path, options: &IngestOptions) -> Result<(u64, Vec<Fault>), DataError> {
    let (_, listing) = source::open(from, options)?;
    let (mut n, mut faults) = (0, Vec::new());
    for item in listing.items {
        let item = item?;
        match prepare(item.content, options) {
            Ok(_) => n += 1,
            Err(reason) => faults.push(Fault { path: item.path, reason }),
        }
    }
    Ok((n, faults))
}

struct Run<'a> {
    known: Vec<Fate>,
    output: Output,
    options: &'a IngestOptions,
    /// The first item of each content.
    seen: HashMap<[u8; 16], u32>,
    paths: Paths,
    faults: Vec<Fault>,
    /// Path, and the path of what it repeats.
    duplicates: Vec<(String, String)>,
    report: IngestReport,
    n_done: u64,
}

/// Paths of the pictures that count, one after the other.
#[derive(Default)]
struct Paths {
    text: String,
    ends: Vec<usize>,
}

impl Paths {
    fn push(&mut self, path: &str) -> u32 {
        self.text.push_str(path);
        self.ends.push(self.text.len());
        (self.ends.len() - 1) as u32
    }

    fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.text[start..self.ends[number]]
    }
}

/// An item on its way: skipped because its shard is done, or looked at.
enum Looked {
    Skipped(Fate),
    Now(Result<Prepared, String>),
}

impl Run<'_> {
    /// Looks at the next items together and takes them one by one, in their order. Returns
    /// how many there were.
    fn chunk(
        &mut self,
        items: &mut (dyn Iterator<Item = Result<Item, DataError>> + Send),
    ) -> Result<usize, DataError> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK && bytes < CHUNK_BYTES {
            let Some(item) = items.next() else { break };
            let item = item?.placeable();
            bytes += item.content.weight();
            chunk.push(item);
        }
        let first = self.n_done as usize;
        let (known, options) = (&self.known, self.options);
        // Whether a shard has it is known when its turn comes; what is surely not needed is
        // what was left out, and what lies before the last of each split's done pictures.
        let skippable = self.skippable(first, &chunk);
        let looked: Vec<(Item, Looked)> = chunk
            .into_par_iter()
            .zip(skippable)
            .enumerate()
            .map(|(i, (mut item, skip))| {
                if skip {
                    return (item, Looked::Skipped(known[first + i]));
                }
                let content = std::mem::replace(&mut item.content, Content::Encoded(Vec::new()));
                (item, Looked::Now(prepare(content, options)))
            })
            .collect();
        let n = looked.len();
        for (item, looked) in looked {
            self.take(item, looked)?;
            self.n_done += 1;
        }
        Ok(n)
    }

    fn skippable(&self, first: usize, chunk: &[Item]) -> Vec<bool> {
        let mut left: BTreeMap<String, i64> = BTreeMap::new();
        let of_item = |(i, item): (usize, &Item)| match self.known.get(first + i) {
            Some(Fate::Dropped(_)) => true,
            Some(Fate::Written(hash)) => {
                let split = self.split(&item.split, hash);
                let left = left.entry(split.to_owned()).or_insert_with(|| self.output.left(split));
                *left -= 1;
                *left >= 0
            }
            _ => false,
        };
        chunk.iter().enumerate().map(of_item).collect()
    }

    /// The split of a picture: some of `train` are held out, by what they show.
    fn split<'a>(&self, split: &'a str, hash: &[u8; 16]) -> &'a str {
        let mut word = [0; 8];
        word.copy_from_slice(&hash[..8]);
        let share = u64::from_be_bytes(word) as f64 / 2f64.powi(64);
        if split == "train" && share < self.options.val { "validation" } else { split }
    }

    fn take(&mut self, item: Item, looked: Looked) -> Result<(), DataError> {
        if self.options.val > 0.0 && &*item.split == "validation" {
            let why = "it has a validation split of its own, beside which --val would put copies".into();
            return Err(DataError::Source { path: item.path.into(), why });
        }
        let number = self.n_done as usize;
        let before = self.known.get(number).copied();
        let fate = match looked {
            Looked::Skipped(Fate::Written(hash)) => {
                let split = self.split(&item.split, &hash).to_owned();
                self.repeated(&item, &hash);
                self.count(&split);
                self.output.skip(&split);
                return Ok(());
            }
            Looked::Skipped(Fate::Dropped(hash)) => {
                if hash != [0; 16] {
                    self.repeated(&item, &hash);
                }
                return Ok(());
            }
            Looked::Skipped(Fate::Fault) => return Ok(()), // never skipped
            Looked::Now(Err(reason)) => self.fault(item.path, reason)?,
            // The shards that are done were made without it.
            Looked::Now(Ok(_)) if before == Some(Fate::Fault) => {
                self.fault(item.path, "could not be read when it was first met".into())?
            }
            Looked::Now(Ok(picture)) => {
                let split = self.split(&item.split, &picture.hash).to_owned();
                let enough = |first| self.report.splits.get(&split).copied().unwrap_or_default() >= first;
                if self.options.first.is_some_and(enough) {
                    Fate::Dropped([0; 16])
                } else if self.repeated(&item, &picture.hash) && self.options.dedup {
                    Fate::Dropped(picture.hash)
                } else {
                    if self.output.left(&split) > 0 {
                        self.output.skip(&split);
                    } else {
                        let sample = NewSample { bytes: &picture.bytes, path: &item.path, label: item.label };
                        self.output.write(&split, sample, picture.channels)?;
                    }
                    self.count(&split);
                    Fate::Written(picture.hash)
                }
            }
        };
        if before.is_none() {
            self.output.journal.note(fate)?;
        }
        Ok(())
    }

    fn count(&mut self, split: &str) {
        *self.report.splits.entry(split.to_owned()).or_default() += 1;
    }

    fn fault(&mut self, path: String, reason: String) -> Result<Fate, DataError> {
        self.faults.push(Fault { path, reason });
        if let Some(max) = self.options.max_faults.filter(|&max| self.faults.len() as u64 > max) {
            let last = self.faults.iter().rev().take(SHOWN).map(|f| format!("{}: {}", f.path, f.reason));
            return Err(DataError::TooManyFaults { max, last: last.collect::<Vec<_>>().join("; ") });
        }
        Ok(Fate::Fault)
    }

    /// Notes it if the same pixels have been there before.
    fn repeated(&mut self, item: &Item, hash: &[u8; 16]) -> bool {
        if let Some(&first) = self.seen.get(hash) {
            self.duplicates.push((item.path.clone(), self.paths.get(first).to_owned()));
            return true;
        }
        let number = self.paths.push(&item.path);
        self.seen.insert(*hash, number);
        false
    }

    fn finish(self, to: &Path) -> Result<IngestReport, DataError> {
        let Self { output, faults, duplicates, mut report, .. } = self;
        let mut journal = output.finish()?;
        let write = |name: &str, head: [&str; 2], rows: Vec<[&str; 2]>| {
            let path = journal.folder().join(name);
            if rows.is_empty() {
                return Ok(());
            }
            let mut csv = csv::Writer::from_writer(Vec::new());
            let failed = |e: String| DataError::Source { path: path.clone(), why: e };
            csv.write_record(head).map_err(|e| failed(e.to_string()))?;
            for row in rows {
                csv.write_record(row).map_err(|e| failed(e.to_string()))?;
            }
            let bytes = csv.into_inner().map_err(|e| failed(e.to_string()))?;
            write_atomic(&path, &bytes)
        };
        write(
            "faults.csv",
            ["path", "reason"],
            faults.iter().map(|f| [f.path.as_str(), &f.reason]).collect(),
        )?;
        let rows = duplicates.iter().map(|(path, first)| [path.as_str(), first]).collect();
        write("duplicates.csv", ["path", "same_as"], rows)?;
        let kinds: BTreeSet<usize> = journal.shards().iter().flat_map(|done| done.channels.clone()).collect();
        report.channels = kinds.last().copied().unwrap_or_default();
        report.channel_kinds = kinds.into_iter().collect();
        report.bytes = journal.shards().iter().map(|done| done.bytes).sum();
        report.shards = journal.shards().len() as u64;
        report.faults = faults.len() as u64;
        report.duplicates = duplicates.len() as u64;
        report.first_faults = faults.into_iter().take(SHOWN).collect();
        let text = serde_json::to_string_pretty(&report).unwrap_or_default(); // texts and numbers always can
        write_atomic(&journal.folder().join("ingest.json"), text.as_bytes())?;
        journal.complete()?;
        drop(journal);
        placed(to)
    }
}

fn placed(to: &Path) -> Result<IngestReport, DataError> {
    let path = to.join(output::WORK).join("ingest.json");
    let path = if path.exists() { path } else { to.join("ingest.json") };
    let text = fs::read(&path).map_err(DataError::io("reading", &path))?;
    let report: IngestReport = serde_json::from_slice(&text)
        .map_err(|e| DataError::Source { path: path.clone(), why: e.to_string() })?;
    output::place(to, [report.faults > 0, report.duplicates > 0])?;
    Ok(report)
}
