//! A file of whole records, on a disk that may fail.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::TrainError;

/// Writes records whole or not at all: what a failing disk took of one is cut off again, the
/// record is counted as lost, and the run goes on.
#[derive(Debug)]
pub(super) struct Records {
    file: File,
    path: PathBuf,
    /// Bytes of whole records.
    end: u64,
    lost: u64,
    problem: Option<TrainError>,
}

impl Records {
    /// Goes on at byte `end` of `file`, where it stands.
    pub(super) fn new(file: File, path: PathBuf, end: u64) -> Self {
        Self { file, path, end, lost: 0, problem: None }
    }

    /// Bytes of whole records.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The first thing that went wrong, and how many records were lost.
    pub(super) fn problem(&self) -> Option<(&TrainError, u64)> {
        self.problem.as_ref().map(|problem| (problem, self.lost))
    }

    /// Writes a record, in one call where the system takes it in one.
    pub(super) fn write(&mut self, record: &[u8]) {
        match self.try_write(record) {
            Ok(()) => self.end += record.len() as u64,
            Err(error) => {
                self.lost += 1;
                let (path, why) = (self.path.clone(), error.to_string());
                self.problem.get_or_insert(TrainError::File { action: "writing", path, why });
            }
        }
    }

    fn try_write(&mut self, record: &[u8]) -> std::io::Result<()> {
        let written = self.file.write_all(record);
        if written.is_err() {
            self.file.set_len(self.end)?;
            self.file.seek(SeekFrom::Start(self.end))?;
        }
        written
    }
}
