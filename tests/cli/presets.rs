//! Every recipe that ships is what its source says, and runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use byol_train::SpecBuilder;
use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::harness::World;

/// The resolved recipes, each value of them, as they stood when they were compared with their
/// sources. To write them anew after a change that is meant: `xtask presets NAME --json`.
#[test]
fn every_preset_resolves_to_the_values_on_record() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/snapshots/presets");
    let world = World::new();
    let mut names = BTreeSet::new();
    for name in SpecBuilder::presets() {
        let is: Value = serde_json::from_str(&world.succeed(&format!("presets {name} --json")).out).unwrap();
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap_or_default();
        let was: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(is, was, "{name}");
        names.insert(format!("{name}.json"));
    }
    let on_record: BTreeSet<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, on_record);
}

#[test]
fn every_preset_runs_a_step_of_its_real_network() {
    let world = World::new();
    fs::create_dir(world.path("photos")).unwrap();
    for i in 0..2u32 {
        let pixel = |x: u32, y: u32| Rgb([(x * 3 + i * 40) as u8, (y * 5) as u8, ((x ^ y) * (i + 1)) as u8]);
        RgbImage::from_fn(80, 60, pixel).save(world.path(format!("photos/{i}.png"))).unwrap();
    }
    world.succeed("ingest photos --to set");
    for name in SpecBuilder::presets() {
        // These normalise by the mean of the set that ships.
        let data = if matches!(name, "quick" | "fashion") { "" } else { "--data set" };
        let less = "--batch 2 --set length.steps=1 --set warmup.steps=0";
        world.succeed(&format!("pretrain --preset {name} {data} {less} --out {name}"));
        let metrics = fs::read_to_string(world.path(format!("{name}/metrics.jsonl"))).unwrap();
        let step: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
        // Two pictures of random networks: neither alike nor opposite.
        let loss = step["loss"].as_f64().unwrap();
        assert!(loss > 0.0 && loss < 8.0, "{name}: {step}");

        let plan = fs::read_to_string(world.path(format!("{name}/run.toml"))).unwrap();
        let ran = SpecBuilder::preset(name).and_then(|b| b.file(&plan, "run.toml")).unwrap().build().unwrap();
        let mut asked = SpecBuilder::preset(name).unwrap().build().unwrap();
        (asked.batch, asked.length, asked.warmup) = (ran.batch, ran.length, ran.warmup);
        assert_eq!(ran, asked);
    }
}
