//! MATLAB's files.
#![no_main]

use byol_data::ingest::mat;
use libfuzzer_sys::fuzz_target;

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
        let path = std::env::temp_dir().join(format!("byol-fuzz-mat-{}", std::process::id()));
        if std::fs::write(&path, bytes).is_ok()
            && let Ok(arrays) = mat::read(&path)
        {
            for array in arrays {
                let _ = (0..array.len()).filter_map(|i| array.get(i)).count();
            }
        }
    }
);
