//! Writes a shard in memory and streams batches out of it.

use std::sync::Arc;

use byol_data::{
    Cursor, DataError, ImageDataset, Labels, Limits, Loader, LoaderConfig, NewSample, Partition, Shard,
    ShardWriter, decode, ingest::smallest_grey_png,
};

fn main() -> Result<(), DataError> {
    let labels = Labels::Classes(vec!["dark".into(), "light".into()]);
    let mut writer = ShardWriter::in_memory(labels)?;
    for i in 0..10u8 {
        let png = smallest_grey_png(&[i * 25; 16], 4, 4)?;
        writer.push(NewSample { bytes: &png, path: "made.png", label: Some(i64::from(i / 5)) })?;
    }
    let shard = Shard::in_memory("train-00000-of-00001.parquet", writer.finish()?);
    let set = Arc::new(ImageDataset::from_shards("train", vec![shard])?);
    let config = LoaderConfig {
        seed: 0,
        batch: 4,
        partition: Partition::WHOLE,
        start: Cursor::default(),
        n_batches: 5,
        parts: 1,
        threads: 2,
        prefetch: 2,
    };
    let loader = Loader::<1>::start(set, config, 1, |set, index, _epoch, [slot]| {
        let picture = decode(set.sample(index)?.bytes(), 1, Limits::STANDARD)?;
        slot[0] = f32::from(picture.data[0]) / 255.0;
        Ok(())
    })?;
    for batch in loader {
        let batch = batch?;
        println!("{:?} {:?} {:?}", batch.cursor, batch.samples, batch.data[0]);
    }
    Ok(())
}
