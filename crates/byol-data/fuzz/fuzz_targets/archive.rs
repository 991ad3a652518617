//! Archives of pictures, packed or not.
#![no_main]

use byol_data::ingest::Format;
use byol_data_fuzz::{hook, looked_at};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| looked_at(Format::Archive, &["x.tar", "x.tar.gz", "x.zip"], bytes)
);
