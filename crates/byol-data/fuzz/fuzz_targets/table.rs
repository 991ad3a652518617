//! Tables of paths.
#![no_main]

use byol_data::ingest::Format;
use byol_data_fuzz::{hook, looked_at};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| looked_at(Format::Table, &["x.csv", "x.tsv"], bytes)
);
