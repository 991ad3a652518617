use std::fs::{self, File};
use std::io::{Error, Write};
use std::path::Path;

use crate::DataError;

/// Writes a file so that it is either there whole or not at all: to a temporary
/// name beside it, flushed to disk, then renamed.
///
/// A symbolic link keeps pointing where it did: the file behind it is replaced. What
/// is there and is no regular file (a device, a pipe, a folder) is left alone.
///
/// # Errors
///
/// If the folder cannot be written, or something else is there under that name;
/// nothing is left behind.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let failed = |source| DataError::Io { action: "writing", path: path.to_path_buf(), source };
    let target = match fs::canonicalize(path) {
        Ok(there) if there.is_file() => there,
        Ok(_) => return Err(failed(Error::other("it is there already and is no regular file"))),
        Err(_) => path.to_path_buf(), // new, or the folder is missing: writing will say
    };
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = target.with_file_name(name);
    let written = File::create(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, &target));
    written.map_err(|source| {
        let _ = fs::remove_file(&partial); // may not exist
        failed(source)
    })
}
