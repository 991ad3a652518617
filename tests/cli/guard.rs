//! Runs that go wrong say so early; those that do not are left alone.

use std::fs;
use std::process::Command;

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::harness::World;

/// A narrow network, some seconds long.
const RECIPE: &str = "--batch 32 --set base_lr=0.2 --set length.steps=600 --set warmup.steps=20 --set encoder.width=4 \
                      --set policy.size=14 --set projector.hidden=32 --set predictor.hidden=32 --no-tensorboard";
/// Without anything that keeps it from collapsing.
const COLLAPSING: &str = "--set predictor.layers=0 --set tau_base=0 --set tau_schedule=constant";

fn steps(world: &World, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(run).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_collapse_ends_the_run_before_a_quarter_of_it() {
    let world = World::new();
    let stopped = world.run(&format!("pretrain {RECIPE} {COLLAPSING} --out run"));
    assert_eq!(stopped.code, Some(1), "{}", stopped.err);
    for word in ["collapsed", "z std", "predictor", "--guard warn"] {
        assert!(stopped.err.contains(word), "no `{word}` in {}", stopped.err);
    }
    assert!(steps(&world, "run").len() <= 150);
    assert!(!world.path("run/encoder.safetensors").exists());

    let less = "--set length.steps=200";
    let warned = world.succeed(&format!("pretrain {RECIPE} {COLLAPSING} {less} --guard warn --out warned"));
    assert_eq!(warned.err.matches("collapsed").count(), 1, "{}", warned.err);
    assert_eq!(steps(&world, "warned").len(), 200);
    let off = world.succeed(&format!("pretrain {RECIPE} {COLLAPSING} {less} --guard off --out off"));
    assert!(!off.err.contains("collapsed"), "{}", off.err);
}

#[test]
fn pictures_that_are_all_alike_teach_nothing() {
    let world = World::new();
    fs::create_dir(world.path("flat")).unwrap();
    for i in 0..64 {
        GrayImage::from_pixel(28, 28, Luma([0])).save(world.path(format!("flat/{i}.png"))).unwrap();
    }
    world.succeed("ingest flat --to set");
    let stopped = world.run(&format!("pretrain --data set {RECIPE} --set length.steps=2000 --out run"));
    assert_eq!(stopped.code, Some(1), "{}", stopped.err);
    assert!(stopped.err.contains("nothing is learned"), "{}", stopped.err);
    assert!(steps(&world, "run").len() <= 1000, "{}", stopped.err);
}

#[test]
fn a_loss_that_is_no_number_names_step_and_pictures() {
    let world = World::new();
    let stopped = world.run(&format!("pretrain {RECIPE} --set base_lr=1e30 --guard off --out run"));
    assert_eq!(stopped.code, Some(1), "{}", stopped.err);
    for word in ["diverged", "base_lr", "pictures", "pretrain --config run/run.toml --out run-again"] {
        assert!(stopped.err.contains(word), "no `{word}` in {}", stopped.err);
    }
    let about: Value = serde_json::from_slice(&fs::read(world.path("run/not-finite.json")).unwrap()).unwrap();
    let done = steps(&world, "run").len() as u64;
    let step = about["step"].as_u64().unwrap();
    assert!(step == done || step == done + 1, "step {step} after {done}");
    assert_eq!(about["pictures"].as_array().unwrap().len(), 32);
    // Nothing that is no number was written, and the way that is told fails at the same step.
    assert!(!world.path("run/checkpoints").exists() && !world.path("run/encoder.safetensors").exists());
    let again = world.run("pretrain --config run/run.toml --out run-again");
    assert_eq!(again.code, Some(1));
    assert_eq!(
        fs::read(world.path("run-again/not-finite.json")).unwrap(),
        fs::read(world.path("run/not-finite.json")).unwrap()
    );
}

#[test]
fn a_rate_of_another_optimiser_is_noticed() {
    let world = World::new();
    let less = "--set length.steps=4 --set warmup.steps=1";
    let odd = world
        .succeed(&format!("pretrain {RECIPE} {less} --set optimizer.kind=adamw --set base_lr=4 --out a"));
    assert!(odd.err.contains("AdamW usually has"), "{}", odd.err);
    let usual = world.succeed(&format!("pretrain {RECIPE} {less} --out b"));
    assert!(!usual.err.contains("usually"), "{}", usual.err);
}

#[test]
fn scores_beside_a_run_are_written_and_never_touch_the_encoder() {
    let world = World::new();
    let less = "--set length.steps=120";
    world.succeed(&format!("pretrain {RECIPE} {less} --probe --out with"));
    world.succeed(&format!("pretrain {RECIPE} {less} --no-knn --out without"));
    let [with, without] =
        ["with", "without"].map(|run| fs::read(world.path(run).join("encoder.safetensors")).unwrap());
    assert!(with == without);
    let steps = steps(&world, "with");
    let last = steps.last().unwrap();
    assert!(last["knn_top1"].as_f64().unwrap() > 0.2, "{last}"); // chance is 0.1
    assert!(steps.iter().all(|step| step["probe_top1"].is_f64()));
    let measured: Vec<u64> =
        steps.iter().filter(|s| s["rank"].is_f64()).map(|s| s["step"].as_u64().unwrap()).collect();
    assert_eq!(measured, [25, 50, 75, 100]);
    for key in ["gradient_norm", "parameter_norm", "memory_bytes"] {
        assert!(steps[24][key].as_f64().unwrap() > 0.0, "{key} in {}", steps[24]);
    }
    let sum = last["loss_v"].as_f64().unwrap() + last["loss_v_prime"].as_f64().unwrap();
    assert!((sum - last["loss"].as_f64().unwrap()).abs() < 1e-5);
}

/// A limit on the size of files is a disk that fills up in the middle of a line.
#[test]
fn a_disk_that_fails_leaves_whole_lines() {
    let world = World::new();
    let limited = "trap '' XFSZ; ulimit -f 15; exec \"$0\" \"$@\"";
    let line = format!("pretrain {RECIPE} --set length.steps=60 --guard off --no-knn --out run");
    let mut command = Command::new("sh");
    command.arg("-c").arg(limited).arg(env!("CARGO_BIN_EXE_xtask")).args(line.split_whitespace());
    let ended = command.current_dir(world.path("")).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("File too large"), "{told}");
    let text = fs::read_to_string(world.path("run/metrics.jsonl")).unwrap();
    assert!((4096..7680).contains(&text.len()), "{} bytes", text.len());
    assert!(text.ends_with('\n') && !steps(&world, "run").is_empty());
}
