//! Pictures as they come, into shards.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use byol_data::ingest::IngestOptions;
use byol_data::{DataError, ImageDataset, Limits, Summary, decode_native};
use support::{contents, folder, ingested, png};
use tempfile::TempDir;

const STANDARD: IngestOptions = IngestOptions::STANDARD;

fn opened(to: &Path, split: &str) -> ImageDataset {
    ImageDataset::open(to, split).unwrap()
}

#[test]
fn the_same_source_gives_the_same_bytes_on_any_number_of_threads() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    folder(&source, 300);
    let options = IngestOptions { val: 0.2, shard_bytes: 10_000, ..STANDARD };
    let made: Vec<_> = [1, 2, 7]
        .map(|threads| {
            let to = dir.path().join(format!("set-{threads}"));
            let report = ingested(&source, &to, &options, threads).unwrap();
            assert_eq!(report.splits.values().sum::<u64>(), 300);
            assert!(report.shards > 4, "{report:?}");
            contents(&to)
        })
        .into();
    assert!(made.iter().all(|set| *set == made[0]));
    assert!(!made[0].iter().any(|(name, _)| name.contains(".ingest")), "work is cleared away");
}

#[test]
fn pictures_keep_their_bytes_labels_and_paths() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    folder(&source, 30);
    ingested(&source, &dir.path().join("set"), &STANDARD, 2).unwrap();
    let set = opened(&dir.path().join("set"), "train");
    assert_eq!(
        (set.len(), set.classes(), set.channels()),
        (30, &["a", "b", "c"].map(str::to_owned)[..], Some(3))
    );
    for i in 0..30 {
        let sample = set.sample(i).unwrap();
        assert_eq!(sample.bytes(), fs::read(source.join(sample.path())).unwrap());
        assert_eq!(set.classes()[sample.label().unwrap() as usize], sample.path()[..1]);
    }
}

#[test]
fn every_fault_is_named_and_stops_nothing() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    folder(&source, 9);
    fs::write(source.join("a/empty.png"), b"").unwrap();
    fs::write(source.join("a/cut.png"), &png(1, 40)[..60]).unwrap();
    fs::write(source.join("a/text.jpg"), b"not a picture").unwrap();
    fs::write(source.join("a/notes.txt"), b"not meant to be one").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", source.join("a/leaves.png")).unwrap();
    std::os::unix::fs::symlink(source.join("b"), source.join("a/loop")).unwrap();
    let to = dir.path().join("set");
    let report = ingested(&source, &to, &STANDARD, 2).unwrap();
    assert_eq!((report.splits["train"], report.faults, report.ignored), (9, 5, 1));
    let faults = fs::read_to_string(to.join("faults.csv")).unwrap();
    for words in [
        "a/empty.png,the file is empty",
        "a/cut.png",
        "a/text.jpg,\"not a picture",
        "leaves the folder",
        "a/loop",
    ] {
        assert!(faults.contains(words), "{words}:\n{faults}");
    }
    let few = IngestOptions { max_faults: Some(3), ..STANDARD };
    let error = ingested(&source, &dir.path().join("other"), &few, 2).unwrap_err();
    assert!(matches!(error, DataError::TooManyFaults { max: 3, .. }), "{error}");
}

#[test]
fn copies_are_counted_named_and_never_on_both_sides() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for i in 0..200 {
        // Each picture twice: as it is, and as another encoding of the same pixels.
        fs::write(source.join(format!("{i}.png")), png(i, 9)).unwrap();
        let pixels = image::load_from_memory(&png(i, 9)).unwrap();
        pixels.save_with_format(source.join(format!("{i}-again.bmp")), image::ImageFormat::Bmp).unwrap();
    }
    let to = dir.path().join("set");
    let options = IngestOptions { val: 0.5, ..STANDARD };
    let report = ingested(&source, &to, &options, 2).unwrap();
    assert_eq!(report.duplicates, 200);
    assert!(report.splits["validation"] > 140 && report.splits["train"] > 140, "{report:?}");
    let duplicates = fs::read_to_string(to.join("duplicates.csv")).unwrap();
    assert_eq!(duplicates.lines().count(), 201);
    let sets = [opened(&to, "train"), opened(&to, "validation")];
    let summary = Summary::of(&sets, Limits::STANDARD, |_| {}).unwrap();
    assert_eq!((summary.samples, summary.duplicates, summary.across), (400, 200, 0));

    let once = IngestOptions { dedup: true, ..STANDARD };
    let report = ingested(&source, &to, &once, 2).unwrap();
    assert_eq!((report.splits["train"], report.duplicates, report.dropped), (200, 200, true));
    assert!(!to.join("data/validation-00000-of-00001.parquet").exists(), "the old set is replaced");
}

#[test]
fn what_was_done_is_gone_on_with() {
    let dir = TempDir::new().unwrap();
    let mut n_done = Vec::new();
    for i in 0..12 {
        // A fault at another place of the order each time, where the first try gives up.
        let source = dir.path().join(format!("source-{i}"));
        folder(&source, 120);
        fs::write(source.join(format!("a/cut-{i}.png")), &png(1, 40)[..60]).unwrap();
        let options = IngestOptions { val: 0.3, shard_bytes: 3000, dedup: true, ..STANDARD };
        let (whole, to) = (dir.path().join(format!("whole-{i}")), dir.path().join(format!("set-{i}")));
        let expected = ingested(&source, &whole, &options, 1).unwrap();
        let strict = IngestOptions { max_faults: Some(0), ..options.clone() };
        ingested(&source, &to, &strict, 2).unwrap_err();
        assert!(!to.join("data").exists());
        let shards = fs::read_dir(to.join(".ingest")).unwrap();
        let names = shards.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        n_done.push(names.filter(|name| name.ends_with(".parquet")).count());
        // And what a kill leaves in the middle of a shard, and of a record.
        fs::write(to.join(".ingest/train-00000.partial"), b"half").unwrap();
        let fates = to.join(".ingest/fates.bin");
        let length = fs::metadata(&fates).unwrap().len();
        fs::OpenOptions::new().write(true).open(&fates).unwrap().set_len(length.saturating_sub(5)).unwrap();
        assert_eq!(ingested(&source, &to, &options, 2).unwrap(), expected);
        assert_eq!(contents(&to), contents(&whole), "stopped after {n_done:?} shards");
    }
    assert!(n_done.iter().max() > Some(&2) && n_done.iter().max() > n_done.iter().min(), "{n_done:?}");
}

#[test]
fn a_source_that_has_changed_is_begun_anew() {
    let dir = TempDir::new().unwrap();
    let (source, to) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 60);
    fs::write(source.join("a/cut.png"), &png(1, 40)[..60]).unwrap();
    let strict = IngestOptions { max_faults: Some(0), shard_bytes: 1000, ..STANDARD };
    ingested(&source, &to, &strict, 2).unwrap_err();
    assert!(to.join(".ingest/state.json").exists() && !to.join("data").exists());
    fs::remove_file(source.join("a/cut.png")).unwrap();
    let report = ingested(&source, &to, &strict, 2).unwrap();
    assert_eq!((report.splits["train"], report.faults), (60, 0));
    let clean = dir.path().join("clean");
    ingested(&source, &clean, &strict, 2).unwrap();
    assert_eq!(contents(&to), contents(&clean));
}

#[test]
fn an_old_set_stays_until_the_new_one_is_whole() {
    let dir = TempDir::new().unwrap();
    let (source, to) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 30);
    ingested(&source, &to, &STANDARD, 2).unwrap();
    let before = contents(&to.join("data"));
    fs::write(source.join("a/cut.png"), &png(1, 40)[..60]).unwrap();
    let strict = IngestOptions { max_faults: Some(0), ..STANDARD };
    ingested(&source, &to, &strict, 2).unwrap_err();
    assert_eq!(contents(&to.join("data")), before);
    // Killed between its two renames: the next one finishes, or puts the old set back.
    fs::create_dir_all(to.join(".ingest")).unwrap();
    fs::rename(to.join("data"), to.join(".ingest/old")).unwrap();
    ingested(&source, &to, &strict, 2).unwrap_err();
    assert_eq!(contents(&to.join("data")), before);
    fs::write(to.join("data/precious.txt"), b"x").unwrap();
    let error = ingested(&source, &to, &STANDARD, 2).unwrap_err().to_string();
    assert!(error.contains("precious.txt") && error.contains("no shard"), "{error}");
}

#[test]
fn sources_without_pictures_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a.txt"), b"x").unwrap();
    let error = ingested(&source, &dir.path().join("set"), &STANDARD, 2).unwrap_err().to_string();
    assert!(error.contains("no pictures"), "{error}");
    fs::write(source.join("a.jpg"), b"x").unwrap();
    let error = ingested(&source, &dir.path().join("set"), &STANDARD, 2).unwrap_err().to_string();
    assert!(error.contains("a.jpg: not a picture"), "{error}");
    assert!(!dir.path().join("set").exists());
    let error = ingested(&dir.path().join("nowhere"), &dir.path().join("set"), &STANDARD, 2).unwrap_err();
    assert!(error.full().contains("nowhere") && error.full().contains("No such file"), "{}", error.full());
}

#[test]
fn sizes_grey_and_the_first_few() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for i in 0..5 {
        let picture = image::RgbImage::from_fn(60, 30, |x, y| image::Rgb([x as u8 * 4, y as u8 * 8, i * 50]));
        picture.save(source.join(format!("{i}.png"))).unwrap();
    }
    let options = IngestOptions { max_side: Some(20), grey: true, first: Some(3), ..STANDARD };
    let report = ingested(&source, &dir.path().join("set"), &options, 2).unwrap();
    assert_eq!((report.splits["train"], report.channels), (3, 1));
    let set = opened(&dir.path().join("set"), "train");
    let picture =
        decode_native(set.sample(0).unwrap().bytes(), byol_data::Rules::STANDARD, Limits::STANDARD).unwrap();
    assert_eq!((picture.width, picture.height, picture.channels), (20, 10, 1));
}

#[test]
fn parquet_of_others_is_cut_anew_in_its_order() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    folder(&source, 50);
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    ingested(&source, &first, &STANDARD, 2).unwrap();
    let small = IngestOptions { shard_bytes: 2000, ..STANDARD };
    ingested(&first, &second, &small, 2).unwrap();
    let (a, b) = (opened(&first, "train"), opened(&second, "train"));
    assert!(contents(&second.join("data")).len() > 2);
    assert_eq!(a.fingerprint(), b.fingerprint());
    assert!((0..50).all(|i| a.sample(i).unwrap().path() == b.sample(i).unwrap().path()));
}

#[test]
fn files_of_classes_lie_beside_pictures_in_archives() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pictures.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    for i in 0..4 {
        let split = if i < 3 { "train" } else { "test" };
        // A point within the name, and a picture of a longer name than its class's.
        let end = if i == 1 { "seen.png" } else { "png" };
        add(&format!("{split}/v1.{i}.{end}"), &png(i, 9));
        add(
            &format!("{split}/v1.{i}{}.cls", if i == 1 { ".seen" } else { "" }),
            format!("{}", i * 2).as_bytes(),
        );
    }
    archive.into_inner().unwrap();
    let to = dir.path().join("set");
    let report = ingested(&path, &to, &STANDARD, 2).unwrap();
    assert_eq!(report.splits, BTreeMap::from([("train".into(), 3), ("test".into(), 1)]));
    assert_eq!(opened(&to, "train").known_labels().unwrap(), [Some(0), Some(2), Some(4)]);
    assert_eq!(opened(&to, "test").known_labels().unwrap(), [Some(6)]);
}

#[test]
fn grey_is_the_same_picture_in_one_channel_and_in_three() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for i in 0..40u8 {
        let grey = image::GrayImage::from_fn(7, 5, |x, y| image::Luma([(x * 30 + y) as u8 ^ i]));
        grey.save(source.join(format!("{i}.png"))).unwrap();
        image::DynamicImage::from(grey).into_rgb8().save(source.join(format!("{i}-rgb.png"))).unwrap();
    }
    let to = dir.path().join("set");
    let report = ingested(&source, &to, &IngestOptions { val: 0.5, ..STANDARD }, 2).unwrap();
    assert_eq!((report.duplicates, report.channel_kinds), (40, vec![1, 3]));
    let sets = [opened(&to, "train"), opened(&to, "validation")];
    let summary = Summary::of(&sets, Limits::STANDARD, |_| {}).unwrap();
    assert_eq!((summary.duplicates, summary.across), (40, 0));
    let options = IngestOptions { dedup: true, grey: true, ..STANDARD };
    assert_eq!(ingested(&source, &to, &options, 2).unwrap().splits["train"], 40);
}

#[test]
fn tables_are_separated_by_whatever_separates_them() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("0.png"), png(0, 9)).unwrap();
    for text in
        ["file;what\n0.png;x, y\n;z\n", "file\twhat\n0.png\tx, y\n\tz\n", "file,what\n0.png,\"x, y\"\n,z\n"]
    {
        let table = dir.path().join("t.csv");
        fs::write(&table, text).unwrap();
        let columns = byol_data::Columns { label: Some("what".into()), ..Default::default() };
        let options = IngestOptions { columns, ..STANDARD };
        let report = ingested(&table, &dir.path().join("set"), &options, 1).unwrap();
        assert_eq!((report.splits["train"], &report.classes[0][..]), (1, "x, y"), "{text}");
        assert_eq!(report.first_faults[0].reason, "a row without a path");
    }
    let options =
        IngestOptions { columns: byol_data::Columns { label: Some("x".into()), image: None }, ..STANDARD };
    fs::create_dir(dir.path().join("f")).unwrap();
    let error =
        ingested(&dir.path().join("f"), &dir.path().join("set"), &options, 1).unwrap_err().to_string();
    assert!(error.contains("has no columns"), "{error}");
}

#[test]
fn a_split_is_a_word_and_no_path() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    folder(&source, 6);
    let names: Vec<String> = walk(&source);
    let splits = ["train", "../../up", "/away", "train/fold1", ".hidden", "fold 2"];
    let rows: String = names.iter().zip(splits).map(|(name, split)| format!("{name},{split}\n")).collect();
    fs::write(source.join("list.csv"), format!("path,split\n{rows}")).unwrap();
    let to = dir.path().join("deep/set");
    let report = ingested(&source.join("list.csv"), &to, &STANDARD, 1).unwrap();
    assert_eq!(report.splits, BTreeMap::from([("train".into(), 1), ("fold_2".into(), 1)]));
    let faults = fs::read_to_string(to.join("faults.csv")).unwrap();
    assert_eq!((report.faults, faults.matches("no plain word").count()), (4, 4), "{faults}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing beside the target");
}

/// The files of a folder and of its folders, paths within it, sorted.
fn walk(folder: &Path) -> Vec<String> {
    let mut paths: Vec<String> = contents(folder).into_iter().map(|(name, _)| name).collect();
    paths.sort();
    paths
}

#[test]
fn pictures_and_archives_side_by_side_are_not_chosen_from() {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    folder(&source, 6);
    fs::write(source.join("notes.tar"), b"").unwrap();
    let to = dir.path().join("set");
    let error = ingested(&source, &to, &STANDARD, 1).unwrap_err().to_string();
    assert!(error.contains("both pictures and .tar") && error.contains("--format folder"), "{error}");
    let options = IngestOptions { format: Some(byol_data::ingest::Format::Folder), ..STANDARD };
    assert_eq!(ingested(&source, &to, &options, 1).unwrap().splits["train"], 6);
}

#[test]
fn an_old_set_is_put_back_when_its_successor_is_given_up() {
    let dir = TempDir::new().unwrap();
    let (source, to) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 6);
    ingested(&source, &to, &STANDARD, 1).unwrap();
    let before = contents(&to.join("data"));
    // As a kill between the two renames at the end of another ingest leaves it.
    fs::create_dir_all(to.join(".ingest/data")).unwrap();
    fs::rename(to.join("data"), to.join(".ingest/old")).unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    ingested(&empty, &to, &STANDARD, 1).unwrap_err();
    assert_eq!(contents(&to.join("data")), before);
}

#[test]
fn a_source_is_not_replaced_by_itself_nor_what_others_wrote() {
    let dir = TempDir::new().unwrap();
    let (source, set) = (dir.path().join("source"), dir.path().join("set"));
    folder(&source, 6);
    ingested(&source, &set, &STANDARD, 1).unwrap();
    let before = contents(&set);
    for from in [set.clone(), set.join("data")] {
        let error = ingested(&from, &set, &STANDARD, 1).unwrap_err().to_string();
        assert!(error.contains("the source too"), "{error}");
    }
    assert_eq!(contents(&set), before);
    let theirs = dir.path().join("theirs");
    fs::create_dir_all(theirs.join("data")).unwrap();
    fs::copy(set.join("data/train-00000-of-00001.parquet"), theirs.join("data/mine.parquet")).unwrap();
    let error = ingested(&source, &theirs, &STANDARD, 1).unwrap_err().to_string();
    assert!(error.contains("did not write"), "{error}");
    assert!(theirs.join("data/mine.parquet").exists());
}

#[test]
fn nothing_is_held_out_beside_a_validation_split() {
    let dir = TempDir::new().unwrap();
    for split in ["train", "val"] {
        folder(&dir.path().join("source").join(split), 6);
    }
    let options = IngestOptions { val: 0.5, ..STANDARD };
    let error = ingested(&dir.path().join("source"), &dir.path().join("set"), &options, 1).unwrap_err();
    assert!(error.to_string().contains("validation split of its own"), "{error}");
}
