//! The files of MNIST.
#![no_main]

use byol_data::ingest::idx;
use byol_data_fuzz::{file, hook};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| {
        for path in ["x", "x.gz"].into_iter().filter_map(|name| file(name, bytes)) {
            let _ = (idx::read_images(&path), idx::read_labels(&path));
        }
    }
);
