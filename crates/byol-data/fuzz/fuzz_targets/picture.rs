//! JPEG, PNG, WebP, GIF, BMP, TIFF, PNM: whatever decodes has the pixels that it says.
#![no_main]

use byol_data::{Rules, decode_native, probe};
use byol_data_fuzz::{LIMITS, hook};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| {
        let _ = probe(bytes, LIMITS);
        if let Ok(picture) = decode_native(bytes, Rules::STANDARD, LIMITS) {
            assert_eq!(picture.data.len(), picture.width * picture.height * picture.channels);
        }
    }
);
