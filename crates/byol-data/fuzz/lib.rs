//! What the targets share.

use std::path::PathBuf;

use byol_data::Limits;
use byol_data::ingest::{Format, IngestOptions, check};

/// Limits that keep a run of the fuzzer small.
pub const LIMITS: Limits =
    Limits { max_side: 4096, max_pixels: 1 << 20, max_bytes: 8 << 20, max_file: 1 << 20 };

/// Lets the fuzzer see panics, but for those that the crate turns into errors.
pub fn hook() {
    std::panic::set_hook(Box::new(|panic| {
        if !byol_data::is_guarded() {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

/// The bytes as a file of this name; none if it cannot be written.
pub fn file(name: &str, bytes: &[u8]) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("byol-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let path = folder.join(name);
    std::fs::write(&path, bytes).ok()?;
    Some(path)
}

/// Looks at the bytes from first to last as sources of these names.
pub fn looked_at(format: Format, names: &[&str], bytes: &[u8]) {
    let options = IngestOptions { format: Some(format), limits: LIMITS, ..IngestOptions::STANDARD };
    for path in names.iter().filter_map(|name| file(name, bytes)) {
        let _ = check(&path, &options);
    }
}
