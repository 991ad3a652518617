//! `bench train`: odd networks are timed, and what cannot be is said before anything is.

use crate::harness::World;

#[test]
fn a_step_is_timed_whatever_its_sizes() {
    let world = World::new();
    for more in ["", "--precision bf16", "--path portable --profile"] {
        let said = world.succeed(&format!(
            "bench train --encoder resnet50_v2 --size 3 --channels 13 --width 1 --hidden 5 --proj 3 --batch 3 \
             --threads 1 --steps 1 --json {more}"
        ));
        assert!(said.out.contains("\"images_per_second\""), "{}", said.out);
    }
}

/// bf16 without the instructions for it is said to be no gain.
#[test]
fn a_path_without_bf16_says_so() {
    let said = World::new().succeed(
        "bench train --size 3 --width 1 --hidden 5 --proj 3 --batch 3 --steps 1 --precision bf16 --path portable",
    );
    assert!(said.err.contains("f32 is faster here"), "{}", said.err);
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let world = World::new();
    world.fail("bench train --encoder 34", 2, &["34", "resnet34"]);
    // A width in the name would be overruled by the flag's default.
    world.fail("bench train --encoder resnet50_2x", 2, &["resnet50_2x", "say resnet50", "--width"]);
    world.fail("bench train --encoder resnet18_small_stride2", 2, &["say resnet18", "--stem"]);
    world.fail("bench train --batch 65536 --size 4096", 1, &["GiB", "--batch", "--size"]);
}
