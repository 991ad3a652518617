//! A folder of pictures into shards, and batches out of them into a plain Vec.
//!
//!     cargo run --release --example folder -- PHOTOS SHARDS

use std::path::PathBuf;
use std::sync::Arc;

use byol_data::ingest::{IngestOptions, ingest};
use byol_data::{Cursor, DataError, ImageDataset, Limits, Loader, LoaderConfig, Partition, decode};

/// Pixels a side of what is streamed.
const SIDE: usize = 64;

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(photos), Some(shards)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: folder PHOTOS SHARDS");
        return Ok(());
    };
    let options = IngestOptions { max_side: Some(256), ..IngestOptions::STANDARD };
    let report = ingest(&photos, &shards, &options, |_, _| {})?;
    println!("{:?}, {} faults", report.splits, report.faults);

    let set = Arc::new(ImageDataset::open(&shards, "train")?);
    let config = LoaderConfig {
        seed: 0,
        batch: 8.min(set.len()),
        partition: Partition::WHOLE,
        start: Cursor::default(),
        n_batches: 10,
        parts: 1,
        threads: 2,
        prefetch: 2,
    };
    let mut loader = Loader::<1>::start(set, config, SIDE * SIDE * 3, |set, index, _epoch, [slot]| {
        let sample = set.sample(index)?;
        let picture =
            decode(sample.bytes(), 3, Limits::STANDARD).map_err(|e| set.picture_error(index, &e))?;
        for (i, value) in slot.iter_mut().enumerate() {
            let (x, y) = (i / 3 % SIDE * picture.width / SIDE, i / 3 / SIDE * picture.height / SIDE);
            *value = f32::from(picture.data[(y * picture.width + x) * 3 + i % 3]) / 255.0;
        }
        Ok(())
    })?;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let pixels: &Vec<f32> = &batch.data[0];
        let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
        println!("{:?}: {} pictures, mean {mean:.3}", batch.cursor, batch.samples.len());
        loader.recycle(batch);
    }
    println!("waited for data: {:?}", loader.waited());
    Ok(())
}
