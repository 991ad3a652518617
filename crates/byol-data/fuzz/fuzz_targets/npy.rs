//! NumPy arrays.
#![no_main]

use byol_data::{Limits, Rules, decode_native};
use byol_data_fuzz::hook;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| {
        let bytes = [b"\x93NUMPY", bytes].concat();
        if let Ok(picture) = decode_native(&bytes, Rules::STANDARD, Limits::STANDARD) {
            assert_eq!(picture.data.len(), picture.width * picture.height * picture.channels);
        }
    }
);
