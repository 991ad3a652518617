//! The data sets that are known: one TOML file each, under datasets/.

mod fetch;
mod layout;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

pub use self::fetch::files;
pub use self::layout::{clear, ingest_options, source};
use crate::exit::Usage;

/// The manifests that ship, by name.
const MANIFESTS: [(&str, &str); 20] = [
    ("caltech101", include_str!("../../../datasets/caltech101.toml")),
    ("cifar10", include_str!("../../../datasets/cifar10.toml")),
    ("cifar100", include_str!("../../../datasets/cifar100.toml")),
    ("dtd", include_str!("../../../datasets/dtd.toml")),
    ("eurosat", include_str!("../../../datasets/eurosat.toml")),
    ("fashion-mnist", include_str!("../../../datasets/fashion-mnist.toml")),
    ("flowers102", include_str!("../../../datasets/flowers102.toml")),
    ("food101", include_str!("../../../datasets/food101.toml")),
    ("imagenet", include_str!("../../../datasets/imagenet.toml")),
    ("imagenette", include_str!("../../../datasets/imagenette.toml")),
    ("imagenette-160", include_str!("../../../datasets/imagenette-160.toml")),
    ("imagenette-320", include_str!("../../../datasets/imagenette-320.toml")),
    ("imagewoof", include_str!("../../../datasets/imagewoof.toml")),
    ("imagewoof-160", include_str!("../../../datasets/imagewoof-160.toml")),
    ("imagewoof-320", include_str!("../../../datasets/imagewoof-320.toml")),
    ("kmnist", include_str!("../../../datasets/kmnist.toml")),
    ("mnist", include_str!("../../../datasets/mnist.toml")),
    ("pets", include_str!("../../../datasets/pets.toml")),
    ("stl10", include_str!("../../../datasets/stl10.toml")),
    ("svhn", include_str!("../../../datasets/svhn.toml")),
];

/// What a manifest says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub title: String,
    pub licence: String,
    pub origin: String,
    pub citation: String,
    pub layout: Layout,
    /// Pictures of each split, as published.
    pub splits: BTreeMap<String, u64>,
    /// The share of `train` that becomes `validation` where nobody has published a split.
    #[serde(default)]
    pub val: f64,
    /// Where the set has a first part that ships with the program.
    pub mini: Option<u64>,
    /// Names of classes, where the files have numbers or codes.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// What the paper has for it.
    pub paper: Option<PaperTransfer>,
    /// None where the set must be there already.
    #[serde(default)]
    pub files: Vec<SourceFile>,
}

/// What the paper says of a ResNet-50 of ImageNet on a set (Table 3, linear evaluation).
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperTransfer {
    pub measure: Measure,
    /// Of BYOL, in percent.
    pub byol: f64,
    /// Of an encoder trained with ImageNet's labels, in percent.
    pub supervised: f64,
    /// Pictures that teach or choose.
    pub train: u64,
    pub test: u64,
}

/// By what a set is scored, by its convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Top1,
    MeanPerClass,
}

/// How a set's files become pictures with splits and classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    Idx,
    Cifar,
    Stl10,
    Svhn,
    /// One archive of folders that are splits and classes.
    Folders,
    Caltech101,
    Dtd,
    Flowers102,
    Food101,
    Pets,
    /// A folder that is there.
    Local,
}

impl Layout {
    /// Files that a set of it comes in, at least.
    fn files(self) -> usize {
        match self {
            Self::Local => 0,
            Self::Flowers102 => 3,
            Self::Pets => 2,
            _ => 1,
        }
    }
}

/// One of the original files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    pub name: String,
    /// Where it lies, the best place first.
    pub urls: Vec<String>,
    /// Its length, as far as it is known; a hint.
    pub bytes: Option<u64>,
    /// As published, in hexadecimal.
    pub md5: Option<String>,
    pub sha256: Option<String>,
    /// Whether whoever published the sum is the set's own publisher, or torchvision.
    #[serde(default = "yes")]
    pub confirmed: bool,
    /// Of what an IDX file holds after its header, decompressed: another compression of the
    /// same data is the same data.
    pub content_sha256: Option<String>,
}

fn yes() -> bool {
    true
}

/// All manifests.
pub fn all() -> Result<Vec<Manifest>> {
    MANIFESTS.iter().map(|(name, text)| parse(name, text)).collect()
}

/// The manifest of that name, or in the file of that name if it ends in `.toml`.
pub fn find(name: &str) -> Result<Manifest> {
    if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name).with_context(|| format!("reading the manifest {name}"))?;
        let manifest: Manifest = toml::from_str(&text).with_context(|| format!("the manifest {name}"))?;
        let is_word = |word: &str| {
            !word.is_empty() && !word.starts_with('.') && !word.contains(['/', '\\']) && word != ".."
        };
        // They become names of files and folders.
        if let Some(wrong) = std::iter::once(&manifest.name)
            .chain(manifest.files.iter().map(|file| &file.name))
            .find(|name| !is_word(name))
        {
            bail!("{name}: `{wrong}` cannot be the name of a file");
        }
        let needed = manifest.layout.files();
        if manifest.files.len() < needed {
            bail!("{name}: {} file(s), and a set of this layout comes in {needed}", manifest.files.len());
        }
        return Ok(manifest);
    }
    if let Some((name, text)) = MANIFESTS.iter().find(|(n, _)| *n == name) {
        return parse(name, text);
    }
    let names: Vec<&str> = MANIFESTS.iter().map(|(name, _)| *name).collect();
    let near = names.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let near = near.filter(|near| strsim::jaro(near, name) > 0.7);
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}"));
    let message =
        format!("no data set is called `{name}`{hint}. There are: {}, and hf:OWNER/NAME", names.join(", "));
    Err(Usage(message).into())
}

fn parse(name: &str, text: &str) -> Result<Manifest> {
    toml::from_str(text).with_context(|| format!("the built-in manifest of {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_is_whole() {
        for manifest in all().unwrap() {
            let name = &manifest.name;
            assert!(MANIFESTS.iter().any(|(n, _)| n == name), "{name}");
            assert_eq!(manifest.files.is_empty(), manifest.layout == Layout::Local, "{name}");
            assert!(!manifest.splits.is_empty() && !manifest.citation.is_empty(), "{name}");
            for file in &manifest.files {
                assert!(!file.urls.is_empty(), "{name}/{}", file.name);
                assert!(file.urls.iter().all(|url| url.starts_with("http")), "{name}/{}", file.name);
                let sums = [(&file.md5, 32), (&file.sha256, 64), (&file.content_sha256, 64)];
                for (sum, length) in sums {
                    let hex =
                        |sum: &String| sum.len() == length && sum.bytes().all(|b| b.is_ascii_hexdigit());
                    assert!(sum.as_ref().is_none_or(hex), "{name}/{}", file.name);
                }
            }
        }
    }

    #[test]
    fn the_folder_holds_no_other_manifest() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                let stem = path.file_stem().unwrap().to_str().unwrap();
                assert!(MANIFESTS.iter().any(|(name, _)| *name == stem), "{stem}");
            }
        }
    }
}
