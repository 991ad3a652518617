//! Small labelled pictures, and runs that take no time.

use std::fs;

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::harness::World;

/// A run of a few steps of a narrow network.
pub const TINY: &str = "--batch 16 --set base_lr=0.1 --set length.steps=8 --set warmup.steps=2 --set encoder.width=4 --set policy.size=14 \
                    --set projector.hidden=16 --set predictor.hidden=16";

/// Stripes along, stripes across, and spots, in folders of their names unless `flat`.
pub fn pictures(world: &World, name: &str, each: u32, flat: bool) {
    for (class, kind) in ["along", "across", "spots"].iter().enumerate() {
        let folder = if flat { world.path(name) } else { world.path(name).join(kind) };
        fs::create_dir_all(&folder).unwrap();
        for i in 0..each {
            let picture = GrayImage::from_fn(16, 16, |x, y| {
                let on = match class {
                    0 => (y + i) % 4 < 2,
                    1 => (x + i) % 4 < 2,
                    _ => (x + i) % 4 < 2 && (y + i / 4) % 4 < 2,
                };
                Luma([if on { 200 + (i * 7 % 50) as u8 } else { (i * 3 % 60) as u8 }])
            });
            picture.save(folder.join(format!("{kind}-{i:03}.png"))).unwrap();
        }
    }
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// Without what a clock says, and what was typed.
pub fn timeless(mut value: Value) -> Value {
    value.as_object_mut().unwrap().remove("seconds").unwrap();
    value.as_object_mut().unwrap().remove("command");
    value
}
