//! A folder of pictures.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::IngestOptions;
use super::place::Places;
use super::source::{Content, Item, Listing, Signature, claims_picture, is_litter};
use crate::{DataError, is_picture};

struct Found {
    /// From the folder on, with `/`.
    path: String,
    content: Result<PathBuf, String>,
}

/// The pictures, in an order that mixes the folders: by a hash of their paths. Whoever
/// reads a shard from its start, or a part of it, sees all classes.
pub(super) fn open(root: &Path, options: &IngestOptions) -> Result<Listing, DataError> {
    let true_root = fs::canonicalize(root).map_err(DataError::io("opening the folder", root))?;
    let mut walk = Walk { true_root, found: Vec::new(), ignored: 0, signature: Signature::default() };
    walk.folder(root, "", 0)?;
    let Walk { mut found, ignored, signature, .. } = walk;
    let places = Places::of(found.iter().map(|f| f.path.as_str()), false, options.assignment.as_ref());
    found.sort_by_cached_key(|f| <[u8; 32]>::from(Sha256::digest(&f.path)));
    let labels = places.labels();
    let n_items = found.iter().filter(|f| places.of_path(&f.path).is_some()).count() as u64;
    let items = found.into_iter().filter_map(move |Found { path, content }| {
        let placed = places.of_path(&path)?;
        let content = content.map_or_else(Content::Fault, Content::File);
        Some(Ok(Item { path, split: placed.split, label: placed.label, content }))
    });
    Ok(Listing {
        labels,
        n_items: Some(n_items),
        signature: signature.hex(),
        ignored,
        items: Box::new(items),
    })
}

struct Walk {
    true_root: PathBuf,
    found: Vec<Found>,
    ignored: u64,
    signature: Signature,
}

/// Folders within folders that are followed.
const MAX_DEPTH: usize = 64;

impl Walk {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), DataError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(DataError::io("opening the folder", folder))? {
            entries.push(entry.map_err(DataError::io("listing", folder))?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_litter(&name) {
                self.ignored += 1;
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(DataError::io("reading", entry.path()))?;
            if kind.is_symlink() {
                self.link(&entry.path(), path);
            } else if kind.is_dir() {
                if depth == MAX_DEPTH {
                    self.found
                        .push(Found { path, content: Err(format!("more than {MAX_DEPTH} folders deep")) });
                } else if let Err(error) = self.folder(&entry.path(), &format!("{path}/"), depth + 1) {
                    self.found.push(Found { path, content: Err(error.full()) });
                }
            } else if kind.is_file() {
                self.file(entry.path(), path, &name);
            } else {
                self.ignored += 1; // a pipe, a device
            }
        }
        Ok(())
    }

    fn file(&mut self, at: PathBuf, path: String, name: &str) {
        if !claims_picture(name) && !looks_like_one(&at) {
            self.ignored += 1;
            return;
        }
        if let Ok(about) = fs::metadata(&at) {
            self.signature.file(&path, &about);
        }
        self.found.push(Found { path, content: Ok(at) });
    }

    /// A link to a file within the folder is that file; others are not followed.
    fn link(&mut self, at: &Path, path: String) {
        let content = match fs::canonicalize(at) {
            Ok(target) if !target.starts_with(&self.true_root) => {
                Err(format!("a symbolic link that leaves the folder (to {}); not followed", target.display()))
            }
            Ok(target) if target.is_dir() => Err("a symbolic link to a folder; not followed".into()),
            Ok(target) => {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                return self.file(target, path, &name);
            }
            Err(error) => Err(format!("a symbolic link that leads nowhere ({error})")),
        };
        self.found.push(Found { path, content });
    }
}

/// Names without an extension are common in scientific collections.
fn looks_like_one(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    read.is_ok() && is_picture(&start)
}
