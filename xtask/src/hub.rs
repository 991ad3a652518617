//! Weights from the Hugging Face Hub: `hf:OWNER/NAME`, or a server that speaks as it does
//! (`HF_ENDPOINT`), with the token in `HF_TOKEN`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use byol_model::{Normalization, Preprocessing};
use serde_json::Value;

use crate::exit::Usage;
use crate::http::{Client, NotThere};

/// How such weights are named.
pub const SCHEME: &str = "hf:";

const ENDPOINT: &str = "https://huggingface.co";
/// Bytes of a description of a repository.
const MAX_LIST: u64 = 16 << 20;
/// Where timm says what its weights are.
const CONFIG: &str = "config.json";
/// Files that hold an encoder, the best first.
const NAMES: [&str; 3] = ["encoder.safetensors", "model.safetensors", "pytorch_model.bin"];

/// Weights on this machine.
pub struct Local {
    pub path: PathBuf,
    /// For people and for run.toml: of the Hub's with the commit.
    pub name: String,
    /// What a file beside them says of how pictures are prepared.
    pub preprocessing: Option<Preprocessing>,
}

/// Fetches the weights of `OWNER/NAME` or `OWNER/NAME@REVISION` unless they are here,
/// and says where they are.
pub fn weights(name: &str) -> Result<Local> {
    let (repository, revision) = repository(name)?;
    let (endpoint, client) = connected()?;
    let home = cache("weights")?.join(repository.replace('/', "--"));

    let about = format!("{endpoint}/api/models/{repository}/revision/{revision}");
    let text = match client.text(&about, MAX_LIST) {
        Ok(text) => text,
        Err(error) => match kept(&home, revision) {
            Some((commit, path)) => {
                crate::terminal::tell(&format!("note: {error:#}; using the copy that is here"));
                return local(repository, &commit, path);
            }
            None => return Err(error),
        },
    };
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
    let at = commit.unwrap_or(revision);
    let folder = home.join(at);
    let path = folder.join(file);
    if commit.is_none() || !path.is_file() {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        if files.contains(&CONFIG) {
            client
                .download(&format!("{endpoint}/{repository}/resolve/{at}/{CONFIG}"), &folder.join(CONFIG))?;
        }
        client.download(&format!("{endpoint}/{repository}/resolve/{at}/{file}"), &path)?;
        crate::terminal::tell(&format!("{SCHEME}{name}: {file} is now at {}", path.display()));
    }
    // For the day when the server cannot be reached.
    let _ = fs::write(home.join(format!("{REVISION}{revision}")), format!("{at}\n{file}"));
    local(repository, at, path)
}

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('.')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Repository and revision of `OWNER/NAME` or `OWNER/NAME@REVISION`.
fn repository(name: &str) -> Result<(&str, &str)> {
    let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
    let parts: Vec<&str> = repository.split('/').collect();
    if parts.len() != 2 || !parts.iter().all(|part| is_word(part)) || !is_word(revision) {
        return Err(Usage(format!("{SCHEME}{name}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION")).into());
    }
    Ok((repository, revision))
}

/// The Hub's address, or that of a server that speaks as it does, and a client with the token.
fn connected() -> Result<(String, Client)> {
    let set = |key: &str| env::var(key).ok().filter(|value| !value.is_empty());
    let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    let token = set("HF_TOKEN").map(|token| token.trim().to_owned());
    if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Usage("HF_TOKEN: not a token (it has spaces or other characters inside)".into()).into());
    }
    let client = Client::new(&endpoint, token);
    Ok((endpoint, client))
}

/// Fetches the Parquet files of the data set `OWNER/NAME` (or `OWNER/NAME@REVISION`) to
/// `folder`, named by their splits. What is there already of the same set stays, of another
/// is removed.
///
/// The Hub keeps a Parquet version of most sets and lists it under `/parquet`; for a
/// revision, or where it has none, the repository's own Parquet files are taken.
pub fn dataset(name: &str, config: Option<&str>, folder: &Path) -> Result<()> {
    let (repository, revision) = repository(name)?;
    let (endpoint, client) = connected()?;
    let converted = match revision {
        "main" => match client.text(&format!("{endpoint}/api/datasets/{repository}/parquet"), MAX_LIST) {
            Err(error) if error.is::<NotThere>() => None,
            other => Some(other?),
        },
        _ => None,
    };
    let files = match converted {
        Some(text) => converted_files(name, &text, config)?,
        None => own_files(&client, &endpoint, repository, revision, config)?,
    };
    if files.is_empty() {
        bail!("{SCHEME}{name}: it has no Parquet files");
    }
    begun(folder, &format!("{files:?}"))?;
    for (split, urls) in files {
        let total = urls.len();
        for (i, url) in urls.iter().enumerate() {
            let to = folder.join(format!("{split}-{i:05}-of-{total:05}.parquet"));
            if !to.exists() {
                // Where the Hub names itself, and another server stands in its place.
                let url = url.replacen(ENDPOINT, &endpoint, 1);
                client.download(&url, &to)?;
                if !is_parquet(&to)? {
                    fs::remove_file(&to).with_context(|| format!("removing {}", to.display()))?;
                    bail!("{url}: what the server sent is no Parquet file; it was not kept");
                }
            }
        }
    }
    Ok(())
}

/// Whether it begins and ends as one.
fn is_parquet(path: &Path) -> Result<bool> {
    let reading = || format!("reading {}", path.display());
    let mut file = fs::File::open(path).with_context(reading)?;
    if file.metadata().with_context(reading)?.len() < 12 {
        return Ok(false);
    }
    let mut ends = [[0; 4]; 2];
    file.read_exact(&mut ends[0]).with_context(reading)?;
    file.seek(SeekFrom::End(-4)).with_context(reading)?;
    file.read_exact(&mut ends[1]).with_context(reading)?;
    Ok(ends == [*b"PAR1"; 2])
}

/// Says of which files those in a folder are a part.
const MARKER: &str = ".files";

/// Removes the folder if nothing was fetched to it.
pub fn forget_if_empty(folder: &Path) {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    if entries.all(|entry| entry.file_name() == MARKER) {
        let _ = fs::remove_dir_all(folder); // it may not be there
    }
}

/// Makes the folder, empty unless what lies there is a part of the same files.
fn begun(folder: &Path, what: &str) -> Result<()> {
    let marker = folder.join(MARKER);
    if fs::read_to_string(&marker).is_ok_and(|of| of == what) {
        return Ok(());
    }
    let making = || format!("making {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(making)?;
    fs::write(&marker, what).with_context(making)
}

/// Addresses by split.
type Files = BTreeMap<String, Vec<String>>;

/// `{CONFIG: {SPLIT: [URL, …]}}`.
fn converted_files(name: &str, text: &str, config: Option<&str>) -> Result<Files> {
    let configs: BTreeMap<String, Files> = serde_json::from_str(text)
        .with_context(|| format!("{SCHEME}{name}: the list of its Parquet files"))?;
    let names = || configs.keys().cloned().collect::<Vec<_>>().join(", ");
    let chosen = match config {
        Some(config) => configs.get(config),
        None if configs.len() == 1 => configs.values().next(),
        None => configs.get("default"),
    };
    let Some(files) = chosen else {
        let message = format!("{SCHEME}{name}: name one of its configurations with --config: {}", names());
        return Err(Usage(message).into());
    };
    if let Some(split) = files.keys().find(|split| !is_word(split)) {
        bail!("{SCHEME}{name}: a split called {split:?}");
    }
    Ok(files.clone())
}

/// The repository's own Parquet files, their splits by their names or folders.
fn own_files(
    client: &Client,
    endpoint: &str,
    repository: &str,
    revision: &str,
    config: Option<&str>,
) -> Result<Files> {
    let about = format!("{endpoint}/api/datasets/{repository}/revision/{revision}");
    let about: Value =
        serde_json::from_str(&client.text(&about, MAX_LIST)?).with_context(|| format!("{about}: no JSON"))?;
    let at = about["sha"].as_str().filter(|sha| is_word(sha)).unwrap_or(revision);
    let mut files = Files::new();
    let mut configs = BTreeSet::new();
    for path in about["siblings"].as_array().into_iter().flatten().filter_map(|f| f["rfilename"].as_str()) {
        let parts: Vec<&str> = path.split('/').collect();
        let (Some(file), true) = (parts.last(), parts.iter().all(|part| is_word(part))) else { continue };
        let Some(stem) = file.strip_suffix(".parquet") else { continue };
        if config.is_some_and(|config| !parts.contains(&config)) {
            continue;
        }
        let folders = &parts[..parts.len() - 1];
        let split = byol_data::split_of_file(stem, folders);
        let is_split = |folder: &str| {
            folder == "data"
                || folder.starts_with("train")
                || byol_data::split_of_file("", &[folder]) != "train"
        };
        configs.extend(folders.first().filter(|folder| !is_split(folder)).map(|folder| (*folder).to_owned()));
        files.entry(split).or_default().push(format!("{endpoint}/datasets/{repository}/resolve/{at}/{path}"));
    }
    if config.is_none() && configs.len() > 1 {
        let names = configs.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{SCHEME}{repository}: name one of its folders with --config: {names}");
        return Err(Usage(message).into());
    }
    files.values_mut().for_each(|urls| urls.sort());
    Ok(files)
}

/// Beside the folders of commits: which commit and file a revision was, when last asked.
const REVISION: &str = ".revision-";

/// What a revision was when the server could be reached.
fn kept(home: &Path, revision: &str) -> Option<(String, PathBuf)> {
    let text = fs::read_to_string(home.join(format!("{REVISION}{revision}"))).ok()?;
    let (commit, file) = text.split_once('\n')?;
    let path = home.join(commit).join(file);
    path.is_file().then(|| (commit.to_owned(), path))
}

fn local(repository: &str, commit: &str, path: PathBuf) -> Result<Local> {
    let name = format!("{SCHEME}{repository}@{commit}");
    let preprocessing = match fs::read_to_string(path.with_file_name(CONFIG)) {
        Ok(text) => timm(&text).with_context(|| format!("{name}: {CONFIG}"))?,
        Err(_) => None,
    };
    Ok(Local { path, name, preprocessing })
}

/// What a config.json of timm's says of preprocessing. One that names another
/// architecture than a plain ResNet is an error: its weights may have the same shapes.
fn timm(text: &str) -> Result<Option<Preprocessing>> {
    let Ok(config) = serde_json::from_str::<Value>(text) else { return Ok(None) };
    let Some(architecture) = config["architecture"].as_str() else { return Ok(None) };
    let depth = architecture.strip_prefix("tv_").unwrap_or(architecture).strip_prefix("resnet");
    if !depth.is_some_and(|depth| depth.bytes().all(|byte| byte.is_ascii_digit())) {
        bail!("it holds a {architecture}, which is no plain ResNet");
    }
    let about = &config["pretrained_cfg"];
    let numbers =
        |value: &Value| -> Option<Vec<f64>> { value.as_array()?.iter().map(Value::as_f64).collect() };
    let size = about["input_size"].as_array().and_then(|size| size.last()?.as_u64());
    let (Some(size), Some(mean), Some(std)) = (size, numbers(&about["mean"]), numbers(&about["std"])) else {
        return Ok(None);
    };
    let mut preprocessing = Preprocessing::imagenet();
    preprocessing.size = usize::try_from(size)?;
    preprocessing.normalize = Normalization { mean, std };
    preprocessing.crop = about["crop_pct"].as_f64().unwrap_or(preprocessing.crop);
    if let Some(filter @ ("bicubic" | "bilinear")) = about["interpolation"].as_str() {
        preprocessing.resample.filter = filter.into();
    }
    Ok(Some(preprocessing))
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

/// Where what can be fetched or computed again stays.
pub fn cache(of: &str) -> Result<PathBuf> {
    let folder = |key: &str| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: nowhere to keep a cache")?;
    Ok(cache.join("byol").join(of))
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

    #[test]
    fn timms_configurations_are_read() {
        let config = r#"{"architecture": "resnet50", "pretrained_cfg": {"input_size": [3, 160, 160],
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.95, "interpolation": "bicubic"}}"#;
        let preprocessing = timm(config).unwrap().unwrap();
        assert_eq!((preprocessing.size, preprocessing.crop), (160, 0.95));
        assert_eq!(preprocessing.resample.filter, "bicubic");
        assert_eq!(preprocessing.normalize.mean, [0.5; 3]);
        let error = timm(&config.replace("resnet50", "resnetblur50")).unwrap_err().to_string();
        assert!(error.contains("resnetblur50"), "{error}");
        assert_eq!(timm("{}").unwrap(), None);
        assert_eq!(timm("no JSON").unwrap(), None);
    }
}
