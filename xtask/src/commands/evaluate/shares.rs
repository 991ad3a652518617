//! Which pictures show their labels: drawn by seed, or listed in a file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use byol_data::{ImageDataset, write_atomic};
use byol_eval::balanced_share;

use super::rows::Pictures;
use crate::cli::LabelsShown;
use crate::terminal::tell;

/// First line of the lists that we write.
const HEAD: &str = "split,row,label,path";
/// Bytes that a list may have; ImageNet's has 50 MB.
const MOST_BYTES: u64 = 1 << 30;

/// Pictures that show their labels.
pub struct Share {
    /// For people: `1 %`.
    pub name: String,
    /// Numbers of rows that teach, rising.
    pub rows: Vec<usize>,
    pub labels: Vec<usize>,
    /// Where they are written down.
    pub list: Option<PathBuf>,
}

impl Share {
    /// Draws or reads it, and writes it into the folder `to`, under a name with `of` in it.
    pub fn new(
        shown: &LabelsShown,
        pictures: &Pictures,
        seed: u64,
        to: Option<&Path>,
        of: &str,
    ) -> Result<Self> {
        let labels = &pictures.rows.train;
        let drawn = |share: f64| balanced_share(labels, pictures.rows.n_classes, share, seed);
        let (name, file, rows) = match shown {
            LabelsShown::All => ("all".to_owned(), format!("all{of}-seed-{seed}.csv"), drawn(1.0)?),
            LabelsShown::Percent(p) => {
                (format!("{p} %"), format!("{p}-percent{of}-seed-{seed}.csv"), drawn(p / 100.0)?)
            }
            LabelsShown::File(path) => {
                let rows = listed(path, pictures)?;
                let of = |row: &usize| labels[*row];
                let labels = rows.iter().map(of).collect();
                return Ok(Self { name: path.display().to_string(), rows, labels, list: Some(path.clone()) });
            }
        };
        if let LabelsShown::Percent(p) = shown {
            let asked = p / 100.0 * labels.len() as f64;
            if (rows.len() as f64) < 0.9 * asked - 1.0 || rows.len() as f64 > 1.1 * asked + 1.0 {
                tell(&format!(
                    "note: {name} of {} labels are {asked:.0}, and {} are shown: of each class as many, at least one \
                     and no more than it has",
                    labels.len(),
                    rows.len()
                ));
            }
        }
        let list = to.map(|folder| folder.join(file));
        if let Some(path) = &list {
            let write = || -> Result<()> {
                fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
                    .with_context(|| format!("making the folder of {}", path.display()))?;
                Ok(write_atomic(path, written(&rows, pictures)?.as_bytes())?)
            };
            write().context("writing down which labels are shown (--labels-to)")?;
        }
        Ok(Self { name, labels: rows.iter().map(|row| labels[*row]).collect(), rows, list })
    }
}

/// The set that a row that teaches is of, and its number there.
fn place(pictures: &Pictures, row: usize) -> (&ImageDataset, usize) {
    match &pictures.validation {
        Some(validation) if row >= pictures.train.len() => (validation, row - pictures.train.len()),
        _ => (&pictures.train, row),
    }
}

fn written(rows: &[usize], pictures: &Pictures) -> Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEAD.split(','))?;
    for &row in rows {
        let (set, i) = place(pictures, row);
        let label = pictures.rows.label(pictures.rows.train[row]).to_string();
        csv.write_record([set.split(), &i.to_string(), &label, set.sample(i)?.path()])?;
    }
    String::from_utf8(csv.into_inner().map_err(|e| e.into_error())?).context("names of pictures are text")
}

/// Rows that a file lists.
fn listed(path: &Path, pictures: &Pictures) -> Result<Vec<usize>> {
    let reading = || format!("reading {} (--labels)", path.display());
    let about = fs::metadata(path).with_context(reading)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        bail!("{}: no list of pictures (--labels)", path.display());
    }
    let text = fs::read_to_string(path).with_context(reading)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text); // Excel's
    let mut rows = match text.lines().next().map(str::trim) {
        Some(HEAD) => by_number(text, path, pictures)?,
        _ => by_name(text, path, pictures)?,
    };
    rows.sort_unstable();
    if let Some(twice) = rows.windows(2).find(|pair| pair[0] == pair[1]) {
        let (set, i) = place(pictures, twice[0]);
        bail!("{}: picture {i} of `{}` is listed twice", path.display(), set.split());
    }
    if rows.is_empty() {
        bail!("{}: lists no picture", path.display());
    }
    Ok(rows)
}

/// As we write it.
fn by_number(text: &str, path: &Path, pictures: &Pictures) -> Result<Vec<usize>> {
    let mut rows = Vec::new();
    for (i, record) in csv::Reader::from_reader(text.as_bytes()).into_records().enumerate() {
        let line = i + 2;
        let fault = |why: &str| format!("{}, line {line}: {why}", path.display());
        let record = record.with_context(|| fault("no record"))?;
        let number = |at: usize| record.get(at).and_then(|text| text.parse::<usize>().ok());
        let (Some(split), Some(i), Some(label)) = (record.get(0), number(1), number(2)) else {
            bail!(fault(&format!("expected {HEAD}")));
        };
        let start = match &pictures.validation {
            Some(validation) if validation.split() == split => pictures.train.len(),
            _ if pictures.train.split() == split => 0,
            _ => bail!(fault(&format!("`{split}` is no split that is learned from"))),
        };
        let row = start + i;
        let shown = pictures.rows.train.get(row).map(|class| pictures.rows.label(*class));
        let same = shown == Some(label) && place(pictures, row).0.split() == split;
        let name = record.get(3).unwrap_or_default();
        let (set, at) = place(pictures, row);
        if !same || (!name.is_empty() && set.sample(at)?.path() != name) {
            bail!(fault(&format!(
                "picture {i} of `{split}` is not {name} with label {label}; the list is of another set"
            )));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// A name a line: with folders, which are the picture's or the last of them; or without, as in the
/// lists of SimCLR's 1 % and 10 % of ImageNet.
fn by_name(text: &str, path: &Path, pictures: &Pictures) -> Result<Vec<usize>> {
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut named: HashMap<String, Vec<(usize, String)>> = HashMap::new();
    for row in 0..pictures.rows.train.len() {
        let (set, i) = place(pictures, row);
        let path = set.sample(i)?.path().to_owned();
        named.entry(file_name(&path)).or_default().push((row, path));
    }
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let name = line.trim();
        let name = name.strip_prefix("./").unwrap_or(name);
        let fits =
            |path: &str| path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'));
        let candidates = named.get(&file_name(name)).into_iter().flatten();
        let found: Vec<usize> = candidates.filter(|(_, path)| fits(path)).map(|(row, _)| *row).collect();
        match found.as_slice() {
            [one] => rows.push(*one),
            [] => bail!("{}, line {}: no training picture is called {name}", path.display(), i + 1),
            _ => bail!(
                "{}, line {}: {} training pictures are called {name}; write more of their folders",
                path.display(),
                i + 1,
                found.len()
            ),
        }
    }
    Ok(rows)
}
