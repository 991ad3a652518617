//! The files of MNIST.
#![no_main]

use byol_data::ingest::idx;
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
        let folder = std::env::temp_dir();
        for end in ["", ".gz"] {
            let path = folder.join(format!("byol-fuzz-idx-{}{end}", std::process::id()));
            if std::fs::write(&path, bytes).is_ok() {
                let _ = (idx::read_images(&path), idx::read_labels(&path));
            }
        }
    }
);
