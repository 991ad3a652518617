//! Batches as arrays of ndarray: [pictures, height, width, channels] of bytes.
//!
//!     cargo run --example ndarray

use std::sync::Arc;

use byol_data::{
    Cursor, DataError, ImageDataset, Labels, Limits, Loader, LoaderConfig, NewSample, Partition, Shard,
    ShardWriter, decode, ingest::smallest_grey_png,
};
use ndarray::Array4;

fn main() -> Result<(), DataError> {
    let mut writer = ShardWriter::in_memory(Labels::None)?;
    for i in 0..32u8 {
        let png = smallest_grey_png(&[i * 8; 20], 5, 4)?;
        writer.push(NewSample { bytes: &png, path: "made.png", label: None })?;
    }
    let set = ImageDataset::from_shards("train", vec![Shard::in_memory("train", writer.finish()?)])?;
    let config = LoaderConfig {
        seed: 0,
        batch: 8,
        partition: Partition::WHOLE,
        start: Cursor::default(),
        n_batches: 4,
        parts: 1,
        threads: 2,
        prefetch: 2,
    };
    let loader = Loader::<1, u8>::start(Arc::new(set), config, 20, |set, index, _, [slot]| {
        slot.copy_from_slice(&decode(set.sample(index)?.bytes(), 1, Limits::STANDARD)?.data);
        Ok(())
    })?;
    for batch in loader {
        let [bytes] = batch?.data;
        // Its shape is known: 8 pictures of 4 rows, 5 columns, 1 channel.
        let array =
            Array4::from_shape_vec((8, 4, 5, 1), bytes).map_err(|e| DataError::Sample(e.to_string()))?;
        println!("{:?}: mean {:.1}", array.shape(), array.mapv(f32::from).mean().unwrap_or_default());
    }
    Ok(())
}
