use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::DataError;

/// Writes a file so that it is either there whole or not at all: to a temporary
/// name beside it, flushed to disk, then renamed.
///
/// # Errors
///
/// If the folder cannot be written; nothing is left behind.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    let written = File::create(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&partial); // may not exist
        DataError::Io { action: "writing", path: path.to_path_buf(), source }
    })
}
