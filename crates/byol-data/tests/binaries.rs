//! The binary files that known sets come in.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use byol_data::ingest::{IngestOptions, idx};
use byol_data::{Decoded, ImageDataset, Limits};
use support::ingested;
use tempfile::TempDir;

const STANDARD: IngestOptions = IngestOptions::STANDARD;

fn opened(to: &Path, split: &str) -> ImageDataset {
    ImageDataset::open(to, split).unwrap()
}

fn decoded(set: &ImageDataset, index: usize, channels: usize) -> Decoded {
    byol_data::decode(set.sample(index).unwrap().bytes(), channels, Limits::STANDARD).unwrap()
}

#[test]
fn cifar_10_is_planes_after_a_label() {
    let dir = TempDir::new().unwrap();
    let cifar = dir.path().join("cifar/cifar-10-batches-bin");
    fs::create_dir_all(&cifar).unwrap();
    let mut record = vec![3u8];
    record.extend((0..3072).map(|i| (i / 1024 * 80 + i % 32) as u8));
    fs::write(cifar.join("data_batch_1.bin"), record.repeat(2)).unwrap();
    fs::write(
        cifar.join("batches.meta.txt"),
        "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n",
    )
    .unwrap();
    let to = dir.path().join("set");
    ingested(&dir.path().join("cifar"), &to, &STANDARD, 1).unwrap();
    let set = opened(&to, "train");
    let picture = decoded(&set, 1, 3);
    assert_eq!((set.len(), set.sample(0).unwrap().label(), &set.classes()[3][..]), (2, Some(3), "cat"));
    assert_eq!(picture.data[5 * 3..6 * 3], [5, 85, 165]);
    fs::write(cifar.join("data_batch_1.bin"), &record[..3000]).unwrap();
    let error = ingested(&dir.path().join("cifar"), &to, &STANDARD, 1).unwrap_err().to_string();
    assert!(error.contains("3000 bytes") && error.contains("3073"), "{error}");
}

#[test]
fn cifar_100_counts_fine_labels() {
    let dir = TempDir::new().unwrap();
    let cifar = dir.path().join("cifar-100-binary");
    fs::create_dir(&cifar).unwrap();
    // The coarse label, the fine one, the planes.
    let record = |coarse: u8, fine: u8| [&[coarse, fine][..], &[fine; 3072]].concat();
    fs::write(cifar.join("train.bin"), [record(19, 0), record(0, 99), record(5, 100)].concat()).unwrap();
    fs::write(cifar.join("test.bin"), record(19, 42)).unwrap();
    let names: String = (0..100).map(|i| format!("name{i}\n")).collect();
    fs::write(cifar.join("fine_label_names.txt"), names).unwrap();
    let to = dir.path().join("set");
    let report = ingested(&cifar, &to, &STANDARD, 2).unwrap();
    assert_eq!(report.splits, BTreeMap::from([("train".into(), 2), ("test".into(), 1)]));
    assert_eq!((report.faults, &opened(&to, "train").classes()[99][..]), (1, "name99"));
    assert_eq!(opened(&to, "train").known_labels().unwrap(), [Some(0), Some(99)]);
    assert_eq!(opened(&to, "test").known_labels().unwrap(), [Some(42)]);
    let faults = fs::read_to_string(to.join("faults.csv")).unwrap();
    assert!(faults.contains("train-00002.png") && faults.contains("label 100 of 100 classes"), "{faults}");
}

#[test]
fn stl_10_is_planes_column_by_column_with_labels_from_one() {
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("set");
    let stl = dir.path().join("stl");
    fs::create_dir(&stl).unwrap();
    let column_major: Vec<u8> = (0..27_648).map(|i| (i % 9216 / 96 + i / 9216 * 60) as u8).collect();
    fs::write(stl.join("train_X.bin"), &column_major).unwrap();
    fs::write(stl.join("train_y.bin"), [10]).unwrap();
    fs::write(stl.join("unlabeled_X.bin"), column_major.repeat(2)).unwrap();
    let report = ingested(&stl, &to, &STANDARD, 1).unwrap();
    assert_eq!(report.splits, BTreeMap::from([("train".into(), 1), ("unlabeled".into(), 2)]));
    let set = opened(&to, "train");
    let picture = decoded(&set, 0, 3);
    assert_eq!((set.sample(0).unwrap().label(), &set.classes()[9][..]), (Some(9), "truck"));
    let at = (7 * 96 + 11) * 3; // row 7, column 11
    assert_eq!(picture.data[at..at + 3], [11, 71, 131]);
    assert_eq!(opened(&to, "unlabeled").sample(1).unwrap().label(), None);
    fs::write(stl.join("train_y.bin"), [11]).unwrap();
    let report = ingested(&stl, &to, &STANDARD, 1).unwrap();
    assert_eq!((report.faults, report.splits), (1, BTreeMap::from([("unlabeled".into(), 2)])));
}

/// A .mat file of version 5 with arrays of bytes, as SciPy writes it without compression.
fn mat_file(arrays: &[(&str, &[u32], Vec<u8>)]) -> Vec<u8> {
    let element = |kind: u32, data: &[u8]| {
        let mut out = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        out.extend(data);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    };
    let mut file = vec![b' '; 124];
    file.extend([0, 1, b'I', b'M']);
    for (name, shape, values) in arrays {
        let shape: Vec<u8> = shape.iter().flat_map(|d| d.to_le_bytes()).collect();
        let parts = [
            element(6, &[9, 0, 0, 0, 0, 0, 0, 0]),
            element(5, &shape),
            element(1, name.as_bytes()),
            element(2, values),
        ];
        file.extend(element(14, &parts.concat()));
    }
    file
}

#[test]
fn svhn_is_column_major_and_ten_is_zero() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("svhn");
    fs::create_dir(&source).unwrap();
    // X[row, column, channel, n], the first index fastest.
    let mut x = Vec::new();
    for n in 0..2u8 {
        for channel in 0..3u8 {
            for column in 0..32u8 {
                x.extend((0..32u8).map(|row| row + 40 * channel + if column == 7 { 100 } else { 0 } + n));
            }
        }
    }
    let write = |shape: &[u32], x: &[u8]| {
        let file = mat_file(&[("X", shape, x.to_vec()), ("y", &[2, 1], vec![10, 3])]);
        fs::write(source.join("train_32x32.mat"), file).unwrap();
    };
    write(&[32, 32, 3, 2], &x);
    let to = dir.path().join("set");
    ingested(&source, &to, &STANDARD, 1).unwrap();
    let set = opened(&to, "train");
    assert_eq!(set.known_labels().unwrap(), [Some(0), Some(3)]);
    assert_eq!(set.classes()[3], "3");
    for (n, column, extra) in [(0, 7, 100), (1, 8, 0)] {
        let at = (5 * 32 + column) * 3; // row 5
        assert_eq!(decoded(&set, n, 3).data[at..at + 3], [5, 45, 85].map(|v| v + extra + n as u8));
    }
    write(&[32, 16, 6, 2], &x);
    let error = ingested(&source, &to, &STANDARD, 1).unwrap_err().to_string();
    assert!(error.contains("32 x 32 x 3 x n"), "{error}");
}

#[test]
fn idx_files_have_labels_beside_them() {
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("set");
    let mnist = dir.path().join("mnist");
    fs::create_dir(&mnist).unwrap();
    let images =
        [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]
            .concat();
    fs::write(mnist.join("t10k-images-idx3-ubyte"), &images).unwrap();
    fs::write(mnist.join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 2, 1, 0]).unwrap();
    let options = IngestOptions { rename: BTreeMap::from([("1".into(), "one".into())]), ..STANDARD };
    ingested(&mnist, &to, &options, 1).unwrap();
    let set = opened(&to, "test");
    assert_eq!(
        (set.classes(), set.known_labels().unwrap()),
        (&["0".into(), "one".into()][..], vec![Some(1), Some(0)])
    );
    let picture = decoded(&set, 1, 1);
    assert_eq!((picture.width, picture.height, picture.data), (3, 2, vec![7, 8, 9, 10, 11, 12]));
    assert!(idx::read_labels(&mnist.join("t10k-images-idx3-ubyte")).is_err());
}
