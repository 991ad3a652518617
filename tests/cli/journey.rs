//! The whole way: train, score, look; and the same bits for any threads.

use std::fs;

use serde_json::Value;

use crate::harness::World;

/// A run of a few steps of a narrow network.
const TINY: &str = "--batch 16 --set base_lr=0.1 --set length.steps=6 --set warmup.steps=2 --set encoder.width=4 --set policy.size=14 \
                    --set projector.hidden=16 --set predictor.hidden=16";

fn losses(metrics: &str) -> Vec<(u64, f64)> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        for key in ["epoch", "lr", "tau", "images_per_second", "data_wait", "z_std"] {
            assert!(value[key].is_number(), "no {key} in {line}");
        }
        (value["step"].as_u64().unwrap(), value["loss"].as_f64().unwrap())
    };
    metrics.lines().map(line).collect()
}

/// Learning rate and tau of each of TINY's 6 steps, 2 of them warm-up.
fn schedules_were_followed(metrics: &str) {
    let cosine = |x: f64| 0.5 * (1.0 + (std::f64::consts::PI * x).cos());
    let peak = 0.1 * 16.0 / 256.0;
    for (k, line) in metrics.lines().enumerate() {
        let value: Value = serde_json::from_str(line).unwrap();
        let k = k as f64;
        let lr = if k < 2.0 { peak * k / 2.0 } else { peak * cosine((k - 2.0) / 4.0) };
        let tau = 1.0 - 0.05 * cosine(k / 6.0);
        assert!((value["lr"].as_f64().unwrap() - lr).abs() < 1e-12, "{line}");
        assert!((value["tau"].as_f64().unwrap() - tau).abs() < 1e-12, "{line}");
    }
}

#[test]
fn losses_do_not_depend_on_threads() {
    let world = World::new();
    let mut seen = Vec::new();
    for (i, threads) in [
        "--threads 1 --loader-threads 1",
        "--threads 2 --loader-threads 1",
        "--threads 1 --loader-threads 2",
        "--threads 2 --loader-threads 2",
    ]
    .iter()
    .enumerate()
    {
        world.succeed(&format!("pretrain {TINY} {threads} --out run{i}"));
        let losses = losses(&fs::read_to_string(world.path(format!("run{i}/metrics.jsonl"))).unwrap());
        assert_eq!(losses.len(), 6);
        schedules_were_followed(&fs::read_to_string(world.path(format!("run{i}/metrics.jsonl"))).unwrap());
        seen.push((losses, fs::read(world.path(format!("run{i}/encoder.safetensors"))).unwrap()));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    world.succeed(&format!("pretrain {TINY} --seed 1 --out other"));
    let other = losses(&fs::read_to_string(world.path("other/metrics.jsonl")).unwrap());
    assert_ne!(seen[0].0, other);
}

#[test]
fn presets_are_listed_for_people_and_machines() {
    let world = World::new();
    assert!(world.succeed("presets").out.contains("quick"));
    let list: Value = serde_json::from_str(&world.succeed("presets --json").out).unwrap();
    let named = |name: &str| list["presets"].as_array().unwrap().iter().any(|p| p["name"] == name);
    assert!(named("quick") && named("paper-1000"));
    let one: Value = serde_json::from_str(&world.succeed("presets paper-300 --json").out).unwrap();
    assert_eq!((one["base_lr"].as_f64(), one["batch"].as_u64()), (Some(0.3), Some(4096)));
}

#[test]
fn a_run_is_scored_and_looked_at() {
    let world = World::new();
    let trained = world.succeed(&format!("pretrain {TINY} --json"));
    let result: Value = serde_json::from_str(&trained.out).unwrap();
    assert_eq!(result["steps"], 6);
    let scored = world.succeed("knn --json");
    let result: Value = serde_json::from_str(&scored.out).unwrap();
    assert_eq!(result["n_test"], 10_000);
    for part in [&result, &result["random_init"], &result["pixels"]] {
        let number = |key: &str| part[key].as_f64().unwrap();
        assert!(number("top1_low") < number("top1") && number("top1") < number("top1_high"));
        assert!(number("top5") >= number("top1"));
    }
    assert!(result["random_init"]["mcnemar_p"].is_number());
    let table = world.succeed("knn");
    assert!(table.out.contains("same encoder, random init") && table.out.contains("raw pixels"));
    world.succeed("preview --rows 2 --out views.png");
    assert!(fs::read(world.path("views.png")).unwrap().starts_with(b"\x89PNG"));
    let run = fs::read_dir(world.path("runs")).unwrap().next().unwrap().unwrap().path();
    let config = run.join("run.toml");
    // A run on a folder is repeated on that folder.
    let data = world.path("set/data");
    fs::create_dir_all(&data).unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/fashion-mnist-mini/data/");
    let shard = "test-00000-of-00001.parquet";
    fs::copy(format!("{shipped}{shard}"), data.join("train-00000-of-00001.parquet")).unwrap();
    world.succeed(&format!("pretrain {TINY} --data set --out on-set"));
    world.succeed("pretrain --config on-set/run.toml --out on-set-again");
    assert_eq!(
        fs::read(world.path("on-set/encoder.safetensors")).unwrap(),
        fs::read(world.path("on-set-again/encoder.safetensors")).unwrap()
    );
    world.succeed(&format!("pretrain --config {} --out again", config.display()));
    assert_eq!(
        fs::read(run.join("encoder.safetensors")).unwrap(),
        fs::read(world.path("again/encoder.safetensors")).unwrap(),
        "a run started from a run.toml is the same run"
    );
}
