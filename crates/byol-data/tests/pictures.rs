//! Every kind of picture against Pillow's pixels (tests/golden/pictures).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use byol_data::{Limits, Rules, decode_native, is_picture, probe};

#[test]
fn pictures_of_every_kind_are_as_pillow_has_them() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/pictures"));
    let mut n = 0;
    for entry in fs::read_dir(folder.join("expected")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let bytes = fs::read(folder.join(name)).unwrap();
        let expected = decode_native(&fs::read(&path).unwrap(), Rules::STANDARD, Limits::STANDARD).unwrap();
        let found = decode_native(&bytes, Rules::STANDARD, Limits::STANDARD)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(is_picture(&bytes[..64.min(bytes.len())]), "{name}");
        let shape = (found.width, found.height, found.channels);
        assert_eq!(shape, (expected.width, expected.height, expected.channels), "{name}");
        let header = probe(&bytes, Limits::STANDARD).unwrap();
        if !header.transparent {
            assert_eq!((header.width, header.height, header.channels), shape, "{name}: header");
        }
        let differences = found.data.iter().zip(&expected.data).map(|(a, b)| u64::from(a.abs_diff(*b)));
        if name.ends_with(".jpg") || name == "lossy.webp" {
            let mean = differences.sum::<u64>() as f64 / found.data.len() as f64;
            assert!(mean <= 2.0, "{name}: differs by {mean} in the mean");
        } else {
            assert_eq!(differences.max(), Some(0), "{name}");
        }
        n += 1;
    }
    assert_eq!(n, 30);
}

/// Found by fuzzing: bytes that make a decoder panic. They are an error here.
#[test]
fn bytes_that_make_decoders_panic_are_errors() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"));
    let bytes = fs::read(folder.join("pictures/damaged/panics-zune-jpeg.jpg")).unwrap();
    let error = decode_native(&bytes, Rules::STANDARD, Limits::STANDARD).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    for name in ["panics-arrow", "claims-children"] {
        let bytes = fs::read(folder.join(format!("parquet/{name}.parquet"))).unwrap();
        let shard = byol_data::Shard::in_memory("found", bytes);
        let error = byol_data::ImageDataset::from_shards("train", vec![shard]).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
