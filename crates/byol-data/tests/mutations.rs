//! Every reader of foreign bytes is fed every prefix, flipped bytes and wrong lengths: an
//! answer or an error, no panic, and no more memory than the limits say.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use byol_data::ingest::{Format, IngestOptions, check, idx, ingest, mat};
use byol_data::{ImageDataset, Limits, Rules, Shard, decode_native, probe};
use support::folder;
use tempfile::TempDir;

/// Counts what is allocated at once.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// One test at a time: the counts are of the whole process.
static TURN: Mutex<()> = Mutex::new(());

fn more(n: usize) {
    let live = LIVE.fetch_add(n, Ordering::Relaxed) + n;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: hands everything to the system's allocator and only counts.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { max_side: 4096, max_pixels: 1 << 20, max_bytes: 8 << 20, max_file: 1 << 20 };
/// What reading one of these small inputs may take: decoders hold a picture some times over.
const MEMORY: usize = 80 << 20;
/// Inputs for each reader, at least.
const INPUTS: usize = 10_000;

/// Numbers that depend on nothing.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Calls `read` with every prefix of the seeds (as far as a third of the inputs), then with
/// flipped bytes, extreme words, pieces left out, doubled and exchanged.
fn mutated(seeds: &[Vec<u8>], read: impl FnMut(&[u8])) {
    mutated_within(MEMORY, seeds, read);
}

fn mutated_within(memory: usize, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8])) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut n = 0;
    let mut feed = |bytes: &[u8]| {
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        read(bytes);
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        assert!(peak <= memory, "{peak} bytes of memory for {} of input", bytes.len());
    };
    for seed in seeds {
        feed(seed);
        let step = (seed.len() * seeds.len()).div_ceil(INPUTS / 3).max(1);
        for length in (0..seed.len()).step_by(step) {
            feed(&seed[..length]);
            n += 1;
        }
    }
    let mut numbers = Numbers(1);
    while n < INPUTS {
        let seed = &seeds[n % seeds.len()];
        let mut bytes = seed.clone();
        for _ in 0..=numbers.below(3) {
            if bytes.is_empty() {
                break;
            }
            // Headers and footers are where it hurts.
            let at = match numbers.below(3) {
                0 => numbers.below(bytes.len().min(64)),
                1 => bytes.len() - 1 - numbers.below(bytes.len().min(400)),
                _ => numbers.below(bytes.len()),
            };
            let length = (1 + numbers.below(16)).min(bytes.len() - at);
            match numbers.below(6) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = numbers.below(256) as u8,
                2 => bytes[at..at + length].fill([0, 0xff, 0x7f, 0x80][numbers.below(4)]),
                3 => drop(bytes.drain(at..at + length)),
                4 => {
                    let piece = bytes[at..at + length].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let other = numbers.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
        feed(&bytes);
        n += 1;
    }
}

fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/pictures"));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !["py", "md"].iter().any(|e| path.extension().is_some_and(|x| x == *e)) {
            files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn pictures(extensions: &[&str]) {
    let seeds: Vec<Vec<u8>> = golden()
        .into_iter()
        .filter(|(name, _)| extensions.iter().any(|e| name.ends_with(e)))
        .map(|(_, bytes)| bytes)
        .collect();
    assert!(!seeds.is_empty());
    // The TIFF reader lets an entry of its directory and a buffer of its own have 128 MiB each,
    // whatever limits it is given.
    let memory = if extensions == [".tif"] { MEMORY + (256 << 20) } else { MEMORY };
    mutated_within(memory, &seeds, |bytes| {
        let _ = probe(bytes, LIMITS);
        if let Ok(picture) = decode_native(bytes, Rules::STANDARD, LIMITS) {
            assert_eq!(picture.data.len(), picture.width * picture.height * picture.channels);
        }
    });
}

#[test]
fn png() {
    pictures(&[".png"]);
}

#[test]
fn jpeg() {
    pictures(&[".jpg"]);
}

#[test]
fn webp() {
    pictures(&[".webp"]);
}

#[test]
fn gif() {
    pictures(&[".gif"]);
}

#[test]
fn bmp_and_pnm() {
    pictures(&[".bmp", ".ppm"]);
}

#[test]
fn tiff() {
    pictures(&[".tif"]);
}

#[test]
fn npy() {
    pictures(&[".npy"]);
}

/// Parquet of other writers: tests/golden/parquet.
#[test]
fn parquet_of_others() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/parquet"));
    let seeds: Vec<Vec<u8>> = ["plain.parquet", "snappy.parquet", "zstd-v2.parquet", "dictionary.parquet"]
        .map(|name| fs::read(folder.join(name)).unwrap())
        .into();
    mutated(&seeds, |bytes| {
        if let Ok(set) = ImageDataset::from_shards("train", vec![Shard::in_memory("x", bytes)]) {
            for i in 0..set.len() {
                let _ = set.sample(i).unwrap().bytes().len();
            }
        }
    });
}

#[test]
fn our_own_shards() {
    let seeds = {
        let dir = TempDir::new().unwrap();
        folder(&dir.path().join("source"), 6);
        ingest(&dir.path().join("source"), &dir.path().join("set"), &IngestOptions::STANDARD, |_, _| {})
            .unwrap();
        vec![fs::read(dir.path().join("set/data/train-00000-of-00001.parquet")).unwrap()]
    };
    let original = ImageDataset::from_shards("train", vec![Shard::in_memory("x", seeds[0].clone())]).unwrap();
    let pictures: Vec<Vec<u8>> = (0..6).map(|i| original.sample(i).unwrap().bytes().to_vec()).collect();
    mutated(&seeds, |bytes| {
        if let Ok(set) = ImageDataset::from_shards("train", vec![Shard::in_memory("x", bytes)]) {
            // What is read is what was written: the checksums see to it.
            assert!(
                (0..set.len()).all(|i| pictures.iter().any(|p| p[..] == *set.sample(i).unwrap().bytes()))
            );
        }
    });
}

/// A source that is one file.
fn sources(name: &str, format: Format, seeds: &[Vec<u8>]) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    fs::write(dir.path().join("a.png"), support::png(1, 5)).unwrap();
    let options = IngestOptions { format: Some(format), limits: LIMITS, ..IngestOptions::STANDARD };
    mutated(seeds, |bytes| {
        fs::write(&path, bytes).unwrap();
        let source =
            if matches!(format, Format::Archive | Format::Table) { path.as_path() } else { dir.path() };
        let _ = check(source, &options);
    });
}

fn tar() -> Vec<u8> {
    let mut archive = ::tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("s/train/a/1.png", support::png(1, 5)),
        ("s/val/b/2.png", support::png(2, 5)),
        ("s/x.cls", b"3".to_vec()),
    ] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn tars() {
    sources("x.tar", Format::Archive, &[tar()]);
}

#[test]
fn gzipped_tars() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&tar()).unwrap();
    sources("x.tar.gz", Format::Archive, &[gz.finish().unwrap()]);
}

#[test]
fn zips() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for i in 0..3 {
        archive.start_file(format!("s/a{i}/x.png"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&support::png(i, 5)).unwrap();
    }
    sources("x.zip", Format::Archive, &[archive.finish().unwrap().into_inner()]);
}

#[test]
fn tables() {
    sources(
        "x.csv",
        Format::Table,
        &[b"path,label,split\na.png,\"x, y\",train\nb.png,z,val\n\"../c.png\",,\n".to_vec()],
    );
}

#[test]
fn idx_files() {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[9; 12]].concat();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x-images-idx3-ubyte");
    mutated(&[images, vec![0, 0, 8, 1, 0, 0, 0, 2, 1, 0]], |bytes| {
        fs::write(&path, bytes).unwrap();
        let _ = (idx::read_images(&path), idx::read_labels(&path));
    });
}

#[test]
fn mat_files() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/parquet"));
    let seeds = ["plain.mat", "compressed.mat"].map(|name| fs::read(folder.join(name)).unwrap());
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.mat");
    mutated(&seeds, |bytes| {
        fs::write(&path, bytes).unwrap();
        for array in mat::read(&path).unwrap_or_default() {
            let _ = (0..array.len()).filter_map(|i| array.get(i)).count();
        }
    });
}

#[test]
fn cifar_and_stl_files() {
    let dir = TempDir::new().unwrap();
    for (file, format, seed) in [
        ("data_batch_1.bin", Format::Cifar, [vec![3; 3073], vec![10; 3073]].concat()),
        ("train_X.bin", Format::Stl10, vec![7; 27_648]),
    ] {
        let source = dir.path().join(file.replace('.', "-"));
        fs::create_dir(&source).unwrap();
        let options = IngestOptions { format: Some(format), limits: LIMITS, ..IngestOptions::STANDARD };
        let mut n = 0;
        mutated(&[seed], |bytes| {
            n += 1;
            // Only their lengths and labels can be wrong; what is right takes longest.
            if n % 10 == 0 || bytes.len() % 3073 != 0 && bytes.len() % 27_648 != 0 {
                fs::write(source.join(file), bytes).unwrap();
                let _ = check(&source, &options);
            }
        });
    }
}
