use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Observer, StepReport, TrainError};

/// Writes one JSON object a line, each line in one piece.
#[derive(Debug)]
pub struct JsonLines {
    file: File,
    path: PathBuf,
}

impl JsonLines {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(|e| failed("creating", path, &e))?;
        Ok(Self { file, path: path.into() })
    }
}

fn failed(action: &'static str, path: &Path, error: &dyn std::fmt::Display) -> TrainError {
    TrainError::File { action, path: path.into(), why: error.to_string() }
}

impl Observer for JsonLines {
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(report).map_err(|e| failed("writing", &self.path, &e))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|e| failed("writing", &self.path, &e))
    }
}
