//! Encoders that come and go as files: export, --weights, --init; and the table of models.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::World;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/weights");
const TINY: &str = "--batch 16 --set length.steps=2 --set warmup.steps=1 --set encoder.width=2 --set policy.size=14 \
                    --set projector.hidden=8 --set predictor.hidden=8";

#[test]
fn an_encoder_leaves_as_safetensors_and_onnx() {
    let world = World::new();
    world.succeed(&format!("pretrain {TINY} --out run"));
    let said = world.succeed("export --run run --format safetensors --out out.safetensors --json");
    let said: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(said["format"], "safetensors");
    assert_eq!(said["description"]["architecture"], "resnet18_w2_small_stride2");
    assert_eq!(said["description"]["preprocessing"]["size"], 14);
    assert_eq!(said["description"]["preset"], "quick");
    let (ours, run) = (world.path("out.safetensors"), world.path("run/encoder.safetensors"));
    assert_eq!(fs::read(ours).unwrap(), fs::read(run).unwrap(), "an export is the run's file, bit for bit");
    world.succeed("export --weights out.safetensors --format onnx --out out.onnx");
    let onnx = fs::read(world.path("out.onnx")).unwrap();
    for word in ["GlobalAveragePool", "layer4.1.conv2.weight", "representation", "small_stride2"] {
        assert!(onnx.windows(word.len()).any(|window| window == word.as_bytes()), "no {word}");
    }
    // The same through a file of PyTorch's.
    let golden = format!("export --weights {GOLDEN}/legacy.pth --size 16 --mean 0.5 --std 0.25 --out legacy");
    assert!(world.succeed(&golden).out.contains("16 x 16"));
}

#[test]
fn weights_are_scored_and_trained_on() {
    let world = World::new();
    world.succeed(&format!("pretrain {TINY} --out run"));
    let of_run: Value = serde_json::from_str(&world.succeed("knn --run run --json").out).unwrap();
    fs::copy(world.path("run/encoder.safetensors"), world.path("w.safetensors")).unwrap();
    let of_file: Value =
        serde_json::from_str(&world.succeed("knn --weights w.safetensors --json").out).unwrap();
    for key in ["top1", "top5", "random_init", "pixels", "protocol"] {
        assert_eq!(of_run[key], of_file[key], "{key}");
    }
    // No step at all leaves the encoder as it came, but for running statistics.
    world.succeed(&format!("pretrain {TINY} --set base_lr=0 --init w.safetensors --out on"));
    let plan = fs::read_to_string(world.path("on/run.toml")).unwrap();
    assert!(plan.contains("[init]") && plan.contains("w.safetensors"), "{plan}");
    let weights = |path: &str| -> Vec<u8> {
        let bytes = fs::read(world.path(path)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor("layer3.0.conv1.weight").unwrap().data().to_vec()
    };
    assert_eq!(weights("on/encoder.safetensors"), weights("run/encoder.safetensors"));
    // A run.toml with an init is a recipe with it.
    world.succeed("pretrain --config on/run.toml --out again");
    assert_eq!(
        fs::read(world.path("on/encoder.safetensors")).unwrap(),
        fs::read(world.path("again/encoder.safetensors")).unwrap()
    );
}

#[test]
fn bad_weights_are_refused_at_the_command_line() {
    let world = World::new();
    let out = "--out never.safetensors";
    world.fail(&format!("export --weights absent.pth {out}"), 1, &["absent.pth", "No such file"]);
    world.fail(&format!("export --weights . {out}"), 1, &["no plain file"]);
    world.fail(&format!("export --weights {GOLDEN}/calls.pth {out}"), 1, &["posix.system", "refused"]);
    world.fail(&format!("export --weights {GOLDEN}/make.py {out}"), 1, &["make.py", "neither"]);
    world.fail(&format!("export --weights {GOLDEN}/zip.pth {out}"), 2, &["zip.pth", "--size"]);
    world.fail(&format!("export --weights {GOLDEN}/zip.pth --size 16 {out}"), 2, &["1 channel", "--mean"]);
    world.fail(&format!("export --weights {GOLDEN}/zip.pth --size 16 --mean 0 --std 0 {out}"), 2, &["std"]);
    world.fail(&format!("export --run runs/x --weights y {out}"), 2, &["--weights"]);
    world.fail(&format!("export --weights a --format tflite {out}"), 2, &["tflite", "onnx"]);
    let init = format!("pretrain {TINY} --init {GOLDEN}/zip.pth");
    world.fail(&format!("{init} --set encoder.depth=34"), 2, &["resnet18_w2", "--set encoder.depth=18"]);
    world.fail(&format!("{init} --set encoder.stem=imagenet"), 2, &["--set encoder.stem=small"]);
    let cut = &fs::read(Path::new(GOLDEN).join("zip.pth")).unwrap()[..3000];
    fs::write(world.path("cut.pth"), cut).unwrap();
    world.fail(&format!("export --weights cut.pth {out}"), 1, &["cut.pth"]);
}

#[test]
fn models_are_counted_and_measured() {
    let world = World::new();
    let table: Value = serde_json::from_str(&world.succeed("models --json").out).unwrap();
    let row = |name: &str| {
        let rows = table["models"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    assert_eq!(row("resnet50")["parameters"], 23_508_032);
    assert_eq!(row("resnet50")["memory_is"], "estimated");
    assert_eq!(row("resnet200_2x")["dim"], 4096);
    let text = world.succeed("models resnet18_w2 resnet18_w2_v2 --size 16 --batch 4 --hidden 8 --proj 4").out;
    assert!(text.contains("resnet18_w2_v2") && text.contains(" e\n"), "{text}");
    world.fail("models resnet19", 2, &["resnet19", "resnet50_2x"]);
    if cfg!(target_os = "linux") {
        let line = "models resnet18 --size 32 --batch 4 --measure --json";
        let table: Value = serde_json::from_str(&world.succeed(line).out).unwrap();
        assert_eq!(table["models"][0]["memory_is"], "measured");
        assert!(table["models"][0]["memory_bytes"].as_u64().unwrap() > 100 << 20);
    }
}
