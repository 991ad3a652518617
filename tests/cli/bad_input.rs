//! What is typed or read wrongly: a clear message, the right exit code, nothing
//! half-written.

use std::fs;

use crate::harness::World;

const SHARD: &[u8] = include_bytes!("../../datasets/fashion-mnist-mini/data/train-00000-of-00001.parquet");

#[test]
fn wrong_words_are_usage() {
    let world = World::new();
    world.fail("pretrian", 2, &["pretrian", "pretrain"]);
    world.fail("pretrain --preset quik", 2, &["quik", "did you mean `quick`"]);
    world.fail("pretrain --set bas_lr=1", 2, &["bas_lr", "did you mean `base_lr`"]);
    world.fail("pretrain --set policy.crop.aera=[0.1,1]", 2, &["did you mean `policy.crop.area`"]);
    world.fail("pretrain --batch -4", 2, &["-4", "--batch"]);
    world.fail("pretrain --batch 0", 2, &["batch", "at least 2"]);
    world.fail("pretrain --epochs -1", 2, &["length", "-1"]);
    world.fail("pretrain --set optimizer.momentum=1.5", 2, &["optimizer.momentum", "1.5"]);
    world.fail("pretrain --set encoder.depth=19", 2, &["depth", "19", "50"]);
    world.fail("pretrain --set policy.ops.color_jitter.p=2", 2, &["color_jitter.p"]);
    world.fail(
        "pretrain --set projector.layers=0 --set encoder.width=8",
        2,
        &["projector.output", "128", "layers = 0"],
    );
    world.fail("pretrain --set base_lr=fast", 2, &["base_lr", "fast"]);
    world.fail("pretrain --set optimizer.kind=adam", 2, &["kind", "adam", "lars"]);
    world.fail("pretrain --set length.steps=10", 2, &["warmup", "10 steps"]);
    world.fail("pretrain --seed -1", 2, &["-1", "--seed"]);
    world.fail("pretrain --seed 18446744073709551615", 2, &["--seed", "9223372036854775807"]);
    world.fail("pretrain --loader-threads 1000000", 2, &["--loader-threads", "1024"]);
    world.fail("presets papr-1000", 2, &["paper-1000"]);
    world.fail("download minst --from .", 2, &["minst", "did you mean mnist", "fashion-mnist"]);
    world.fail("download hf:nobody --to x", 2, &["hf:OWNER/NAME"]);
    world.fail("ingest . --to x --val 1.5", 2, &["--val", "1.5"]);
    world.fail("ingest . --to x --background red", 2, &["--background", "RRGGBB"]);
    world.fail("ingest . --to x --range-16 9..3", 2, &["--range-16", "LOW..HIGH"]);
    world.fail("ingest . --to x --format photos", 2, &["--format", "folder"]);
    fs::write(world.path("bad.toml"), "[optimizer]\nmomentun = 0.9\n").unwrap();
    world.fail("pretrain --config bad.toml", 2, &["bad.toml", "`optimizer.momentum`"]);
}

#[test]
fn a_batch_larger_than_the_set_is_refused() {
    World::new().fail("pretrain --batch 10001", 2, &["10001", "10000 pictures"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_cannot_fit_into_memory_is_refused() {
    let world = World::new();
    world.fail("pretrain --set encoder.width=4096 --batch 1024", 1, &["GiB", "width 4096", "--batch"]);
    world.fail("pretrain --set policy.size=4096 --batch 1024", 1, &["GiB", "4096x4096"]);
}

#[test]
fn folders_that_are_no_data_are_named() {
    let world = World::new();
    fs::create_dir(world.path("empty")).unwrap();
    world.fail(
        "pretrain --data empty",
        1,
        &["empty", "no Parquet file", "data/train-00000-of-00001.parquet"],
    );
    world.fail("pretrain --data nowhere", 1, &["nowhere", "No such file"]);
    world.fail("preview --data empty", 1, &["empty"]);
    world.fail("download fashion-mnist --from empty", 1, &["train-images-idx3-ubyte.gz", "--from"]);
    world.fail("linear-eval", 1, &["runs", "pretrain", "--run"]);
    world.fail("knn --run empty", 1, &["empty", "run.toml"]);
}

#[test]
fn a_damaged_shard_is_named() {
    let world = World::new();
    let path = world.path("set/data/train-00000-of-00001.parquet");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &SHARD[..SHARD.len() / 2]).unwrap();
    world.fail("pretrain --data set", 1, &["train-00000-of-00001.parquet", "damaged"]);
    let mut flipped = SHARD.to_vec();
    flipped[100_000] ^= 1;
    fs::write(&path, flipped).unwrap();
    world.fail("pretrain --data set", 1, &["train-00000-of-00001.parquet", "checksum"]);
    fs::rename(&path, path.with_file_name("train-00000-of-00002.parquet")).unwrap();
    world.fail("pretrain --data set", 1, &["train-00000-of-00002.parquet", "missing"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_training() {
    let world = World::new();
    fs::write(world.path("file"), "x").unwrap();
    world.fail("pretrain --out file/run", 1, &["file/run"]);
    fs::create_dir(world.path("taken")).unwrap();
    fs::write(world.path("taken/something"), "x").unwrap();
    world.fail("pretrain --out taken", 1, &["taken", "not empty", "--out"]);
    fs::write(world.path("taken/run.toml"), "").unwrap();
    world.fail("pretrain --out taken", 1, &["taken", "not finished", "--out"]);
    world.fail("preview --out nowhere/views.png", 1, &["nowhere/views.png"]);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let world = World::new();
    world.fail("preview --out .", 1, &["no regular file"]);
    world.fail("preview --set policy.size=0", 2, &["size", "4096"]);
    #[cfg(unix)]
    world.fail("preview --config /dev/zero", 1, &["/dev/zero", "more than"]);
    world.fail("preview --policy byoll", 2, &["byoll", "microscopy"]);
    #[cfg(unix)]
    {
        fs::write(world.path("target.png"), "old").unwrap();
        std::os::unix::fs::symlink("target.png", world.path("link.png")).unwrap();
        world.succeed("preview --rows 1 --out link.png");
        assert!(fs::symlink_metadata(world.path("link.png")).unwrap().is_symlink());
        assert!(fs::read(world.path("target.png")).unwrap().starts_with(b"\x89PNG"));
    }
}
