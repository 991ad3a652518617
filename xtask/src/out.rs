//! What `--out` may not be.

use std::path::Path;

use crate::compose::Source;
use crate::exit::Usage;

/// What a run is made of, besides what lies in its `checkpoints` and `scores`.
const OF_A_RUN: [&str; 3] = ["run.toml", "metrics.jsonl", "encoder.safetensors"];

/// Refuses to write over a file of a run, or of the pictures that are read.
///
/// # Errors
///
/// Says which of the two it is.
pub fn check_out<'a>(out: &Path, pictures: impl IntoIterator<Item = &'a Source>) -> Result<(), Usage> {
    let Ok(there) = out.canonicalize() else { return Ok(()) }; // it is new
    let refuse = |what: &str| Err(Usage(format!("--out {}: that is a file of {what}", out.display())));
    let folder = |above: usize| there.ancestors().nth(above);
    let is_run = |folder: &Path| folder.join("run.toml").is_file();
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let own = name(&there).is_some_and(|name| OF_A_RUN.contains(&name.as_str()));
    let kept =
        folder(1).and_then(name).is_some_and(|name| ["checkpoints", "scores"].contains(&name.as_str()));
    if own && folder(1).is_some_and(is_run) || kept && folder(2).is_some_and(is_run) {
        return refuse("a run");
    }
    for source in pictures {
        if let Source::Folder(set) = source
            && set.canonicalize().is_ok_and(|set| there.starts_with(set))
        {
            return refuse("the pictures that are read");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_runs_and_of_pictures_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            path
        };
        let set = Source::Folder(folder.path().join("set"));
        for name in [
            "run/run.toml",
            "run/metrics.jsonl",
            "run/scores/knn.json",
            "set/data/train-00000-of-00001.parquet",
        ] {
            assert!(check_out(&file(name), [&set]).is_err(), "{name}");
        }
        for name in ["run/report.html", "other/metrics.jsonl", "other/scores/knn.json"] {
            assert!(check_out(&file(name), [&set]).is_ok(), "{name}");
        }
        assert!(check_out(&folder.path().join("set/new.parquet"), [&set]).is_ok());
    }
}
