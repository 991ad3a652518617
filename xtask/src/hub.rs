//! Weights from the Hugging Face Hub: `hf:OWNER/NAME`, or a server that speaks as it does
//! (`HF_ENDPOINT`), with the token in `HF_TOKEN`.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::exit::Usage;
use crate::http::Client;

/// How such weights are named.
pub const SCHEME: &str = "hf:";

const ENDPOINT: &str = "https://huggingface.co";
/// Bytes of a description of a repository.
const MAX_LIST: u64 = 16 << 20;
/// Files that hold an encoder, the best first.
const NAMES: [&str; 3] = ["encoder.safetensors", "model.safetensors", "pytorch_model.bin"];

/// Fetches the weights of `OWNER/NAME` or `OWNER/NAME@REVISION` unless they are here,
/// and says where they are.
pub fn weights(name: &str) -> Result<PathBuf> {
    let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('.')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let parts: Vec<&str> = repository.split('/').collect();
    if parts.len() != 2 || !parts.iter().all(|part| is_word(part)) || !is_word(revision) {
        return Err(Usage(format!("{SCHEME}{name}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION")).into());
    }
    let set = |key: &str| env::var(key).ok().filter(|value| !value.is_empty());
    let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
    let endpoint = endpoint.trim_end_matches('/');
    let client = Client::new(endpoint, set("HF_TOKEN"));

    let about = format!("{endpoint}/api/models/{repository}/revision/{revision}");
    let text = client.text(&about, MAX_LIST)?;
    let about: Value = serde_json::from_str(&text).with_context(|| format!("{about}: no JSON"))?;
    let files: Vec<&str> =
        about["siblings"].as_array().into_iter().flatten().filter_map(|f| f["rfilename"].as_str()).collect();
    let Some(file) = chosen(&files) else {
        bail!(
            "{SCHEME}{name}: none of its files is an encoder ({}, or one .safetensors or .pth file); it has {}",
            NAMES.join(", "),
            if files.is_empty() { "none".into() } else { files.join(", ") }
        );
    };
    // The commit, where the server says: its files never change.
    let commit = about["sha"].as_str().filter(|sha| is_word(sha));
    let folder = cache()?.join(repository.replace('/', "--")).join(commit.unwrap_or(revision));
    let path = folder.join(file);
    if commit.is_some() && path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    client
        .download(&format!("{endpoint}/{repository}/resolve/{}/{file}", commit.unwrap_or(revision)), &path)?;
    crate::terminal::tell(&format!("{SCHEME}{name}: {file} is now at {}", path.display()));
    Ok(path)
}

/// The file of a repository that holds the encoder.
fn chosen<'a>(files: &[&'a str]) -> Option<&'a str> {
    let named = NAMES.into_iter().find_map(|name| files.iter().find(|file| **file == name));
    let weights: Vec<&&str> = files
        .iter()
        .filter(|file| !file.contains('/') && !file.starts_with('.'))
        .filter(|file| [".safetensors", ".pth", ".pt", ".ckpt"].iter().any(|end| file.ends_with(end)))
        .collect();
    let only = match weights.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    named.or(only).copied()
}

/// Where fetched files stay.
fn cache() -> Result<PathBuf> {
    let folder = |key: &str| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: nowhere to keep fetched weights")?;
    Ok(cache.join("byol").join("weights"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_file_is_chosen() {
        assert_eq!(
            chosen(&["README.md", "pytorch_model.bin", "model.safetensors"]),
            Some("model.safetensors")
        );
        assert_eq!(chosen(&["README.md", "byol.pth"]), Some("byol.pth"));
        assert_eq!(chosen(&["a.pth", "b.pth"]), None);
        assert_eq!(chosen(&["../evil.pth"]), None);
    }
}
