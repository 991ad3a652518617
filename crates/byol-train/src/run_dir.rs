use std::fs::{self, File};
use std::path::{Path, PathBuf};

use byol_data::write_atomic;

use crate::{RunPlan, TrainError};

/// The folder of a run: `run.toml`, `metrics.jsonl`, `checkpoints`, `encoder.safetensors`.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes a new folder and writes `run.toml`. An existing folder must be empty.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or written, or has something in it.
    pub fn create(path: &Path, plan: &RunPlan) -> Result<Self, TrainError> {
        let failed = |action, why: String| TrainError::File { action, path: path.into(), why };
        fs::create_dir_all(path).map_err(|e| failed("making the run folder", e.to_string()))?;
        let mut entries = fs::read_dir(path).map_err(|e| failed("opening", e.to_string()))?;
        if entries.next().is_some() {
            let unfinished = path.join("run.toml").is_file() && !path.join("encoder.safetensors").exists();
            let why = if unfinished {
                format!(
                    "it holds a run that was not finished: go on with it by --resume {}, or name another \
                     folder with --out",
                    path.display()
                )
            } else {
                "it is not empty; name another folder with --out".into()
            };
            return Err(failed("starting a run in", why));
        }
        let text = toml::to_string(plan).map_err(|e| failed("describing the run in", e.to_string()))?;
        let run = Self { path: path.into() };
        write_atomic(&run.plan_path(), text.as_bytes())?;
        Ok(run)
    }

    /// A run that is there.
    ///
    /// # Errors
    ///
    /// If the folder has no `run.toml`.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let run = Self { path: path.into() };
        if run.plan_path().is_file() {
            return Ok(run);
        }
        let why = "there is no run.toml in it".into();
        Err(TrainError::File { action: "opening the run", path: path.into(), why })
    }

    /// The run under `root` that was started last among those that are finished.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn latest(root: &Path) -> Result<Self, TrainError> {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let finished = entries.map(|entry| Self { path: entry.path() }).filter_map(|run| {
            let written = fs::metadata(run.encoder_path()).and_then(|m| m.modified()).ok()?;
            run.plan_path().is_file().then_some((written, run))
        });
        finished
            .max_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.path.cmp(&b.1.path)))
            .map(|(_, run)| run)
            .ok_or_else(|| TrainError::File {
                action: "looking for a finished run in",
                path: root.into(),
                why: "there is none; train one with `pretrain`, or name one with --run".into(),
            })
    }

    /// The plan that was written.
    ///
    /// # Errors
    ///
    /// If it cannot be read or was edited into something else.
    pub fn plan(&self) -> Result<RunPlan, TrainError> {
        let path = self.plan_path();
        let failed = |why: String| TrainError::File { action: "reading", path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(|e| failed(e.to_string()))?;
        toml::from_str(&text).map_err(|e| failed(e.to_string()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `run.toml` anew: of a run by the clock, whose length was found on the way.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn record(&self, plan: &RunPlan) -> Result<(), TrainError> {
        let failed = |why: String| TrainError::File { action: "writing", path: self.plan_path(), why };
        let text = toml::to_string(plan).map_err(|e| failed(e.to_string()))?;
        Ok(write_atomic(&self.plan_path(), text.as_bytes())?)
    }

    /// Keeps other processes from training in the folder, for as long as it lives.
    ///
    /// # Errors
    ///
    /// If another one does, or the folder cannot be written.
    pub fn lock(&self) -> Result<RunLock, TrainError> {
        let path = self.path.join(".lock");
        let failed = |why: String| TrainError::File { action: "locking", path: path.clone(), why };
        let file = File::create(&path).map_err(|e| failed(e.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(failed("another process is training in this folder".into()))
            }
            // A file system without locks has no second process stopped.
            Err(fs::TryLockError::Error(_)) => Ok(RunLock { _file: file }),
        }
    }

    /// `run.toml`.
    pub fn plan_path(&self) -> PathBuf {
        self.path.join("run.toml")
    }

    /// `metrics.jsonl`.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `checkpoints/step-….safetensors` of a step.
    pub fn checkpoint_path(&self, step: u64) -> PathBuf {
        self.path.join("checkpoints").join(format!("step-{step:09}.safetensors"))
    }

    /// Steps and files of the checkpoints, the first first; none where there is no folder.
    pub fn checkpoints(&self) -> Vec<(u64, PathBuf)> {
        let entries = fs::read_dir(self.path.join("checkpoints")).into_iter().flatten().flatten();
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let step = name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()?;
                Some((step, entry.path()))
            })
            .collect();
        found.sort();
        found
    }

    /// Removes files that a killed run was still writing.
    pub fn tidy(&self) {
        for folder in [self.path.clone(), self.path.join("checkpoints")] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().ends_with(".partial") {
                    let _ = fs::remove_file(entry.path()); // it is in nobody's way
                }
            }
        }
    }

    /// `encoder.safetensors`, there once the run is finished.
    pub fn encoder_path(&self) -> PathBuf {
        self.path.join("encoder.safetensors")
    }
}

/// See [`RunDir::lock`].
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}
