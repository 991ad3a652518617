//! A run that was stopped is the run that was not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::World;

/// Some seconds of a narrow network, with accumulation.
const RECIPE: &str = "--batch 32 --set accumulation=2 --set base_lr=0.1 --set length.epochs=0.2 --set warmup.steps=5 \
                      --set encoder.width=4 --set policy.size=14 --set projector.hidden=16 --set predictor.hidden=16";
const STEPS: u64 = 62; // 0.2 epochs of 312 batches

fn spawn(world: &World, line: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(world.path("")).args(line.split_whitespace());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A long run into `run` that has taken its first steps.
fn running(world: &World) -> Child {
    let child = spawn(world, &format!("pretrain {RECIPE} --set length.epochs=50 --out run"));
    let begun = Instant::now();
    while !fs::metadata(world.path("run/metrics.jsonl")).is_ok_and(|about| about.len() > 200) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it takes no steps");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Lines of metrics without what a clock says.
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let end = begin + line.len();
        assert_eq!(begin / 4096, (end - 1) / 4096, "a line across a page, which a reader may see half of");
        begin = end;
    }
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        for key in ["images_per_second", "data_wait", "observing"] {
            assert!(value.as_object_mut().unwrap().remove(key).is_some(), "no {key} in {line}");
        }
        value.as_object_mut().unwrap().remove("memory_bytes");
        value
    };
    text.lines().map(line).collect()
}

fn checkpoint(step: u64) -> String {
    format!("checkpoints/step-{step:09}.safetensors")
}

#[test]
fn a_run_that_is_killed_again_and_again_is_the_same_to_the_bit() {
    let world = World::new();
    let rules = "--checkpoint-steps 5 --keep-last 2 --keep-every 30";
    world.succeed(&format!("pretrain {RECIPE} {rules} --threads 1 --out whole"));
    let lines =
        || fs::read(world.path("run/metrics.jsonl")).map_or(0, |text| text.split(|b| *b == b'\n').count());
    let mut killed = 0;
    for i in 0..10u32 {
        let threads = 1 + i % 2;
        let how = if world.path("run/run.toml").exists() {
            "--resume run".to_owned() // run.toml knows the rules
        } else {
            let _ = fs::remove_dir_all(world.path("run")); // not even its plan was written
            format!("{RECIPE} {rules} --out run")
        };
        let mut child = spawn(&world, &format!("pretrain {how} --threads {threads}"));
        // Soon after some step, wherever that finds it; at first before there is any. By steps
        // and not by the clock, so that a busy machine has as many kills.
        let step = i as usize * 6 + i as usize * 7 % 5;
        while i > 0 && lines() < step && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(5 + u64::from(i * 37 % 60)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    world.succeed("pretrain --resume run --threads 2");
    assert!(killed >= 5, "only {killed} of 10 were killed");
    let (whole, run) = (world.path("whole"), world.path("run"));
    assert_eq!(metrics(&run), metrics(&whole));
    for file in ["encoder.safetensors", "run.toml", &checkpoint(30), &checkpoint(60), &checkpoint(STEPS)] {
        assert!(fs::read(run.join(file)).unwrap() == fs::read(whole.join(file)).unwrap(), "{file} differs");
    }
    let kept = fs::read_dir(run.join("checkpoints")).unwrap().count();
    assert_eq!(kept, 3, "the last two, and that of step 30");
    let ended = world.succeed("pretrain --resume run");
    assert!(ended.err.contains("has ended"), "{}", ended.err);
}

#[test]
fn other_optimisers_and_what_watches_go_on_to_the_bit() {
    let world = World::new();
    for (name, set) in [
        ("adamw", "--set optimizer.kind=adamw --set base_lr=0.008 --probe"),
        ("lars", "--set optimizer.kind=lars --set base_lr=2"),
    ] {
        let rules = "--checkpoint-steps 30 --keep-last 9";
        world.succeed(&format!("pretrain {RECIPE} {set} {rules} --out {name}"));
        let run = world.path(name);
        let (whole, of) = (fs::read(run.join(checkpoint(STEPS))).unwrap(), metrics(&run));
        for file in [checkpoint(STEPS), checkpoint(60), "encoder.safetensors".into()] {
            fs::remove_file(run.join(file)).unwrap();
        }
        world.succeed(&format!("pretrain --resume {name}"));
        assert!(fs::read(run.join(checkpoint(STEPS))).unwrap() == whole, "{name}");
        assert_eq!(metrics(&run), of, "{name}");
    }
}

#[test]
fn a_run_is_trained_by_one_process() {
    let world = World::new();
    let mut child = running(&world);
    let other = world.run("pretrain --resume run");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(other.code, Some(1), "{}", other.err);
    assert!(other.err.contains("another process"), "{}", other.err);
}

#[test]
fn an_interrupt_saves_and_is_told() {
    let world = World::new();
    let mut child = running(&world);
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let done = metrics(&world.path("run")).len() as u64;
    assert!(world.path("run").join(checkpoint(done)).exists(), "the checkpoint of the last step");
    assert!(!world.path("run/encoder.safetensors").exists());
}

#[test]
fn what_cannot_be_gone_on_with_is_named() {
    let world = World::new();
    world.succeed(&format!(
        "pretrain {RECIPE} --set length.steps=12 --checkpoint-steps 5 --out run --keep-last 9"
    ));
    let last = world.path("run").join(checkpoint(12));
    fs::remove_file(world.path("run/encoder.safetensors")).unwrap();
    let bytes = fs::read(&last).unwrap();
    for at in [3, 40, 2000, bytes.len() / 2, bytes.len() - 1] {
        let mut other = bytes.clone();
        other[at] ^= 4;
        fs::write(&last, other).unwrap();
        world.fail("pretrain --resume run", 1, &["step-000000012", "damaged", "--checkpoint 10"]);
    }
    for length in [0, 7, 100, bytes.len() - 1] {
        fs::write(&last, &bytes[..length]).unwrap();
        world.fail("pretrain --resume run", 1, &["step-000000012", "--checkpoint 10"]);
    }
    world.fail("pretrain --resume run --checkpoint 11", 2, &["--checkpoint 11", "5, 10, 12"]);
    // The one before it leads to the same end.
    world.succeed("pretrain --resume run --checkpoint 10");
    assert!(fs::read(&last).unwrap() == bytes);

    fs::remove_file(world.path("run/encoder.safetensors")).unwrap();
    let plan = fs::read_to_string(world.path("run/run.toml")).unwrap();
    fs::write(world.path("run/run.toml"), plan.replace("base_lr = 0.1", "base_lr = 0.2")).unwrap();
    world.fail("pretrain --resume run", 1, &["run.toml", "spec.base_lr is 0.2, was 0.1", "--force"]);
    assert!(world.succeed("pretrain --resume run --force --checkpoint 5").err.contains("base_lr"));
    // What is derived of it has followed, and the record is true.
    let forced = fs::read_to_string(world.path("run/run.toml")).unwrap();
    assert!(forced.contains("base_lr = 0.2") && forced.contains("peak_lr = 0.025"), "{forced}");
    assert_eq!(metrics(&world.path("run"))[4]["lr"].as_f64(), Some(0.1 * 4.0 / 5.0 / 8.0));
    assert_eq!(metrics(&world.path("run"))[5]["lr"].as_f64(), Some(0.2 / 8.0));
    fs::remove_file(world.path("run/encoder.safetensors")).unwrap();

    // Other pictures.
    fs::create_dir_all(world.path("photos")).unwrap();
    for i in 0..40u8 {
        let picture = image::GrayImage::from_fn(28, 28, |x, y| {
            image::Luma([(x as u8).wrapping_mul(i).wrapping_add(y as u8)])
        });
        picture.save(world.path(format!("photos/{i}.png"))).unwrap();
    }
    world.succeed("ingest photos --to set");
    world.fail("pretrain --resume run --data set", 1, &["not those that the run began with", "--force"]);
    world.succeed(
        "pretrain --data set --preset quick --batch 8 --set length.steps=2 --set warmup.steps=0 --out of-set",
    );
    fs::remove_file(world.path("photos/0.png")).unwrap();
    world.succeed("ingest photos --to set");
    world.fail("pretrain --config of-set/run.toml --out other", 1, &["have changed", "--data"]);
    world.fail("pretrain --resume nowhere", 1, &["nowhere", "run.toml"]);
    world.fail("pretrain --resume run --epochs 3", 2, &["--epochs"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_leaves_the_last_checkpoint() {
    let world = World::new();
    // A limit on the length of files stands for a disk without room: metrics are lost first
    // and end nothing, then a checkpoint cannot be written.
    let line = format!("pretrain {RECIPE} --set length.steps=12 --checkpoint-steps 5 --out run");
    world.succeed(&line.replace("--out run", "--out whole"));
    let checkpoint_kb = fs::metadata(world.path("whole").join(checkpoint(10))).unwrap().len() / 1024;
    let script = format!("trap '' XFSZ; ulimit -f {checkpoint_kb}; exec \"$0\" {line}"); // blocks of 512 bytes
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_xtask")])
        .current_dir(world.path(""))
        .output();
    let output = output.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("writing") && err.contains("checkpoints") && err.contains("os error"), "{err}");
    assert!(!world.path("run/encoder.safetensors").exists());
    world.succeed("pretrain --resume run");
    assert_eq!(metrics(&world.path("run")), metrics(&world.path("whole")));
}
