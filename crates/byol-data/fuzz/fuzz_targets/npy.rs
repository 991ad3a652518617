//! NumPy arrays.
#![no_main]

use byol_data::{Limits, Rules, decode_native};
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
        let bytes = [b"\x93NUMPY", bytes].concat();
        if let Ok(picture) = decode_native(&bytes, Rules::STANDARD, Limits::STANDARD) {
            assert_eq!(picture.data.len(), picture.width * picture.height * picture.channels);
        }
    }
);
