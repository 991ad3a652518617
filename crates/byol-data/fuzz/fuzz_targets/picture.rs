//! JPEG, PNG, WebP, GIF, BMP, TIFF, PNM: whatever decodes has the pixels that it says.
#![no_main]

use byol_data::{Limits, Rules, decode_native, probe};
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
        let _ = probe(bytes, LIMITS);
        if let Ok(picture) = decode_native(bytes, Rules::STANDARD, LIMITS) {
            assert_eq!(picture.data.len(), picture.width * picture.height * picture.channels);
        }
    }
);
