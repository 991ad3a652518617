//! Pictures for tests.

use byol_augment::{CropFit, CropPolicy, EvalTransform, Filter, Normalize, Resample, Semantics, ViewPolicy};
use byol_data::{ImageDataset, Labels, NewSample, Shard, ShardWriter};

/// Pictures of 4 × 4 grey values, with labels of three classes.
pub fn set(pictures: &[Vec<u8>], labels: &[usize]) -> ImageDataset {
    let mut writer =
        ShardWriter::in_memory(Labels::Classes(vec!["a".into(), "b".into(), "c".into()])).unwrap();
    for (pixels, label) in pictures.iter().zip(labels) {
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4), }\n";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(pixels);
        writer.push(NewSample { bytes: &bytes, path: "a.npy", label: Some(*label as i64) }).unwrap();
    }
    let shard = Shard::in_memory("train-00000-of-00001.parquet", writer.finish().unwrap());
    ImageDataset::from_shards("train", vec![shard]).unwrap()
}

/// Pictures as they are.
pub fn as_they_are() -> (ViewPolicy, EvalTransform) {
    let normalize = Normalize { mean: vec![0.0], std: vec![1.0] };
    let (semantics, resample) = (Semantics::Paper, Resample { filter: Filter::Bicubic, antialias: false });
    let views = ViewPolicy {
        semantics,
        size: 4,
        resample,
        crop: CropPolicy { area: [1.0, 1.0], aspect: [1.0, 1.0], fit: CropFit::Clamp },
        ops: Vec::new(),
        normalize: normalize.clone(),
    };
    (views, EvalTransform { semantics, size: 4, crop: 1.0, resample, normalize })
}
