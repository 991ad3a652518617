//! Small pictures and folders for tests.
#![allow(dead_code)] // each test file uses some of it

use std::fs;
use std::path::Path;

use byol_data::ingest::{IngestOptions, IngestReport, ingest};
use byol_data::{ImageDataset, Labels, NewSample, Shard, ShardWriter};

/// A PNG whose pixels depend on `seed`.
pub fn png(seed: usize, side: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(seed * 7) as u8, (x * 9 + seed as u32) as u8, (y * 5) as u8 ^ (seed >> 8) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// `n` pictures in folders a, b and c.
pub fn folder(at: &Path, n: usize) {
    for i in 0..n {
        let class = at.join(["a", "b", "c"][i % 3]);
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{i:04}.png")), png(i, 9)).unwrap();
    }
}

/// Ingests on so many threads.
pub fn ingested(
    from: &Path,
    to: &Path,
    options: &IngestOptions,
    threads: usize,
) -> Result<IngestReport, byol_data::DataError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| ingest(from, to, options, |_, _| {}))
}

/// All files below a folder with their bytes, sorted.
pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// A shard of pictures of given lengths, whose bytes tell their number.
pub fn shard(name: &str, first: usize, lengths: &[usize], labels: bool) -> Shard {
    let kind = if labels { Labels::Classes(vec!["even".into(), "odd".into()]) } else { Labels::None };
    let mut writer = ShardWriter::in_memory(kind).unwrap();
    for (i, &length) in lengths.iter().enumerate() {
        let number = first + i;
        let bytes: Vec<u8> =
            (0..length.max(8)).map(|at| number.to_le_bytes()[at % 8] ^ (at / 8) as u8).collect();
        let label = labels.then_some((number % 2) as i64);
        writer.push(NewSample { bytes: &bytes, path: &format!("{number}.bin"), label }).unwrap();
    }
    Shard::in_memory(name, writer.finish().unwrap())
}

/// The number that a picture's bytes tell.
pub fn number(set: &ImageDataset, index: usize) -> usize {
    let sample = set.sample(index).unwrap();
    usize::from_le_bytes(sample.bytes()[..8].try_into().unwrap())
}
