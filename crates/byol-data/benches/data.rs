//! Reading a row group, decoding, and the loader around work that costs nothing.

#![allow(clippy::unwrap_used, reason = "a bench may fail")]

use std::hint::black_box;
use std::sync::Arc;

use byol_data::{
    Cursor, ImageDataset, Labels, Limits, Loader, LoaderConfig, NewSample, OpenOptions, Partition, Shard,
    ShardWriter, decode,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn jpeg(seed: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(500, 375, |x, y| {
        image::Rgb([(x * y / 64 + seed) as u8, (x / 3 + seed * 7) as u8, (y / 2) as u8 ^ (x / 9) as u8])
    });
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
    bytes
}

fn set(in_memory: u64) -> ImageDataset {
    let pictures: Vec<Vec<u8>> = (0..8).map(jpeg).collect();
    let mut writer = ShardWriter::in_memory(Labels::None).unwrap();
    for i in 0..400 {
        writer.push(NewSample { bytes: &pictures[i % 8], path: "", label: None }).unwrap();
    }
    let options = OpenOptions { in_memory, window: 4 << 20, ..OpenOptions::default() };
    let shard = Shard::in_memory("bench", writer.finish().unwrap());
    ImageDataset::from_shards_with("train", vec![shard], &options).unwrap()
}

fn benches(c: &mut Criterion) {
    let pieces = set(0);
    let memory = Arc::new(set(u64::MAX));
    let mut group = c.benchmark_group("data");
    group.throughput(Throughput::Elements(400));
    group.bench_function("every picture of a set, piece by piece", |b| {
        b.iter(|| (0..pieces.len()).map(|i| pieces.sample(i).unwrap().bytes().len()).sum::<usize>());
    });
    group.bench_function("loader, nothing to do", |b| {
        b.iter(|| {
            let config = LoaderConfig {
                seed: 0,
                batch: 40,
                partition: Partition::WHOLE,
                start: Cursor::default(),
                n_batches: 10,
                parts: 1,
                threads: 2,
                prefetch: 2,
            };
            let loader = Loader::<1, u8>::start(memory.clone(), config, 16, |_, _, _, _| Ok(())).unwrap();
            loader.map(|batch| batch.unwrap().samples.len()).sum::<usize>()
        });
    });
    group.finish();
    let sample = memory.sample(0).unwrap();
    c.bench_function("decode 500x375 JPEG", |b| {
        b.iter(|| decode(black_box(sample.bytes()), 3, Limits::STANDARD).unwrap().data.len());
    });
}

criterion_group!(all, benches);
criterion_main!(all);
