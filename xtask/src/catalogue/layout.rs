//! From a set's original files to a source that can be ingested.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use byol_data::ingest::{Assignment, Format, IngestOptions, extract, mat, members};

use super::{Layout, Manifest};

/// Bytes of the lists in an archive.
const MAX_LISTS: u64 = 64 << 20;

/// What is to be ingested, and from where: archives that hold no pictures are unpacked to
/// `work`.
pub fn source(manifest: &Manifest, files: &Path, work: &Path) -> Result<(PathBuf, Option<Assignment>)> {
    let file = |i: usize| files.join(&manifest.files[i].name);
    let unpacked = manifest.files.first().is_none_or(|first| !files.join(&first.name).exists());
    Ok(match manifest.layout {
        Layout::Local | Layout::Idx | Layout::Svhn => (files.into(), None),
        Layout::Folders if unpacked => (files.into(), None),
        Layout::Folders => (file(0), None),
        Layout::Cifar | Layout::Stl10 if unpacked => (files.into(), None),
        Layout::Cifar | Layout::Stl10 => {
            extract(&file(0), work, |path| path.ends_with(".bin") || path.ends_with(".txt"))?;
            (work.into(), None)
        }
        Layout::Caltech101 if unpacked => caltech_folders(files)?,
        Layout::Caltech101 => {
            let inner = extract(&file(0), work, |path| path.ends_with("101_ObjectCategories.tar.gz"))?;
            let inner = inner.first().context("no 101_ObjectCategories.tar.gz in the archive")?;
            let paths = picture_paths(inner)?;
            (
                inner.clone(),
                Some(by_folder(paths.iter().filter(|path| !path.contains("/BACKGROUND_Google/")))),
            )
        }
        Layout::Dtd | Layout::Food101 if unpacked => bail!(
            "{}: {} is needed as it was published, not unpacked (its lists say the splits)",
            files.display(),
            manifest.files[0].name
        ),
        Layout::Dtd => {
            // The first of its ten partitions, as torchvision takes it.
            let lists = members(&file(0), MAX_LISTS, |path| {
                is_list(path, "dtd/labels/", &["train1", "val1", "test1"])
            })?;
            (file(0), Some(by_lists(&lists, "dtd/images/", "")?))
        }
        Layout::Food101 => {
            let lists =
                members(&file(0), MAX_LISTS, |path| is_list(path, "food-101/meta/", &["train", "test"]))?;
            (file(0), Some(by_lists(&lists, "food-101/images/", ".jpg")?))
        }
        Layout::Pets => {
            let wanted = |path: &str| is_list(path, "annotations/", &["trainval", "test"]);
            (file(0), Some(pets(&members(&file(1), MAX_LISTS, wanted)?)?))
        }
        Layout::Flowers102 => (file(0), Some(flowers(&file(1), &file(2), manifest)?)),
    })
}

/// How it is to be ingested.
pub fn ingest_options(manifest: &Manifest, assignment: Option<Assignment>) -> IngestOptions {
    let format = match manifest.layout {
        Layout::Idx => Some(Format::Idx),
        Layout::Svhn => Some(Format::Svhn),
        Layout::Cifar => Some(Format::Cifar),
        Layout::Stl10 => Some(Format::Stl10),
        _ => None,
    };
    let rename = if assignment.is_some() { BTreeMap::new() } else { manifest.names.clone() };
    IngestOptions { format, val: manifest.val, rename, assignment, ..IngestOptions::STANDARD }
}

fn is_list(path: &str, folder: &str, names: &[&str]) -> bool {
    let name = path.strip_prefix(folder).and_then(|name| name.strip_suffix(".txt"));
    name.is_some_and(|name| names.contains(&name))
}

/// The split that a list's name tells.
fn split_of(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match () {
        () if name.starts_with("train") => "train",
        () if name.starts_with("val") => "validation",
        () => "test",
    }
}

fn lines(lists: &BTreeMap<String, Vec<u8>>) -> Result<Vec<(&'static str, String)>> {
    let mut all = Vec::new();
    for (path, bytes) in lists {
        let text = std::str::from_utf8(bytes).with_context(|| format!("{path}: no text"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        all.extend(lines.map(|line| (split_of(path), line.to_owned())));
    }
    if all.is_empty() {
        bail!("the lists that say its splits are not in the archive");
    }
    Ok(all)
}

/// Lists of CLASS/FILE.
fn by_lists(lists: &BTreeMap<String, Vec<u8>>, prefix: &str, suffix: &str) -> Result<Assignment> {
    let lines = lines(lists)?;
    let class = |line: &str| line.split_once('/').map_or("", |(class, _)| class).to_owned();
    let classes: BTreeSet<String> = lines.iter().map(|(_, line)| class(line)).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let by_path = lines.iter().map(|(split, line)| {
        (format!("{prefix}{line}{suffix}"), ((*split).to_owned(), classes.binary_search(&class(line)).ok()))
    });
    Ok(Assignment { by_path: by_path.collect(), classes: classes.clone() })
}

/// Lists of `IMAGE CLASS SPECIES BREED`; a class's name is its images' without the number.
fn pets(lists: &BTreeMap<String, Vec<u8>>) -> Result<Assignment> {
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let mut by_path = BTreeMap::new();
    for (split, line) in lines(lists)? {
        let mut words = line.split_whitespace();
        let (Some(image), Some(class)) = (words.next(), words.next().and_then(|c| c.parse::<usize>().ok()))
        else {
            bail!("a line of its lists that is not understood: {line}");
        };
        let name = image.rsplit_once('_').map_or(image, |(name, _)| name).replace('_', " ");
        names.insert(class, name);
        let class = class.checked_sub(1).context("a class 0 in its lists, which count from 1")?;
        by_path.insert(format!("images/{image}.jpg"), (split.to_owned(), Some(class)));
    }
    let classes: Vec<String> = names.into_values().collect();
    Ok(Assignment { by_path, classes })
}

fn flowers(labels: &Path, sets: &Path, manifest: &Manifest) -> Result<Assignment> {
    let array = |path: &Path, name: &str| -> Result<Vec<usize>> {
        let arrays = mat::read(path)?;
        let found = arrays.into_iter().find(|array| array.name == name);
        let found = found.with_context(|| format!("{}: no variable `{name}`", path.display()))?;
        let values = (0..found.len()).map(|i| found.get(i).and_then(|v| usize::try_from(v).ok()));
        values.collect::<Option<_>>().with_context(|| format!("{}: `{name}` are no counts", path.display()))
    };
    let labels_of = array(labels, "labels")?;
    let mut by_path = BTreeMap::new();
    for (split, name) in [("train", "trnid"), ("validation", "valid"), ("test", "tstid")] {
        for id in array(sets, name)? {
            let label = id.checked_sub(1).and_then(|i| labels_of.get(i)).and_then(|l| l.checked_sub(1));
            let label = label.with_context(|| format!("{}: picture {id} has no label", sets.display()))?;
            by_path.insert(format!("jpg/image_{id:05}.jpg"), (split.to_owned(), Some(label)));
        }
    }
    let classes =
        (1..=manifest.names.len()).map(|i| manifest.names.get(&i.to_string()).cloned().unwrap_or_default());
    Ok(Assignment { by_path, classes: classes.collect() })
}

/// All paths of an archive, of whatever member.
/// The folders of Caltech's classes, wherever under `files` they were unpacked to, but for that
/// of other pictures.
fn caltech_folders(files: &Path) -> Result<(PathBuf, Option<Assignment>)> {
    let places = ["", "101_ObjectCategories", "caltech-101/101_ObjectCategories"].map(|at| files.join(at));
    let Some(root) = places.into_iter().find(|root| root.join("accordion").is_dir()) else {
        return Ok((files.into(), None));
    };
    let names = |folder: &Path| -> Result<Vec<String>> {
        let entries = fs::read_dir(folder).with_context(|| format!("opening {}", folder.display()))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut paths = BTreeSet::new();
    for class in names(&root)?.into_iter().filter(|class| class != "BACKGROUND_Google") {
        if root.join(&class).is_dir() {
            paths.extend(names(&root.join(&class))?.into_iter().map(|file| format!("{class}/{file}")));
        }
    }
    let assignment = by_folder(paths.iter());
    Ok((root, Some(assignment)))
}

fn picture_paths(archive: &Path) -> Result<BTreeSet<String>> {
    let paths = std::cell::RefCell::new(BTreeSet::new());
    members(archive, 0, |path| {
        if path.to_ascii_lowercase().ends_with(".jpg") {
            paths.borrow_mut().insert(path.to_owned());
        }
        false
    })?;
    Ok(paths.into_inner())
}

/// `WRAPPING/CLASS/FILE`, all of them training pictures.
fn by_folder<'a>(paths: impl Iterator<Item = &'a String> + Clone) -> Assignment {
    let class = |path: &str| path.split('/').rev().nth(1).unwrap_or_default().to_owned();
    let classes: BTreeSet<String> = paths.clone().map(|path| class(path)).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let by_path =
        paths.map(|path| (path.clone(), ("train".to_owned(), classes.binary_search(&class(path)).ok())));
    Assignment { by_path: by_path.collect(), classes: classes.clone() }
}

/// Removes what was fetched and unpacked.
pub fn clear(folder: &Path) {
    let _ = fs::remove_dir_all(folder); // it may not be there
}
