//! Fashion-MNIST: from its four IDX files to shards, the same bytes each time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use byol_data::ingest::{idx, smallest_grey_png};
use byol_data::{NewSample, ShardWriter, write_atomic};
use sha2::{Digest, Sha256};

use crate::terminal::Progress;

/// The manifest that ships: names, classes, checksums.
pub const MANIFEST: &str = include_str!("../../datasets/fashion-mnist.toml");

/// What the manifest says.
#[derive(Debug, serde::Deserialize)]
pub struct Manifest {
    pub name: String,
    pub title: String,
    pub licence: String,
    pub origin: String,
    pub citation: String,
    pub classes: Vec<String>,
    pub mini_train: usize,
    pub files: Vec<SourceFile>,
}

/// One of the four files.
#[derive(Debug, serde::Deserialize)]
pub struct SourceFile {
    pub split: String,
    pub kind: String,
    pub name: String,
    /// Of the content after the IDX header, decompressed.
    pub sha256: String,
}

/// Reads the manifest that is built in.
pub fn manifest() -> Result<Manifest> {
    toml::from_str(MANIFEST).context("the built-in manifest of fashion-mnist")
}

/// Takes the IDX files from `from` and writes shards to `to`; with `mini` only the
/// first pictures of the training split. Returns the shards and their pictures.
pub fn convert(from: &Path, to: &Path, mini: bool) -> Result<Vec<(PathBuf, usize)>> {
    let manifest = manifest()?;
    let mut shards = Vec::new();
    for split in ["train", "test"] {
        let (path, expected) = source(&manifest, from, split, "images")?;
        let images = idx::read_images(&path).with_context(|| HINT)?;
        verify(&path, &images.data, expected)?;
        let (path, expected) = source(&manifest, from, split, "labels")?;
        let labels = idx::read_labels(&path).with_context(|| HINT)?;
        verify(&path, &labels, expected)?;
        if images.iter().len() != labels.len() {
            bail!("{split}: {} pictures, but {} labels", images.iter().len(), labels.len());
        }
        let n = if mini && split == "train" { manifest.mini_train } else { labels.len() };
        let progress = Progress::bar(n as u64, &format!("packing {split}"));
        let mut writer = ShardWriter::new(&manifest.classes);
        for (i, (pixels, &label)) in images.iter().zip(&labels).take(n).enumerate() {
            let png = smallest_grey_png(pixels, images.width, images.height)?;
            let path = format!("{split}-{i:05}.png");
            writer.push(NewSample { bytes: &png, path: &path, label: Some(label.into()) })?;
            progress.advance(1);
        }
        progress.finish();
        shards.push((to.join(format!("data/{split}-00000-of-00001.parquet")), writer.finish()?, n));
    }
    fs::create_dir_all(to.join("data")).with_context(|| format!("making {}", to.display()))?;
    for (path, bytes, _) in &shards {
        write_atomic(path, bytes)?;
    }
    Ok(shards.into_iter().map(|(path, _, n)| (path, n)).collect())
}

const HINT: &str = "--from names the folder of the four IDX .gz files";

fn source<'a>(manifest: &'a Manifest, from: &Path, split: &str, kind: &str) -> Result<(PathBuf, &'a str)> {
    let file = manifest
        .files
        .iter()
        .find(|file| file.split == split && file.kind == kind)
        .with_context(|| format!("the manifest names no {kind} of {split}"))?;
    Ok((from.join(&file.name), &file.sha256))
}

/// Compares what a file holds after its header with the manifest, so that another
/// compression of the same data is the same data.
fn verify(path: &Path, content: &[u8], expected: &str) -> Result<()> {
    let found = sha256(content);
    if found != expected {
        bail!(
            "{}: the content's SHA-256 is {found}, the manifest says {expected}: this is another \
             data set, or a damaged file",
            path.display()
        );
    }
    Ok(())
}

/// Hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
