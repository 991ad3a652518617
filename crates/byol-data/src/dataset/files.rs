//! Which files of a folder are the shards of a split, as `load_dataset` finds them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;

/// Words that name a split, and the split that they name.
const KEYWORDS: [(&str, &str); 10] = [
    ("train", "train"),
    ("training", "train"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "test"),
    ("evaluation", "test"),
    ("validation", "validation"),
    ("valid", "validation"),
    ("val", "validation"),
    ("dev", "validation"),
];

/// The split that a word names.
pub(crate) fn split_of_word(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    KEYWORDS.iter().find(|(keyword, _)| *keyword == word).map(|(_, split)| *split)
}

/// The split that a file's name tells of: `NAME-00000-of-00004`, or a word for a split
/// among its words.
pub(crate) fn split_of_name(stem: &str) -> Option<String> {
    if let Some((name, ..)) = numbered(stem) {
        return Some(split_of_word(name).map_or(name, |split| split).to_owned());
    }
    stem.split(|c: char| !c.is_ascii_alphabetic()).find_map(split_of_word).map(str::to_owned)
}

/// The split that a Parquet file of that name (without its extension) in these folders, one in
/// the other, belongs to: that which its name tells, else the last folder that is called as a
/// split, else `train`.
pub fn split_of_file(stem: &str, folders: &[&str]) -> String {
    let of_folder = || folders.iter().rev().find_map(|folder| split_of_word(folder)).map(str::to_owned);
    split_of_name(stem).or_else(of_folder).unwrap_or_else(|| "train".into())
}

/// `NAME-00001-of-00004` taken apart.
fn numbered(stem: &str) -> Option<(&str, usize, usize)> {
    let (head, total) = stem.rsplit_once("-of-")?;
    let (name, number) = head.rsplit_once('-')?;
    Some((name, number.parse().ok()?, total.parse().ok()?))
}

/// A Parquet file and its split.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) split: String,
    pub(super) path: PathBuf,
}

/// All Parquet files of a set: `path` itself; or those in `path/data`; or else those in
/// `path` and in its folders that are named as splits. Sorted.
pub(super) fn find(path: &Path) -> Result<Vec<Found>, DataError> {
    if path.is_file() {
        let split = split_of_name(&stem(path)).unwrap_or_else(|| "train".into());
        return Ok(vec![Found { split, path: path.into() }]);
    }
    let inner = path.join("data");
    let mut found = if inner.is_dir() { in_folder(&inner)? } else { Vec::new() };
    if found.is_empty() {
        found = in_folder(path)?;
    }
    let mut found: Vec<Found> = found
        .into_iter()
        .map(|(split, path)| Found { split: split.unwrap_or_else(|| "train".into()), path })
        .collect();
    found.sort();
    Ok(found)
}

fn in_folder(folder: &Path) -> Result<Vec<(Option<String>, PathBuf)>, DataError> {
    let mut found = Vec::new();
    for path in list(folder)? {
        if is_parquet(&path) {
            found.push((split_of_name(&stem(&path)), path));
        } else if path.is_dir()
            && let Some(split) = path.file_name().and_then(|name| split_of_word(name.to_str()?))
        {
            let inside = list(&path)?.into_iter().filter(|path| is_parquet(path));
            found.extend(inside.map(|path| (Some(split.to_owned()), path)));
        }
    }
    Ok(found)
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) && path.is_file()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::io("opening the folder", folder))?;
    entries.map(|entry| Ok(entry.map_err(DataError::io("listing", folder))?.path())).collect()
}

/// The splits that there are under `folder`, sorted.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn split_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names: Vec<String> = find(folder)?.into_iter().map(|found| found.split).collect();
    names.dedup(); // they are sorted
    Ok(names)
}

/// All Parquet files of a set with their splits, in the order of splits and names.
#[cfg(feature = "ingest")]
pub(crate) fn parquet_files(path: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    Ok(find(path)?.into_iter().map(|found| (found.split, found.path)).collect())
}

/// The files of one split, none of which may be missing.
pub(super) fn of_split(folder: &Path, all: &[Found], split: &str) -> Result<Vec<PathBuf>, DataError> {
    let canonical = split_of_word(split).unwrap_or(split);
    let paths: Vec<PathBuf> =
        all.iter().filter(|found| found.split == canonical).map(|found| found.path.clone()).collect();
    let none = |why: String| DataError::NoShards { path: folder.into(), split: split.into(), why };
    if paths.is_empty() {
        return Err(none(if all.is_empty() {
            format!(
                "there is no Parquet file in it or its `data` folder; expected files like \
                 data/{split}-00000-of-00001.parquet with a column `image`. Pictures become such \
                 files by `cargo xtask ingest FOLDER --to DIR`"
            )
        } else {
            let mut names: Vec<&str> = all.iter().map(|found| found.split.as_str()).collect();
            names.dedup();
            format!("the splits there are: {}", names.join(", "))
        }));
    }
    for (i, path) in paths.iter().enumerate() {
        let stem = stem(path);
        if let Some((_, number, total)) = numbered(&stem)
            && (number != i || total != paths.len())
        {
            return Err(none(format!(
                "{} says that there are {total} of them, but {} are here (is one missing?)",
                path.file_name().unwrap_or_default().display(),
                paths.len()
            )));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_splits_as_the_hub_reads_them() {
        for (stem, split) in [
            ("train-00000-of-00004", Some("train")),
            ("unlabeled-00001-of-00002", Some("unlabeled")),
            ("val-00000-of-00001", Some("validation")),
            ("my_test_pictures", Some("test")),
            ("pictures", None),
            ("contest", None),
            ("0000", None),
        ] {
            assert_eq!(split_of_name(stem).as_deref(), split, "{stem}");
        }
    }
}
