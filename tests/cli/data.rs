//! Pictures as they come, through the program: ingest, inspect, train, bench; killed, and on
//! disks that are full.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::World;

/// A picture whose pixels depend on `seed`.
fn picture(seed: u32, side: u32) -> image::RgbImage {
    image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 7 + seed) as u8, (y * 5) as u8, (x * y + seed * 3) as u8])
    })
}

/// Folders of `n` pictures in two classes.
fn photos(at: &Path, n: u32, side: u32) {
    for i in 0..n {
        let class = at.join(["cats", "dogs"][i as usize % 2]);
        fs::create_dir_all(&class).unwrap();
        picture(i, side)
            .save(class.join(format!("{i:03}.{}", if i % 3 == 0 { "jpg" } else { "png" })))
            .unwrap();
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Names and contents of all files below a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((
                    path.strip_prefix(folder).unwrap().display().to_string(),
                    fs::read(&path).unwrap(),
                ));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_folder_of_pictures_becomes_an_encoder() {
    let world = World::new();
    photos(&world.path("photos"), 30, 20);
    fs::write(world.path("photos/cats/broken.jpg"), b"no picture").unwrap();
    let made = world.succeed("ingest photos --to set --val 0.2 --json");
    let report = json(&made.out);
    assert_eq!((report["samples"].as_u64(), report["faults"].as_u64()), (Some(30), Some(1)));
    assert_eq!(report["classes"], serde_json::json!(["cats", "dogs"]));
    assert!(fs::read_to_string(world.path("set/faults.csv")).unwrap().contains("cats/broken.jpg"));

    let seen = json(&world.succeed("inspect set --json --sheets sheets").out);
    assert_eq!((seen["samples"].as_u64(), seen["channels"].as_u64()), (Some(30), Some(3)));
    assert_eq!(seen["classes"][0], serde_json::json!({ "name": "cats", "count": 15 }));
    assert_eq!((seen["faults"].as_u64(), seen["duplicates"].as_u64()), (Some(0), Some(0)));
    assert_eq!(seen["mean"].as_array().unwrap().len(), 3);
    assert!(fs::read(world.path("sheets/001-dogs.png")).unwrap().starts_with(b"\x89PNG"));
    let text = world.succeed("inspect set --no-sheets").out;
    assert!(text.contains("30 pictures") && text.contains("20x20") && text.contains("dogs"), "{text}");

    let tiny =
        "--set length.steps=2 --set warmup.steps=1 --set policy.size=16 --set encoder.width=4 --batch 4";
    world.succeed(&format!("pretrain --data set {tiny} --out run"));
    assert!(world.path("run/encoder.safetensors").exists());
    let bench =
        json(&world.succeed("bench data --data photos --size 8 --pictures 24 --threads 1 --json").out);
    assert!(bench["images_per_second"].as_f64().unwrap() > 0.0 && bench["stages"]["decode"].is_number());
    assert_eq!(bench["threads"], 1);
    world.fail("pretrain --data photos --out other", 1, &["photos", "cargo xtask ingest"]);
}

#[test]
fn sets_that_do_not_fit_and_foreign_columns_are_told_of() {
    let world = World::new();
    photos(&world.path("photos"), 4, 8);
    world.succeed("ingest photos --to set");
    world.fail("inspect set --split test", 1, &["no `test` shards", "the splits there are: train"]);
    world.fail("inspect set --image-column photo", 1, &["no column `photo`"]);
    world.fail("ingest nowhere --to x", 1, &["nowhere", "No such file"]);
    world.fail("ingest photos/cats/000.jpg --to x", 1, &["000.jpg", "not a source"]);
    world.fail("ingest photos --to x --format idx", 1, &["photos", "idx3-ubyte"]);
    world.fail("ingest photos --to photos/cats/000.jpg", 1, &["000.jpg"]);
    fs::create_dir_all(world.path("mine/data")).unwrap();
    fs::write(world.path("mine/data/thesis.tex"), b"x").unwrap();
    world.fail("ingest photos --to mine", 1, &["thesis.tex", "no shard"]);
    fs::create_dir(world.path("void")).unwrap();
    world.fail("ingest void --to x", 1, &["void", "no pictures"]);
}

#[test]
fn an_ingest_that_is_killed_again_and_again_makes_the_same_set() {
    let world = World::new();
    photos(&world.path("photos"), 120, 90);
    fs::write(world.path("photos/dogs/cut.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let words = ["--val", "0.2", "--shard-size", "1", "--dedup", "--threads", "1"];
    let ingest = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.current_dir(world.path("")).args(["ingest", "photos", "--to", to]).args(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let start = Instant::now();
    assert!(ingest("whole").status().unwrap().success());
    let whole_time = start.elapsed();
    let mut killed = 0;
    for i in 0..20u32 {
        let mut child = ingest("set").spawn().unwrap();
        // At instants that are spread over the time that it takes.
        std::thread::sleep(whole_time.mul_f64(f64::from(i * 7 % 20) / 20.0) + Duration::from_millis(2));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        // One that was killed after its report may have left its journal, which the next takes up.
        let ended = child.wait().unwrap().success();
        if ended && i < 19 {
            assert_eq!(contents(&world.path("set")), contents(&world.path("whole")), "after {i} kills");
            fs::remove_dir_all(world.path("set")).unwrap();
        }
    }
    assert!(ingest("set").status().unwrap().success());
    assert_eq!(contents(&world.path("set")), contents(&world.path("whole")));
    assert!(killed >= 10, "only {killed} of 20 were killed");
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_leaves_the_old_set() {
    let world = World::new();
    photos(&world.path("photos"), 40, 60);
    world.succeed("ingest photos --to set --first 3");
    let before = contents(&world.path("set"));
    // A limit on the length of files stands for a disk without room: the same errors.
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" ingest photos --to set";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_xtask")])
        .current_dir(world.path(""))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("writing set/.ingest/train-00000") && error.contains("File too large"), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    let kept: Vec<_> =
        contents(&world.path("set")).into_iter().filter(|(name, _)| !name.starts_with(".ingest")).collect();
    assert_eq!(kept, before);
    // And with room again it goes through.
    world.succeed("ingest photos --to set");
    assert!(!world.path("set/.ingest").exists());
    assert_ne!(contents(&world.path("set")), before);
}
