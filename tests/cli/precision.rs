//! Training whose convolutions multiply bf16 values.

use std::fs;

use crate::harness::World;

const RECIPE: &str = "--batch 16 --set length.steps=6 --set warmup.steps=2 --set encoder.width=4 \
                      --set policy.size=14 --set projector.hidden=16 --set predictor.hidden=16 \
                      --no-tensorboard --no-knn";

fn encoder(world: &World, run: &str) -> Vec<u8> {
    fs::read(world.path(run).join("encoder.safetensors")).unwrap()
}

#[test]
fn a_recipe_says_bf16_and_its_runs_are_the_same_bits() {
    let world = World::new();
    world.succeed(&format!("pretrain {RECIPE} --out exact"));
    let said = world.succeed(&format!("pretrain {RECIPE} --set precision=bf16 --out low"));
    assert!(said.err.contains("bf16"), "{}", said.err);
    let plan = fs::read_to_string(world.path("low/run.toml")).unwrap();
    assert!(plan.contains("precision = \"bf16\""), "{plan}");
    assert!(encoder(&world, "low") != encoder(&world, "exact"));

    world.succeed(&format!("pretrain {RECIPE} --set precision=bf16 --threads 1 --out again"));
    assert!(encoder(&world, "again") == encoder(&world, "low"));

    // Resumed from the middle.
    world.succeed(&format!(
        "pretrain {RECIPE} --set precision=bf16 --checkpoint-steps 3 --keep-last 9 --out cut"
    ));
    fs::remove_file(world.path("cut/encoder.safetensors")).unwrap();
    fs::remove_file(world.path("cut/checkpoints/step-000000006.safetensors")).unwrap();
    world.succeed("pretrain --resume cut");
    assert!(encoder(&world, "cut") == encoder(&world, "low"));
}

#[test]
fn another_precision_is_refused_by_name() {
    let world = World::new();
    world.fail("pretrain --set precision=f16 --out run", 2, &["f16", "bf16"]);
    assert!(!world.path("run").exists());
}
