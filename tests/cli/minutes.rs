//! Runs by the clock.

use std::fs;

use serde_json::Value;

use crate::harness::World;

const RECIPE: &str = "--batch 32 --set encoder.width=4 --set policy.size=14 --set projector.hidden=16 \
                      --set predictor.hidden=16 --no-tensorboard --no-knn";

fn plan(world: &World, run: &str) -> toml::Table {
    fs::read_to_string(world.path(run).join("run.toml")).unwrap().parse().unwrap()
}

fn encoder(world: &World, run: &str) -> Vec<u8> {
    fs::read(world.path(run).join("encoder.safetensors")).unwrap()
}

/// No time is asserted: that the schedules end when the run does, whatever the machine did.
#[test]
fn schedules_end_when_the_time_does_and_can_be_replayed() {
    let world = World::new();
    world.succeed(&format!("pretrain {RECIPE} --minutes 0.1 --checkpoint-steps 7 --keep-last 9 --out run"));
    let text = fs::read_to_string(world.path("run/metrics.jsonl")).unwrap();
    let steps: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let run = plan(&world, "run");
    assert_eq!(run["total_steps"].as_integer(), Some(steps.len() as i64));
    assert!(run["legs"].as_array().unwrap().len() > 5);
    let lr = |step: &Value| step["lr"].as_f64().unwrap();
    let peak = steps.iter().map(lr).fold(0.0, f64::max);
    assert!((peak / run["peak_lr"].as_float().unwrap() - 1.0).abs() < 0.05, "peak {peak}");
    // A step of some hundreds is left at the end, if that.
    let last = steps.last().unwrap();
    assert!(lr(last) < 0.02 * peak, "{last}");
    assert!(last["tau"].as_f64().unwrap() > 0.999, "{last}");
    assert!(steps.windows(2).all(|pair| pair[0]["tau"].as_f64() <= pair[1]["tau"].as_f64()));

    // From the record, with no clock.
    world.succeed("pretrain --config run/run.toml --no-tensorboard --no-knn --out replay");
    assert_eq!(plan(&world, "replay")["legs"], run["legs"]);
    assert!(encoder(&world, "replay") == encoder(&world, "run"));

    // Another recipe is another run, measured anew.
    world.succeed("pretrain --config run/run.toml --set minutes=0.03 --no-tensorboard --no-knn --out other");
    assert!(plan(&world, "other")["total_steps"].as_integer() < run["total_steps"].as_integer());
    let warmup = run["warmup_steps"].as_integer().unwrap() as usize;
    assert!((lr(&steps[warmup]) / peak - 1.0).abs() < 0.05, "{warmup} steps of warm-up");

    // And gone on with.
    let checkpoints = fs::read_dir(world.path("run/checkpoints")).unwrap().count();
    assert!(checkpoints > 1);
    fs::remove_file(world.path("replay/encoder.safetensors")).unwrap();
    world.succeed("pretrain --resume replay");
    assert!(encoder(&world, "replay") == encoder(&world, "run"));
}

#[test]
fn minutes_that_cannot_be_are_refused() {
    let world = World::new();
    for minutes in ["0", "-1", "nan", "1e9"] {
        world.fail(&format!("pretrain --minutes {minutes}"), 2, &["minutes"]);
    }
    world.fail("pretrain --minutes 3 --epochs 3", 2, &["--minutes", "--epochs"]);
    world.fail("pretrain --minutes soon", 2, &["--minutes"]);
}
