//! A CSV or TSV file with a column of paths, and perhaps of classes and splits.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::IngestOptions;
use super::source::{Content, Item, Listing, Signature};
use crate::dataset::split_of_word;
use crate::{DataError, Labels};

const PATH_NAMES: [&str; 10] =
    ["path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "name"];
const LABEL_NAMES: [&str; 8] =
    ["label", "labels", "class", "category", "target", "species", "class_name", "y"];
const SPLIT_NAMES: [&str; 4] = ["split", "set", "subset", "partition"];

struct Row {
    path: String,
    class: Option<String>,
    split: Option<String>,
}

/// The pictures that the rows name, in the order of the rows; paths are from the file's own
/// folder on.
pub(super) fn open(path: &Path, options: &IngestOptions) -> Result<Listing, DataError> {
    let root = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    let rows = read(path, &root, options)?;
    let classes: BTreeSet<&str> = rows.iter().filter_map(|row| row.class.as_deref()).collect();
    let mut classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    let mut signature = Signature::default();
    let about = fs::metadata(path).map_err(DataError::io("reading", path))?;
    signature.file(&path.display().to_string(), &about);
    for row in &rows {
        if let Ok(about) = fs::metadata(root.join(&row.path)) {
            signature.file(&row.path, &about);
        }
    }
    let labels = if classes.is_empty() { Labels::None } else { Labels::Classes(classes.clone()) };
    let true_root = fs::canonicalize(&root).map_err(DataError::io("opening", &root))?;
    let n_items = Some(rows.len() as u64);
    let items = rows.into_iter().map(move |Row { path, class, split }| {
        let label = class.and_then(|class| classes.iter().position(|c| *c == class)).map(|i| i as i64);
        let split = split.map_or("train".into(), |s| split_of_word(&s).map_or(s.clone(), str::to_owned));
        let content = inside(&true_root, &path).map_or_else(Content::Fault, Content::File);
        Ok(Item { path, split: split.into(), label, content })
    });
    Ok(Listing { labels, n_items, signature: signature.hex(), ignored: 0, items: Box::new(items) })
}

/// The file of a row: an absolute path is taken at its word, a relative one stays within.
fn inside(root: &Path, path: &str) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("a row without a path".into());
    }
    let given = Path::new(path);
    if given.is_absolute() {
        return Ok(given.into());
    }
    if given.components().any(|part| part == Component::ParentDir) {
        return Err("its path leaves the folder of the table".into());
    }
    let at = fs::canonicalize(root.join(given)).map_err(|e| format!("cannot be opened: {e}"))?;
    if at.starts_with(root) {
        Ok(at)
    } else {
        Err("a symbolic link that leaves the folder of the table".into())
    }
}

/// The separator that the first line has most of; commas where it has none.
fn delimiter(path: &Path) -> Result<u8, DataError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(DataError::io("opening", path))?;
    file.take(1 << 16).read_to_end(&mut start).map_err(DataError::io("reading", path))?;
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| line.iter().filter(|&&byte| byte == separator).count();
    let most = [b';', b'\t', b','].into_iter().max_by_key(|&separator| count(separator));
    Ok(most.filter(|&separator| count(separator) > 0).unwrap_or(b','))
}

fn read(path: &Path, root: &Path, options: &IngestOptions) -> Result<Vec<Row>, DataError> {
    let fault = |why: String| DataError::Source { path: path.into(), why };
    let file = File::open(path).map_err(DataError::io("opening", path))?;
    let delimiter = delimiter(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(file);
    let mut records = Vec::new();
    for record in reader.byte_records() {
        let record = record.map_err(|e| fault(e.to_string()))?;
        let fields = record
            .iter()
            .map(|field| String::from_utf8_lossy(field).trim_start_matches('\u{feff}').to_owned());
        records.push(fields.collect::<Vec<String>>());
    }
    let Some(first) = records.first().cloned() else { return Err(fault("no rows".into())) };
    let position = |names: &[&str]| {
        names.iter().find_map(|name| first.iter().position(|field| field.eq_ignore_ascii_case(name)))
    };
    let asked = |name: &str| {
        let found = first.iter().position(|field| field == name);
        found.ok_or_else(|| fault(format!("no column `{name}`; its first row is: {}", first.join(", "))))
    };
    let path_column = match &options.columns.image {
        Some(name) => Some(asked(name)?),
        None => position(&PATH_NAMES),
    };
    let label_column = match &options.columns.label {
        Some(name) => Some(asked(name)?),
        None => position(&LABEL_NAMES),
    };
    let (path_column, label_column, split_column, skip) = match path_column {
        Some(column) => (column, label_column.filter(|&c| c != column), position(&SPLIT_NAMES), 1),
        // Without headings: paths, then classes.
        None if first.first().is_some_and(|path| root.join(path).is_file()) => (0, Some(1), None, 0),
        None => {
            return Err(fault(format!(
                "which column holds the paths? Name it with --image-column; its first row is: {}",
                first.join(", ")
            )));
        }
    };
    let field = |record: &[String], column: Option<usize>| {
        column.and_then(|column| record.get(column)).filter(|text| !text.is_empty()).cloned()
    };
    let rows = records.iter().skip(skip).filter(|record| record.iter().any(|field| !field.is_empty()));
    Ok(rows
        .map(|record| Row {
            path: field(record, Some(path_column)).unwrap_or_default(),
            class: field(record, label_column),
            split: field(record, split_column),
        })
        .collect())
}
