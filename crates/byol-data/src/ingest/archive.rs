//! Tar (plain or gzipped) and zip archives: WebDataset, or a folder of pictures within.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::IngestOptions;
use super::place::Places;
use super::source::{Content, Item, Listing, Signature, claims_picture, is_litter, produced};
use super::tar_names::ShortNames;
use crate::dataset::split_of_name;
use crate::{DataError, Labels, Limits};

/// Members that are read ahead.
const AHEAD: usize = 16;
/// Bytes of a file that says what a picture's class is.
const MAX_SIDECAR: u64 = 64 << 10;

pub(super) enum Kind {
    File,
    Folder,
    /// A link, a device.
    Other,
}

pub(super) struct Member<'a> {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) content: &'a mut dyn Read,
}

/// Calls `visit` with each member until it says stop. Damage of the archive is an error.
pub(super) fn walk(path: &Path, visit: &mut dyn FnMut(Member<'_>) -> bool) -> Result<(), String> {
    let file = File::open(path).map_err(|e| format!("opening: {e}"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.ends_with(".zip") {
        return walk_zip(file, visit);
    }
    let file = BufReader::new(file);
    if name.ends_with(".gz") || name.ends_with(".tgz") {
        walk_tar(MultiGzDecoder::new(file), visit)
    } else {
        walk_tar(file, visit)
    }
}

fn walk_tar(reader: impl Read, visit: &mut dyn FnMut(Member<'_>) -> bool) -> Result<(), String> {
    let mut archive = tar::Archive::new(ShortNames::new(reader));
    let mut last = String::new();
    let damaged = |last: &str, e: std::io::Error| {
        let after = if last.is_empty() { String::new() } else { format!(" after {last}") };
        format!("the archive is damaged or cut{after}: {e}")
    };
    for entry in archive.entries().map_err(|e| damaged("", e))? {
        let mut entry = entry.map_err(|e| damaged(&last, e))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => Kind::File,
            tar::EntryType::Directory => Kind::Folder,
            _ => Kind::Other,
        };
        last.clone_from(&name);
        let size = entry.size();
        if !visit(Member { name, kind, size, content: &mut entry }) {
            return Ok(());
        }
    }
    // To the end, where a compressed archive has its checksum.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(|e| damaged(&last, e))?;
    Ok(())
}

fn walk_zip(file: File, visit: &mut dyn FnMut(Member<'_>) -> bool) -> Result<(), String> {
    let damaged = |e: zip::result::ZipError| format!("the archive is damaged or cut: {e}");
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(damaged)?;
        let kind = match () {
            () if entry.is_dir() => Kind::Folder,
            () if entry.is_file() => Kind::File,
            () => Kind::Other,
        };
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let size = entry.size();
        if !visit(Member { name, kind, size, content: &mut entry }) {
            break;
        }
    }
    Ok(())
}

/// The plain form of a member's name, or why it is refused.
pub(super) fn safe(name: &str) -> Result<String, String> {
    let leaves = || Err("its path leaves the archive; refused".into());
    let name = name.replace('\\', "/"); // as old packers of Windows write it
    if name.starts_with('/') || name.contains('\0') {
        return leaves();
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || parts.first().is_some_and(|part| part.ends_with(':')) {
        return leaves();
    }
    Ok(parts.join("/"))
}

/// What belongs together in a WebDataset: the path up to the first point of the name.
fn key(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    path[name..].find('.').map_or(path, |point| &path[..name + point])
}

/// What a first pass over the archives found.
#[derive(Default)]
struct Scan {
    /// Paths of members that claim to be pictures.
    pictures: Vec<String>,
    /// What the files beside them say of their classes, by those files' names.
    classes: BTreeMap<String, String>,
    ignored: u64,
}

impl Scan {
    fn add(&mut self, archive: &Path, prefix: &str) {
        // Damage is met again when the members are read, and told then.
        let _ = walk(archive, &mut |member| {
            let Ok(path) = safe(&member.name) else { return true };
            if !matches!(member.kind, Kind::File) || path.split('/').any(is_litter) {
                self.ignored += u64::from(matches!(member.kind, Kind::File));
                return true;
            }
            let path = format!("{prefix}{path}");
            let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
            if claims_picture(&path) {
                self.pictures.push(path);
            } else if matches!(extension, "cls" | "json") && member.size <= MAX_SIDECAR {
                let mut text = String::new();
                if member.content.read_to_string(&mut text).is_ok()
                    && let Some(class) = class_of(extension, &text)
                {
                    self.classes.insert(stem_of(&path).to_owned(), class);
                }
            } else {
                self.ignored += 1;
            }
            true
        });
    }
}

/// A path without its last extension.
fn stem_of(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    path[name..].rfind('.').map_or(path, |point| &path[..name + point])
}

/// The class in the file that bears a picture's whole name, or else its WebDataset key.
fn class_beside<'a>(classes: &'a BTreeMap<String, String>, path: &str) -> Option<&'a String> {
    classes.get(stem_of(path)).or_else(|| classes.get(key(path)))
}

fn class_of(extension: &str, text: &str) -> Option<String> {
    if extension == "cls" {
        return Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    }
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let found =
        ["label", "cls", "class", "class_name", "label_name"].iter().find_map(|key| value.get(key))?;
    match found {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The pictures of one archive, or of all tars of a folder, in their order.
pub(super) fn open(path: &Path, options: &IngestOptions) -> Result<Listing, DataError> {
    let archives = archives(path)?;
    let several = archives.len() > 1;
    let mut scan = Scan::default();
    let mut parts = Vec::new();
    for archive in archives {
        let stem = stem(&archive);
        let prefix = if several { format!("{stem}/") } else { String::new() };
        scan.add(&archive, &prefix);
        parts.push(Part { split: split_of_name(&stem).map(Into::into), archive, prefix });
    }
    let paths: Vec<PathBuf> = parts.iter().map(|part| part.archive.clone()).collect();
    let signature = Signature::of_files(&paths)?;
    let n_items = match &options.assignment {
        Some(assignment) => scan.pictures.iter().filter(|p| assignment.by_path.contains_key(*p)).count(),
        None => scan.pictures.len(),
    };
    // Several archives are each a folder: their names are splits, not classes.
    let inner = |path: &str| {
        let cut = if several { path.find('/').map_or(0, |at| at + 1) } else { 0 };
        path[cut..].to_owned()
    };
    let inside: Vec<String> = scan.pictures.iter().map(|path| inner(path)).collect();
    let found = Places::of(inside.iter().map(String::as_str), true, options.assignment.as_ref());
    let has_class = |path: &String| class_beside(&scan.classes, path).is_some();
    let (labels, label) = if options.assignment.is_none() && scan.pictures.iter().any(has_class) {
        let (labels, label) = web_dataset(scan.classes);
        (labels, Some(label))
    } else {
        (found.labels(), None)
    };
    let places: Place = Box::new(move |part, path| {
        let placed = found.of_path(&path[part.prefix.len()..])?;
        // What a folder says of the split goes before what the archive's name says.
        let split = part.split.clone().filter(|_| &*placed.split == "train" && (several || label.is_some()));
        let class = label.as_ref().map_or(placed.label, |label| label(path));
        Some((split.unwrap_or(placed.split), class))
    });
    let items = read(parts, options.limits, places)?;
    let ignored = scan.ignored;
    Ok(Listing { labels, n_items: Some(n_items as u64), signature, ignored, items: Box::new(items) })
}

/// Whole numbers stay numbers; texts become classes.
fn web_dataset(classes: BTreeMap<String, String>) -> (Labels, LabelOf) {
    if classes.values().all(|class| class.parse::<i64>().is_ok()) {
        let number = move |path: &str| class_beside(&classes, path)?.parse().ok().filter(|&label| label >= 0);
        return (Labels::Numbers, Box::new(number));
    }
    let names: BTreeSet<&String> = classes.values().collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let labels = Labels::Classes(names.clone());
    let position =
        move |path: &str| names.binary_search(class_beside(&classes, path)?).ok().map(|i| i as i64);
    (labels, Box::new(position))
}

struct Part {
    archive: PathBuf,
    prefix: String,
    split: Option<Arc<str>>,
}

fn archives(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut archives = Vec::new();
    for entry in fs::read_dir(path).map_err(DataError::io("opening the folder", path))? {
        let path = entry.map_err(DataError::io("listing", path))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if [".tar", ".tar.gz", ".tgz", ".zip"].iter().any(|end| name.ends_with(end)) {
            archives.push(path);
        }
    }
    archives.sort();
    if archives.is_empty() {
        return Err(DataError::Source { path: path.into(), why: "no archives in it".into() });
    }
    Ok(archives)
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_ascii_lowercase();
    let end = [".tar.gz", ".tgz", ".tar", ".zip"].into_iter().find(|end| lower.ends_with(end));
    name[..name.len() - end.map_or(0, str::len)].to_owned()
}

/// The label of a path.
type LabelOf = Box<dyn Fn(&str) -> Option<i64> + Send>;

/// The split and label of a member.
type Place = Box<dyn Fn(&Part, &str) -> Option<(Arc<str>, Option<i64>)> + Send>;

fn read(
    parts: Vec<Part>,
    limits: Limits,
    place: Place,
) -> Result<impl Iterator<Item = Result<Item, DataError>> + Send, DataError> {
    produced("archive", AHEAD, move |send| {
        for part in parts {
            let default = || part.split.clone().unwrap_or_else(|| "train".into());
            let fault = |path: String, why: String, send: &mut dyn FnMut(_) -> bool| {
                send(Ok(Item { path, split: default(), label: None, content: Content::Fault(why) }))
            };
            let mut wanted = true;
            let walked = walk(&part.archive, &mut |member| {
                let path = match safe(&member.name) {
                    Ok(path) => format!("{}{path}", part.prefix),
                    Err(why) => {
                        wanted = fault(format!("{}{}", part.prefix, member.name), why, send);
                        return wanted;
                    }
                };
                let is_folder = matches!(member.kind, Kind::Folder);
                if is_folder || path.split('/').any(is_litter) || !claims_picture(&path) {
                    return true;
                }
                if matches!(member.kind, Kind::Other) {
                    wanted = fault(path, "a link in an archive; not followed".into(), send);
                } else if let Some((split, label)) = place(&part, &path) {
                    let content = content(member.content, member.size, limits);
                    wanted = send(Ok(Item { path, split, label, content }));
                }
                wanted
            });
            if let Err(why) = walked {
                let path = part.archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
                wanted = fault(path, why, send);
            }
            if !wanted {
                return;
            }
        }
    })
}

fn content(reader: &mut dyn Read, size: u64, limits: Limits) -> Content {
    if size > limits.max_file {
        return Content::Fault(format!("{size} bytes of file, more than {}", limits.max_file));
    }
    let mut bytes = Vec::new();
    match reader.take(limits.max_file.saturating_add(1)).read_to_end(&mut bytes) {
        Err(error) => Content::Fault(format!("cannot be read: {error}")),
        Ok(n) if n as u64 > limits.max_file => {
            Content::Fault(format!("more than {} bytes of file", limits.max_file))
        }
        Ok(n) if (n as u64) < size => Content::Fault(format!("cut off: {n} bytes of {size}")),
        Ok(_) => Content::Encoded(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_end_is_not_read() {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(100 << 30);
        header.set_cksum();
        let error = walk_tar(&header.as_bytes()[..], &mut |_| true).unwrap_err();
        assert!(error.contains("a name of more than a mebibyte"), "{error}");
    }

    #[test]
    fn names_that_leave_are_refused() {
        for name in
            ["/etc/passwd", "../x.png", "a/../../x.png", "..\\x.png", "\\x.png", "C:\\x.png", "C:/x.png"]
        {
            assert!(safe(name).is_err(), "{name}");
        }
        assert_eq!(safe("./a//b.png").as_deref(), Ok("a/b.png"));
        assert_eq!(safe("a\\b.png").as_deref(), Ok("a/b.png"));
    }

    #[test]
    fn keys_end_at_the_first_point_of_the_name() {
        assert_eq!(key("a.b/0001.seg.png"), "a.b/0001");
        assert_eq!(key("0001"), "0001");
    }
}
