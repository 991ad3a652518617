//! Members of archives that are no pictures.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::archive::{Kind, safe, walk};
use crate::DataError;

/// The members of an archive whose paths `wanted` says yes to, in memory.
///
/// # Errors
///
/// If the archive is damaged, or they have more than `limit` bytes together.
pub fn members(
    archive: &Path,
    limit: u64,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>, DataError> {
    let mut found = BTreeMap::new();
    let mut left = limit;
    let mut refused = None;
    let fault = |why: String| DataError::Source { path: archive.into(), why };
    walk(archive, &mut |member| {
        let Ok(path) = safe(&member.name) else { return true };
        if !matches!(member.kind, Kind::File) || !wanted(&path) {
            return true;
        }
        let mut bytes = Vec::new();
        match member.content.take(left + 1).read_to_end(&mut bytes) {
            Ok(n) if n as u64 <= left => left -= n as u64,
            Ok(_) => refused = Some(format!("{path} and others have more than {limit} bytes")),
            Err(error) => refused = Some(format!("{path}: {error}")),
        }
        found.insert(path, bytes);
        refused.is_none()
    })
    .map_err(fault)?;
    match refused {
        Some(why) => Err(fault(why)),
        None => Ok(found),
    }
}

/// Unpacks the members of an archive whose paths `wanted` says yes to below `to`. Nothing
/// is written outside of it, and no links are made.
///
/// # Errors
///
/// If the archive is damaged, or `to` cannot be written.
pub fn extract(archive: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut written = Vec::new();
    let mut failed = None;
    let walked = walk(archive, &mut |member| {
        let Ok(path) = safe(&member.name) else { return true };
        if !matches!(member.kind, Kind::File) || !wanted(&path) {
            return true;
        }
        let at = to.join(&path);
        let result = fs::create_dir_all(at.parent().unwrap_or(to))
            .and_then(|()| File::create(&at))
            .and_then(|mut file| std::io::copy(member.content, &mut file));
        match result {
            Ok(n) if n == member.size => written.push(at),
            Ok(n) => failed = Some(std::io::Error::other(format!("{n} bytes of {}", member.size))),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() {
            failed = failed.take().map(|error| std::io::Error::new(error.kind(), format!("{path}: {error}")));
        }
        failed.is_none()
    });
    walked.map_err(|why| DataError::Source { path: archive.into(), why })?;
    match failed {
        Some(source) => Err(DataError::Io { action: "unpacking", path: archive.into(), source }),
        None => Ok(written),
    }
}
