//! Files of other writers (tests/golden/parquet): pyarrow's Parquet, SciPy's .mat.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};

use byol_data::ingest::mat;
use byol_data::{Columns, DataError, ImageDataset, Limits, OpenOptions, Shard, decode};

fn golden(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/parquet")).join(name)
}

fn shard(name: &str) -> Shard {
    Shard::local(&golden(name))
}

#[test]
fn structs_binaries_strings_and_dictionaries_are_read() {
    for (name, labels) in [
        ("plain.parquet", vec![0, 1, 2, 3, 4, 5, 6, 7]),
        ("snappy.parquet", vec![0, 1, 0, 1, 0, 1, 0, 1]),
        ("zstd-v2.parquet", vec![0, 1, 0, 1, 0, 1, 0, 1]),
        ("dictionary.parquet", vec![0, 1, 0, 1, 0, 1, 0, 1]),
    ] {
        let pieces = OpenOptions { in_memory: 0, ..OpenOptions::default() };
        let sets = [
            ImageDataset::from_shards("train", vec![shard(name)]).unwrap(),
            ImageDataset::from_shards_with("train", vec![shard(name)], &pieces).unwrap(),
        ];
        for set in sets {
            assert_eq!(set.len(), 8, "{name}");
            let names: &[String] = if name == "plain.parquet" { &[] } else { &["ant".into(), "bee".into()] };
            assert_eq!(set.classes(), names, "{name}");
            assert_eq!(set.labels().unwrap(), Some(labels.clone()), "{name}");
            for i in (0..8).rev() {
                let sample = set.sample(i).unwrap();
                let picture = decode(sample.bytes(), 3, Limits::STANDARD).unwrap();
                assert_eq!((picture.width, picture.height, picture.data[0]), (5, 4, i as u8 * 20), "{name}");
                assert_eq!(sample.label(), Some(labels[i] as i64));
            }
        }
    }
}

#[test]
fn columns_that_are_not_there_or_hold_no_pictures_are_named() {
    let open = |image: &str| {
        let columns = Columns { image: Some(image.into()), label: None };
        let options = OpenOptions { columns, ..OpenOptions::default() };
        ImageDataset::from_shards_with("train", vec![shard("plain.parquet")], &options)
            .unwrap_err()
            .to_string()
    };
    assert!(open("photo").contains("no column `photo`, only: image, label"), "{}", open("photo"));
    assert!(open("label").contains("expected binary or a struct"), "{}", open("label"));
}

#[test]
fn splits_are_found_as_the_hub_lays_them_out() {
    let dir = tempfile::TempDir::new().unwrap();
    for name in ["train", "validation"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::copy(golden("plain.parquet"), dir.path().join(name).join("0000.parquet")).unwrap();
    }
    fs::copy(golden("plain.parquet"), dir.path().join("my-test.parquet")).unwrap();
    assert_eq!(byol_data::split_names(dir.path()).unwrap(), ["test", "train", "validation"]);
    assert_eq!(ImageDataset::open(dir.path(), "val").unwrap().len(), 8);
    // One file by itself.
    assert_eq!(ImageDataset::open(&golden("plain.parquet"), "train").unwrap().len(), 8);
    let error = ImageDataset::open(dir.path(), "extra").unwrap_err().to_string();
    assert!(error.contains("the splits there are: test, train, validation"), "{error}");
    // One of three is missing.
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::copy(golden("plain.parquet"), dir.path().join("data/train-00001-of-00003.parquet")).unwrap();
    let error = ImageDataset::open(dir.path(), "train").unwrap_err().to_string();
    assert!(error.contains("there are 3 of them"), "{error}");
}

#[test]
fn a_row_group_too_large_to_be_streamed_is_refused_with_the_command_that_helps() {
    use byol_data::{Labels, NewSample, ShardWriter};
    // One picture makes a row group of its own, however large it is.
    let mut writer = ShardWriter::in_memory(Labels::None).unwrap();
    writer.push(NewSample { bytes: &vec![1; 70 << 20], path: "huge.png", label: None }).unwrap();
    let huge = Shard::in_memory("huge.parquet", writer.finish().unwrap());
    let options = OpenOptions { in_memory: 0, ..OpenOptions::default() };
    let error = ImageDataset::from_shards_with("train", vec![huge], &options).unwrap_err();
    assert!(matches!(error, DataError::RowGroupTooLarge { group: 0, .. }), "{error}");
    assert!(error.to_string().contains("cargo xtask ingest huge.parquet --to DIR"), "{error}");
}

#[test]
fn labels_that_are_texts_here_and_numbers_there_are_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    for (i, name) in ["snappy.parquet", "plain.parquet"].into_iter().enumerate() {
        fs::copy(golden(name), dir.path().join(format!("train-{i:05}-of-00002.parquet"))).unwrap();
    }
    let error = ImageDataset::open(dir.path(), "train").unwrap_err().to_string();
    assert!(error.contains("texts in one file and numbers in another"), "{error}");
}

/// 400 rows of one picture of a mebibyte, in a file of some kilobytes.
#[test]
fn rows_that_repeat_a_dictionary_are_counted() {
    let shard = Shard::local(&golden("repeats.parquet"));
    let options = OpenOptions { in_memory: 0, ..OpenOptions::default() };
    let set = ImageDataset::from_shards_with("train", vec![shard], &options).unwrap();
    let error = set.sample(0).unwrap_err();
    assert!(matches!(error, DataError::RowGroupTooLarge { .. }), "{error}");
}

#[test]
fn matlab_files_are_read() {
    for name in ["plain.mat", "compressed.mat"] {
        let arrays = mat::read(&golden(name)).unwrap();
        let find = |name: &str| arrays.iter().find(|array| array.name == name).unwrap();
        // SciPy's array of 3 x 4 x 5 counts up with its last index fastest.
        assert_eq!(find("X").shape, [3, 4, 5]);
        assert_eq!((find("X").get(0), find("X").get(1), find("X").get(3)), (Some(0), Some(20), Some(5)));
        let values = |name: &str| (0..find(name).len()).map(|i| find(name).get(i)).collect::<Vec<_>>();
        assert_eq!((values("y"), values("n")), (vec![Some(1), Some(10)], vec![Some(7)]), "{name}");
    }
}
