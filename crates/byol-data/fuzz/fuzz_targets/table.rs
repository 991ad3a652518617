//! A source of this kind, looked at from first to last.
#![no_main]

use byol_data::Limits;
use byol_data::ingest::{Format, IngestOptions, check};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { max_side: 4096, max_pixels: 1 << 20, max_bytes: 8 << 20, max_file: 1 << 20 };

fuzz_target!(
    init: {
        // Panics that the crate turns into errors are none.
        std::panic::set_hook(Box::new(|panic| {
            if !byol_data::is_guarded() {
                eprintln!("{panic}");
                std::process::abort();
            }
        }));
    },
    |bytes: &[u8]| {
        let folder = std::env::temp_dir().join(format!("byol-fuzz-table-{}", std::process::id()));
        let _ = std::fs::create_dir_all(&folder);
        let options = IngestOptions { format: Some(Format::Table), limits: LIMITS, ..IngestOptions::STANDARD };
        for name in ["x.csv", "x.tsv"] {
            let path = folder.join(name);
            if std::fs::write(&path, bytes).is_ok() {
                let _ = check(&path, &options);
            }
        }
    }
);
