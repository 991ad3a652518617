//! Representations, computed once: they stay in a cache under the weights, the pictures and
//! how those are prepared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use byol_data::ImageDataset;
use byol_eval::{Embeddings, EmbeddingsWriter, Features, RowInfo, extract};
use byol_model::{ResNet, named_tensors};
use sha2::{Digest, Sha256};

use crate::subject::Subject;
use crate::terminal::Progress;

/// Bytes that the cache may have; what was not used for longest goes first.
const MOST_BYTES: u64 = 8 << 30;
/// What makes representations; a change of it makes old ones stale.
const VERSION: &str = concat!("byol ", env!("CARGO_PKG_VERSION"), " features 1");

/// An encoder that makes representations, and what identifies them.
pub struct Extractor<'a> {
    pub encoder: &'a ResNet,
    subject: &'a Subject,
    /// Of the weights.
    digest: String,
    cache: Option<PathBuf>,
}

impl<'a> Extractor<'a> {
    /// `encoder` takes the same pictures as the subject's, in the same place.
    pub fn new(encoder: &'a ResNet, subject: &'a Subject, cached: bool) -> Self {
        let cache = if cached { crate::hub::cache("features").ok() } else { None };
        Self { encoder, subject, digest: digest(encoder), cache }
    }

    /// Of every picture, in order; `what` is for the progress bar.
    pub fn features(&self, set: &ImageDataset, what: &str) -> Result<Features> {
        let path = self.cache.as_ref().map(|folder| folder.join(format!("{}.parquet", self.key(set))));
        if let Some(kept) = path.as_ref().and_then(|path| kept(path, set.len())) {
            return Ok(kept);
        }
        let progress = Progress::bar(set.len() as u64, what);
        let done = |done: usize| progress.set(done as u64);
        let Subject { transform, place, .. } = self.subject;
        let channels = self.subject.config().in_channels;
        let features =
            place.guarded(|| extract(self.encoder, set, transform, channels, &place.device, done))??;
        progress.finish();
        if let Some(path) = path {
            // A cache that cannot be written is no cache, and no reason to stop.
            let _ = keep(&path, &features);
        }
        Ok(features)
    }

    fn key(&self, set: &ImageDataset) -> String {
        let subject = self.subject;
        let transform = serde_json::to_string(&subject.transform).unwrap_or_default(); // cannot fail: plain numbers
        let channels = subject.config().in_channels.to_string();
        let mut parts = vec![VERSION, &self.digest, set.fingerprint(), &transform, &channels];
        // Whose bits are not the CPU's.
        if let Some(gpu) = &subject.place.gpu {
            parts.extend([gpu.engine(), &gpu.title, &gpu.driver]);
        }
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hex(hash)
    }
}

/// Of names and values of all tensors.
pub fn digest(encoder: &ResNet) -> String {
    let mut hash = Sha256::new();
    for tensor in named_tensors(encoder) {
        hash.update(tensor.name.as_bytes());
        for value in &tensor.values {
            hash.update(value.to_le_bytes());
        }
    }
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the cache has; damaged files are nothing.
fn kept(path: &Path, len: usize) -> Option<Features> {
    let kept = Embeddings::read(path).ok().filter(|kept| kept.features.len() == len)?;
    // For `forget`.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Some(kept.features)
}

fn keep(path: &Path, features: &Features) -> Result<()> {
    let folder = path.parent().context("a file in a folder")?;
    fs::create_dir_all(folder)?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let written = (|| {
        let file = std::io::BufWriter::new(File::create(&partial)?);
        let mut writer = EmbeddingsWriter::new(file, features.dim(), &[], &BTreeMap::new())?;
        writer.push(&vec![RowInfo::default(); features.len()], features)?;
        writer.finish()?.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        Ok(fs::rename(&partial, path)?)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    forget(folder, MOST_BYTES);
    written
}

/// Removes what was not used for longest, until no more than `most` bytes are left.
fn forget(folder: &Path, most: u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= most {
            break;
        }
        let _ = fs::remove_file(path);
        total -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_kept_is_found_and_what_is_old_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let features = Features::new(2, (0..20).map(|i| i as f32).collect()).unwrap();
        let path = |name: &str| folder.path().join(name);
        for (age, name) in ["a.parquet", "b.parquet", "c.parquet"].iter().enumerate() {
            keep(&path(name), &features).unwrap();
            let file = File::options().append(true).open(path(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(1000 * (age as u64 + 1))).unwrap();
        }
        assert_eq!(kept(&path("c.parquet"), 10), Some(features)); // which makes it the youngest
        assert_eq!(kept(&path("c.parquet"), 11), None);
        let size = fs::metadata(path("a.parquet")).unwrap().len();
        forget(folder.path(), 2 * size);
        assert!(path("a.parquet").exists() && !path("b.parquet").exists() && path("c.parquet").exists());
        fs::write(path("a.parquet"), "no Parquet").unwrap();
        assert_eq!(kept(&path("a.parquet"), 10), None);
    }
}
