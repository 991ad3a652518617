//! Parquet of whatever writer, in memory and piece by piece.
#![no_main]

use byol_data::{ImageDataset, OpenOptions, Shard};
use byol_data_fuzz::hook;
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: hook(),
    |bytes: &[u8]| {
        for in_memory in [0, u64::MAX] {
            let options = OpenOptions { in_memory, ..OpenOptions::default() };
            let shard = Shard::in_memory("fuzzed", bytes);
            if let Ok(set) = ImageDataset::from_shards_with("train", vec![shard], &options) {
                let _ = set.known_labels();
                for i in 0..set.len().min(1000) {
                    let _ = set.sample(i).map(|sample| sample.bytes().len());
                }
            }
        }
    }
);
