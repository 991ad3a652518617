//! Sources that people have: in the target itself, of arrays, pipes, odd splits and orders.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::fs::{self, File};
use std::path::Path;

use byol_data::ingest::IngestOptions;
use byol_data::{ImageDataset, Labels, Limits, NewSample, ShardWriter, decode};
use support::{contents, folder, ingested, png};
use tempfile::TempDir;

const STANDARD: IngestOptions = IngestOptions::STANDARD;

#[test]
fn no_file_of_the_target_is_its_own_source() {
    let dir = TempDir::new().unwrap();
    let (source, set) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 6);
    fs::write(source.join("a/cut.png"), &png(1, 9)[..40]).unwrap();
    ingested(&source, &set, &STANDARD, 1).unwrap();
    let before = contents(&set);
    let mut sources = ["data/train-00000-of-00001.parquet", "faults.csv"].map(|name| set.join(name)).to_vec();
    #[cfg(unix)]
    {
        let link = dir.path().join("link.parquet");
        std::os::unix::fs::symlink(&sources[0], &link).unwrap();
        sources.push(link);
    }
    for from in sources {
        let error = ingested(&from, &set, &STANDARD, 1).unwrap_err().to_string();
        assert!(error.contains("the source too"), "{}: {error}", from.display());
        assert_eq!(contents(&set), before);
    }
}

/// A .npy of 8 bits.
fn array(height: usize, width: usize, channels: usize) -> Vec<u8> {
    let shape =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}, {channels}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let padded = format!("{shape:<117}\n");
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    bytes.extend((0..height * width * channels).map(|i| (i * 37 % 251) as u8));
    bytes
}

#[test]
fn arrays_that_are_pictures_become_pictures() {
    for (channels, kept) in [(1, false), (3, false), (5, true)] {
        let dir = TempDir::new().unwrap();
        let (source, set) = (dir.path().join("source"), dir.path().join("set"));
        fs::create_dir(&source).unwrap();
        let bytes = array(20, 30, channels);
        fs::write(source.join("a.npy"), &bytes).unwrap();
        ingested(&source, &set, &STANDARD, 1).unwrap();
        let set = ImageDataset::open(&set, "train").unwrap();
        let sample = set.sample(0).unwrap();
        assert_eq!(sample.bytes() == bytes, kept, "{channels}");
        let of = |bytes: &[u8]| decode(bytes, channels, Limits::STANDARD).unwrap();
        assert_eq!(of(sample.bytes()).data, of(&bytes).data);
        assert_eq!(sample.bytes().starts_with(b"\x89PNG"), !kept);
    }
}

#[test]
fn a_split_of_a_reserved_name_gets_another() {
    let dir = TempDir::new().unwrap();
    let (source, set) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 2);
    fs::write(source.join("list.csv"), "path,split\na/0000.png,train\nb/0001.png,all\n").unwrap();
    ingested(&source.join("list.csv"), &set, &STANDARD, 1).unwrap();
    assert_eq!(byol_data::split_names(&set).unwrap(), ["all_", "train"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_a_fault_and_no_wait() {
    let dir = TempDir::new().unwrap();
    let (source, set) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 1);
    let made = std::process::Command::new("mkfifo").arg(source.join("pipe.png")).status().unwrap();
    assert!(made.success());
    fs::write(source.join("list.csv"), "path\npipe.png\na/0000.png\n/dev/zero\n").unwrap();
    let report = ingested(&source.join("list.csv"), &set, &STANDARD, 1).unwrap();
    assert_eq!(report.splits["train"], 1);
    let faults = fs::read_to_string(set.join("faults.csv")).unwrap();
    for name in ["pipe.png", "/dev/zero"] {
        assert!(faults.lines().any(|l| l.contains(name) && l.contains("not a regular file")), "{faults}");
    }
}

/// A Parquet file whose n-th picture is of the n-th class.
fn numbered(at: &Path, classes: &[&str]) {
    let names = classes.iter().map(|&class| class.to_owned()).collect();
    let mut writer = ShardWriter::new(File::create(at).unwrap(), "shard", Labels::Classes(names)).unwrap();
    for (n, class) in classes.iter().enumerate() {
        let (bytes, path) = (png(class.len() * 50 + n, 9), format!("{class}.png"));
        writer.push(NewSample { bytes: &bytes, path: &path, label: Some(n as i64) }).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn splits_that_number_their_classes_differently_are_joined_by_name() {
    let dir = TempDir::new().unwrap();
    let (source, set) = (dir.path().join("source"), dir.path().join("set"));
    fs::create_dir(&source).unwrap();
    numbered(&source.join("train.parquet"), &["z", "yy", "xxx"]);
    numbered(&source.join("test.parquet"), &["xxx", "z", "yy", "new"]);
    ingested(&source, &set, &STANDARD, 1).unwrap();
    for (split, n) in [("train", 3), ("test", 4)] {
        let opened = ImageDataset::open(&set, split).unwrap();
        assert_eq!(opened.len(), n);
        for i in 0..n {
            let sample = opened.sample(i).unwrap();
            let class = &opened.classes()[sample.label().unwrap() as usize];
            assert_eq!(sample.path(), format!("{class}.png"), "{split}");
        }
    }
}
