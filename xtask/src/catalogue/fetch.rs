//! The original files of a set: from a folder, or fetched; never a wrong one under the right
//! name.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use byol_data::ingest::idx;
use md5::{Digest, Md5};

use super::{Layout, Manifest, SourceFile};
use crate::http::{Client, sha256_of};
use crate::terminal::tell;

/// Where the files of a set are.
#[derive(Debug)]
pub struct Taken {
    pub folder: PathBuf,
    /// What was found of files whose sums nobody has confirmed.
    pub notes: Vec<String>,
}

/// The files of `manifest`: those in `from`, or fetched to `raw`.
pub fn files(manifest: &Manifest, from: Option<&Path>, mirror: Option<&str>, raw: &Path) -> Result<Taken> {
    if let Some(from) = from {
        return local(manifest, from);
    }
    if manifest.files.is_empty() {
        bail!(
            "{} cannot be fetched (see {}); --from DIR takes a copy that is there",
            manifest.name,
            manifest.origin
        );
    }
    fs::create_dir_all(raw).with_context(|| format!("making {}", raw.display()))?;
    let mut notes = Vec::new();
    for file in &manifest.files {
        let to = raw.join(&file.name);
        if !to.exists() {
            fetch(file, mirror, &to)?;
        }
        notes.extend(verified(file, &to)?);
    }
    Ok(Taken { folder: raw.into(), notes })
}

/// Tries one address after the other.
fn fetch(file: &SourceFile, mirror: Option<&str>, to: &Path) -> Result<()> {
    let urls = match mirror {
        Some(mirror) => vec![format!("{}/{}", mirror.trim_end_matches('/'), file.name)],
        None => file.urls.clone(),
    };
    // Under another name until it is known to be right.
    let unverified = to.with_file_name(format!("{}.unverified", file.name));
    if urls.is_empty() {
        bail!("{}: the manifest names no address for it; --from or --mirror does", file.name);
    }
    let mut errors = Vec::new();
    for url in &urls {
        let fetched =
            Client::new(url, None).download(url, &unverified).and_then(|()| verified(file, &unverified));
        match fetched {
            Ok(_) => return fs::rename(&unverified, to).with_context(|| format!("writing {}", to.display())),
            Err(error) => {
                let _ = fs::remove_file(&unverified);
                errors.push(format!("{error:#}"));
            }
        }
    }
    bail!("{}: {}", file.name, errors.join("; and "))
}

fn local(manifest: &Manifest, from: &Path) -> Result<Taken> {
    fs::read_dir(from).with_context(|| format!("opening {} (--from)", from.display()))?;
    let mut notes = Vec::new();
    let missing: Vec<&str> = manifest
        .files
        .iter()
        .map(|file| file.name.as_str())
        .filter(|name| !from.join(name).exists())
        .collect();
    // SVHN's extra pictures may be left out, and sets that somebody has unpacked are folders.
    let unpacked = missing.len() == manifest.files.len()
        && !matches!(manifest.layout, Layout::Idx | Layout::Svhn | Layout::Flowers102 | Layout::Pets);
    let optional = |name: &&str| manifest.layout == Layout::Svhn && *name == "extra_32x32.mat";
    let needed: Vec<&str> = missing.iter().copied().filter(|name| !optional(name)).collect();
    if !unpacked && !needed.is_empty() {
        bail!(
            "{} (--from) has not {}; {} needs {}",
            from.display(),
            needed.join(", "),
            manifest.name,
            manifest.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ")
        );
    }
    if unpacked && !manifest.files.is_empty() {
        tell(&format!(
            "note: {} holds none of the original archives; taken as an unpacked copy, nothing to verify it by",
            from.display()
        ));
    }
    for file in manifest.files.iter().filter(|file| !missing.contains(&file.name.as_str())) {
        notes.extend(verified(file, &from.join(&file.name))?);
    }
    Ok(Taken { folder: from.into(), notes })
}

/// Compares a file with what the manifest says. Returns a note where nobody has confirmed
/// what it should be.
fn verified(file: &SourceFile, path: &Path) -> Result<Option<String>> {
    if let Some(expected) = &file.content_sha256
        && content_of_idx(path).is_ok_and(|found| found == *expected)
    {
        return Ok(None);
    }
    let (kind, expected, found) = match (&file.sha256, &file.md5) {
        (Some(expected), _) => ("SHA-256", Some(expected), sha256_of(path)?),
        (None, Some(expected)) => ("MD5", Some(expected), md5_of(path)?),
        (None, None) => ("SHA-256", None, sha256_of(path)?),
    };
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(&found) => bail!(
            "{}: its {kind} is {found}, the manifest says {expected}: this is another file, or a damaged one",
            path.with_file_name(&file.name).display()
        ),
        Some(_) if file.confirmed => Ok(None),
        Some(_) => Ok(Some(format!(
            "{}: {kind} {found}, as third parties have it; its publisher names none",
            file.name
        ))),
        None => Ok(Some(format!("{}: {kind} {found}; its publisher names no sum to compare", file.name))),
    }
}

fn content_of_idx(path: &Path) -> Result<String> {
    let content = match idx::read_images(path) {
        Ok(images) => images.data,
        Err(_) => idx::read_labels(path)?,
    };
    Ok(hex(&sha2::Sha256::digest(&content)))
}

fn md5_of(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let (mut hash, mut buffer) = (Md5::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).with_context(reading)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
