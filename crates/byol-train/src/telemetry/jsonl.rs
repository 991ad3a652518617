use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use byol_model::Encoder;
use serde_json::Value;

use super::records::Records;
use crate::{Observer, Seen, TrainError};

/// What file systems show to readers in one piece.
const PAGE: u64 = 4096;
/// Room for a line, which none needs in full.
const ROOM: u64 = 1280;

/// Writes one JSON object a line, each line in one piece: none lies across a page of the
/// file (spaces before the end of a line fill what is left of one), since readers may see a
/// write page by page.
///
/// A disk that fails does not end the run: lines are lost, the file keeps whole lines, and
/// [`problem`](Self::problem) says so afterwards.
#[derive(Debug)]
pub struct JsonLines {
    lines: Records,
    /// Step of the last line that was there.
    last: u64,
}

impl JsonLines {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(|e| failed("creating", path, &e))?;
        Ok(Self { lines: Records::new(file, path.into(), 0), last: 0 })
    }

    /// Goes on with the file after the line of `step`; what is behind it is cut off.
    ///
    /// # Errors
    ///
    /// If it cannot be read or cut.
    pub fn resume(path: &Path, step: u64) -> Result<Self, TrainError> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(|e| failed("opening", path, &e))?;
        let mut reader = BufReader::new(&file);
        let (mut end, mut last, mut line) = (0u64, 0u64, Vec::new());
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line).map_err(|e| failed("reading", path, &e))?;
            let of = serde_json::from_slice::<Value>(&line).ok().and_then(|line| line["step"].as_u64());
            if n == 0 || line.last() != Some(&b'\n') || of.is_none_or(|of| of > step) {
                break;
            }
            end += n as u64;
            last = of.unwrap_or(last);
        }
        let cut = file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end)));
        cut.map_err(|e| failed("cutting", path, &e))?;
        Ok(Self { lines: Records::new(file, path.into(), end), last })
    }

    /// The step of the last line that a run that goes on found.
    pub fn last_step(&self) -> u64 {
        self.last
    }

    /// The first thing that went wrong, and how many lines were lost.
    pub fn problem(&self) -> Option<(&TrainError, u64)> {
        self.lines.problem()
    }
}

fn failed(action: &'static str, path: &Path, error: &dyn std::fmt::Display) -> TrainError {
    TrainError::File { action, path: path.into(), why: error.to_string() }
}

impl<E: Encoder> Observer<E> for JsonLines {
    fn step(&mut self, seen: &mut Seen<'_, E>) -> Result<ControlFlow<()>, TrainError> {
        let Some(news) = seen.report.news() else { return Ok(ControlFlow::Continue(())) };
        let mut line = serde_json::to_vec(&news).unwrap_or_default();
        let left = PAGE - (self.lines.end() + line.len() as u64 + 1) % PAGE;
        if left < ROOM {
            line.resize(line.len() + left as usize, b' ');
        }
        line.push(b'\n');
        self.lines.write(&line);
        Ok(ControlFlow::Continue(()))
    }
}
