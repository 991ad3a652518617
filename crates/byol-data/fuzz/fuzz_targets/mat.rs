//! MATLAB's files.
#![no_main]

use byol_data::ingest::mat;
use byol_data_fuzz::{file, hook};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| {
        if let Some(Ok(arrays)) = file("x.mat", bytes).map(|path| mat::read(&path)) {
            for array in arrays {
                let _ = (0..array.len()).filter_map(|i| array.get(i)).count();
            }
        }
    }
);
