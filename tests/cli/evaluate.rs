//! How good is it: scores, embeddings, neighbours, runs and the page about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use byol_eval::{Embeddings, EmbeddingsWriter, Features, RowInfo};
use serde_json::Value;

use crate::harness::World;
use crate::tiny::{TINY, json, pictures, timeless};

#[test]
fn a_labelled_folder_from_pictures_to_a_report() {
    let world = World::new();
    pictures(&world, "photos", 40, false);
    world.succeed("ingest photos --to set --val 0.25");
    world.succeed(&format!("pretrain --data set {TINY} --out runs/a"));

    let linear = json(&world.succeed("linear-eval --json").out);
    let (n_train, n_test) = (linear["n_train"].as_u64().unwrap(), linear["n_test"].as_u64().unwrap());
    assert!(n_train + n_test == 120 && n_test > 15, "{n_train} and {n_test}");
    assert!(linear["top1"].as_f64().unwrap() > 0.5, "{linear}");
    for key in ["top1_low", "top1_high", "top5", "mean_per_class", "protocol", "duplicates"] {
        assert!(!linear[key].is_null(), "no {key} in {linear}");
    }
    assert!(linear["random_init"]["top1"].is_f64() && linear["pixels"]["mcnemar_p"].is_f64(), "{linear}");
    assert_eq!(linear["details"]["choice"]["penalties"].as_array().unwrap().len(), 45);
    let counts: u64 = linear["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(counts, n_test);
    // In the run's folder is what was told, and what is in the cache is what was computed.
    let written = |name: &str| json(&fs::read_to_string(world.path("runs/a/scores").join(name)).unwrap());
    assert_eq!(written("linear-lbfgs.json"), linear);
    let again = json(&world.succeed("linear-eval --json").out);
    let without = json(&world.succeed("linear-eval --json --no-cache --threads 1").out);
    assert_eq!(timeless(again), timeless(linear.clone()));
    assert_eq!(timeless(without), timeless(linear));

    let several = json(&world.succeed("knn --k 5,1,1000 --json").out);
    let ks: Vec<u64> =
        several["results"].as_array().unwrap().iter().map(|r| r["details"]["k"].as_u64().unwrap()).collect();
    assert_eq!(ks, [5, 1, n_train], "no more neighbours than there are");
    assert_eq!(several["top1"], several["results"][0]["top1"]);
    let paper = json(&world.succeed("linear-eval --protocol paper --epochs 2 --batch 32 --json").out);
    assert_eq!(paper["details"]["choice"]["steps"], 6);
    assert!(paper["top1"].is_f64() && paper["pixels"].is_null());
    world.succeed("linear-eval --protocol paper --no-augment --epochs 2");

    world.succeed("neighbors --rows 3 --k 4");
    world.fail("neighbors --out near.jpg", 2, &["PNG", ".jpg"]);
    let (width, height) = image::image_dimensions(world.path("neighbors.png")).unwrap();
    assert!(width > 5 * 168 && height > 3 * 168);
    let runs = json(&world.succeed("runs --json --sort linear").out);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    assert_eq!(runs["runs"][0]["scores"]["knn"]["top1"], several["top1"]);
    assert!(world.succeed("runs").out.contains("ended"));

    world.succeed("report");
    let page = fs::read_to_string(world.path("runs/a/report.html")).unwrap();
    for word in [
        "Linear probe",
        "Nearest neighbours, k = 5",
        "cargo xtask knn --k 5,1,1000 --run ",
        "chart-loss",
        "class=\"confusion\"",
        "Nearest pictures",
        "across",
        "run.toml",
    ] {
        assert!(page.contains(word), "no `{word}`");
    }
    for reached in ["http://", "https://", "src=\"/", "url("] {
        assert!(!page.contains(reached), "{reached} in the page");
    }
    world.succeed(&format!("pretrain --data set {TINY} --seed 1 --out runs/b"));
    world.succeed("report --run runs/a --run runs/b");
    let both = fs::read_to_string(world.path("report.html")).unwrap();
    assert!(both.matches("<polyline").count() > page.matches("<polyline").count());
}

#[test]
fn pictures_without_labels_have_a_report_and_no_scores() {
    let world = World::new();
    pictures(&world, "photos", 12, true);
    world.succeed("ingest photos --to set");
    world.succeed(&format!("pretrain --data set {TINY} --out runs/a"));
    world.succeed("report");
    let page = fs::read_to_string(world.path("runs/a/report.html")).unwrap();
    assert!(page.contains("Nearest pictures") && page.contains("There are none yet"));
    world.succeed("neighbors");
    let knn = world.run("knn");
    assert_eq!(knn.code, Some(1));
    assert!(knn.err.contains("without a label"), "{}", knn.err);
    let linear = world.run("linear-eval");
    assert_eq!(linear.code, Some(1));
    assert!(linear.err.contains("without a label"), "{}", linear.err);
    // A page of a run whose pictures have gone still has its curves.
    fs::remove_dir_all(world.path("set")).unwrap();
    let told = world.succeed("report --no-cache");
    assert!(told.err.contains("left out of the report"), "{}", told.err);
    assert!(fs::read_to_string(world.path("runs/a/report.html")).unwrap().contains("chart-loss"));
}

#[test]
fn embeddings_in_parts_are_those_in_one() {
    let world = World::new();
    pictures(&world, "photos", 20, false);
    world.succeed("ingest photos --to set --val 0.25");
    world.succeed(&format!("pretrain --data set {TINY} --out runs/a"));
    world.succeed("embed --out all.parquet");
    let all = Embeddings::read(&world.path("all.parquet")).unwrap();
    assert_eq!((all.infos.len(), all.classes.len()), (60, 3));
    assert!(all.infos.iter().all(|info| info.path.is_some() && info.label.is_some()));
    let (mut infos, mut values) = (Vec::new(), Vec::new());
    for part in 1..=7 {
        world.succeed(&format!("embed --partition {part}/7 --out part.parquet"));
        let part = Embeddings::read(&world.path("part.parquet")).unwrap();
        infos.extend(part.infos);
        values.extend_from_slice(part.features.values());
    }
    assert_eq!(infos, all.infos);
    // Rows do not depend on those beside them.
    let off = values.iter().zip(all.features.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "off by {off}");
    // What is in the file is scored as pictures are.
    let of_file = json(&world.succeed("knn --embeddings all.parquet --json").out);
    let of_run = json(&world.succeed("knn --json").out);
    assert_eq!((&of_file["top1"], &of_file["n_test"]), (&of_run["top1"], &of_run["n_test"]));
    world.succeed("embed --untrained --out random.parquet");
    let random = json(&world.succeed("knn --embeddings random.parquet --json").out);
    assert_eq!(random["top1"], of_run["random_init"]["top1"]);
    for bad in ["0/3", "4/3", "3", "a/b", "1/100000"] {
        world.fail(&format!("embed --partition {bad} --out no.parquet"), 2, &["partition"]);
    }
    world.fail("embed --out .", 2, &["no regular file"]);
    // Scores on other pictures stand beside the run's own.
    world.succeed("ingest photos --to other --val 0.5");
    let other = json(&world.succeed("knn --data other --json").out);
    assert_eq!(other["split"], "validation");
    let scores: Vec<String> = fs::read_dir(world.path("runs/a/scores"))
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(scores.iter().filter(|name| name.starts_with("knn")).count(), 2, "{scores:?}");
    let own: Value =
        serde_json::from_slice(&fs::read(world.path("runs/a/scores/knn.json")).unwrap()).unwrap();
    assert_eq!(own["n_test"], of_run["n_test"]);
    world.succeed("report --run runs/a");
    let page = fs::read_to_string(world.path("runs/a/report.html")).unwrap();
    assert!(page.contains("Nearest neighbours, on other pictures"));
    let shard = world.path("set/data/train-00000-of-00001.parquet");
    assert!(shard.is_file());
    for kept in ["set/data/train-00000-of-00001.parquet", "runs/a/encoder.safetensors", "runs/a/run.toml"] {
        world.fail(&format!("embed --out {kept}"), 2, &["--out", kept, "that is a file of"]);
        world.fail(&format!("report --out {kept}"), 2, &["--out", kept, "that is a file of"]);
    }
    world.fail("embed --split nowhere --out no.parquet", 1, &["nowhere"]);
    world.fail("embed --out no/such/folder.parquet", 1, &["folder.parquet"]);
}

/// Rows of three classes around three corners.
fn corners(n: usize, shift: f32) -> Features {
    let value = |i: usize| if i % 4 == i / 4 % 3 { 2.0 } else { (i * 37 % 11) as f32 * 0.1 + shift };
    Features::new(4, (0..4 * n).map(value).collect()).unwrap()
}

fn write(path: &Path, features: &Features, info: impl Fn(usize) -> RowInfo, classes: &[&str]) {
    let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
    let mut writer = EmbeddingsWriter::new(Vec::new(), features.dim(), &classes, &BTreeMap::new()).unwrap();
    let infos: Vec<RowInfo> = (0..features.len()).map(info).collect();
    writer.push(&infos, features).unwrap();
    fs::write(path, writer.finish().unwrap()).unwrap();
}

fn info(label: Option<i64>, split: &str) -> RowInfo {
    RowInfo { path: None, label, split: (!split.is_empty()).then(|| split.to_owned()) }
}

#[test]
fn test_labels_have_no_part_in_what_is_chosen() {
    let world = World::new();
    let rows = corners(120, 0.0);
    let split = |i: usize| if i % 4 == 3 { "test" } else { "train" };
    let label = |i: usize| i as i64 % 3;
    write(&world.path("a.parquet"), &rows, |i| info(Some(label(i)), split(i)), &[]);
    let turned = |i: usize| if i % 4 == 3 { (label(i) + 1) % 3 } else { label(i) };
    write(&world.path("b.parquet"), &rows, |i| info(Some(turned(i)), split(i)), &[]);
    for protocol in ["lbfgs", "paper --epochs 3 --batch 16"] {
        let of = |file: &str| {
            json(&world.succeed(&format!("linear-eval --embeddings {file} --json --protocol {protocol}")).out)
        };
        let (a, b) = (of("a.parquet"), of("b.parquet"));
        assert_eq!(a["details"], b["details"]);
        assert!(a["top1"].as_f64().unwrap() > 0.9 && b["top1"].as_f64().unwrap() < 0.1, "{a}, {b}");
    }
    // Nor have test rows: training rows in a file of their own, and one test row.
    write(
        &world.path("train.parquet"),
        &rows.select(|i| i % 4 != 3).unwrap(),
        |i| info(Some(label(i / 3 * 4 + i % 3)), ""),
        &[],
    );
    write(&world.path("test.parquet"), &corners(1, 0.5), |_| info(Some(0), ""), &[]);
    let alone = world.succeed("linear-eval --embeddings train.parquet --test-embeddings test.parquet --json");
    let both = world.succeed("linear-eval --embeddings a.parquet --json");
    assert_eq!(json(&alone.out)["details"], json(&both.out)["details"]);
}

#[test]
fn odd_embeddings_are_answers_or_errors() {
    let world = World::new();
    let rows = corners(30, 0.0);
    // One class; no split; a class that is missing among those that are scored.
    write(&world.path("one.parquet"), &rows, |_| info(Some(0), ""), &["only"]);
    assert_eq!(json(&world.succeed("linear-eval --embeddings one.parquet --json").out)["top1"], 1.0);
    let knn = json(&world.succeed("knn --embeddings one.parquet --k 500 --json").out);
    assert_eq!((&knn["top1"], &knn["details"]["k"]), (&1.0.into(), &29.into()), "each by the others");
    write(
        &world.path("gap.parquet"),
        &rows,
        |i| info(Some(if i % 5 == 4 { 0 } else { i as i64 % 3 }), ""),
        &[],
    );
    world.succeed("linear-eval --embeddings gap.parquet");
    // Numbers far apart are as good as near ones.
    write(&world.path("far.parquet"), &rows, |i| info(Some(i as i64 % 3 * 40_000_000), ""), &[]);
    write(&world.path("near.parquet"), &rows, |i| info(Some(i as i64 % 3), ""), &[]);
    let of = |file: &str| json(&world.succeed(&format!("linear-eval --embeddings {file} --json")).out);
    let (far, near) = (of("far.parquet"), of("near.parquet"));
    assert_eq!((&far["top1"], &far["details"]), (&near["top1"], &near["details"]));
    assert_eq!(far["classes"], serde_json::json!(["0", "40000000", "80000000"]));
    // Rows of another split do not teach beside a file of test rows, and copies are said.
    write(
        &world.path("both.parquet"),
        &rows,
        |i| info(Some(i as i64 % 3), if i < 20 { "train" } else { "test" }),
        &[],
    );
    let beside = world.succeed("knn --embeddings both.parquet --test-embeddings near.parquet --json");
    assert_eq!((&json(&beside.out)["n_train"], &json(&beside.out)["duplicates"]), (&20.into(), &20.into()));
    assert!(beside.err.contains("10 rows of both.parquet are left out"), "{}", beside.err);
    assert!(beside.err.contains("20 of 30 scored rows are among those that teach"), "{}", beside.err);
    // Rows without a label are left out, and said.
    write(&world.path("some.parquet"), &rows, |i| info((i % 2 == 0).then_some(i as i64 % 3), ""), &[]);
    let some = world.succeed("knn --embeddings some.parquet --json");
    assert_eq!(json(&some.out)["n_train"], 15);
    assert!(some.err.contains("15 of 30 rows have no label"), "{}", some.err);
    write(&world.path("none.parquet"), &rows, |_| info(None, ""), &[]);
    world.fail("knn --embeddings none.parquet", 1, &["none.parquet", "label"]);
    // Classes by other names.
    write(&world.path("named.parquet"), &rows, |i| info(Some(i as i64 % 3), ""), &["a", "b", "c"]);
    write(&world.path("other.parquet"), &rows, |i| info(Some(i as i64 % 3), ""), &["a", "b", "d"]);
    world.fail(
        "knn --embeddings named.parquet --test-embeddings other.parquet",
        1,
        &["other.parquet", "\"d\""],
    );
    write(&world.path("wide.parquet"), &Features::new(3, vec![1.0; 9]).unwrap(), |_| info(Some(0), ""), &[]);
    world.fail(
        "knn --embeddings named.parquet --test-embeddings wide.parquet",
        1,
        &["4 values a row", "has 3"],
    );
    // In another order, names count.
    write(&world.path("turned.parquet"), &rows, |i| info(Some(2 - i as i64 % 3), ""), &["c", "b", "a"]);
    let turned =
        world.succeed("knn --embeddings named.parquet --test-embeddings turned.parquet --k 1 --json");
    assert_eq!(json(&turned.out)["top1"], 1.0);
    fs::write(world.path("no.parquet"), "no Parquet").unwrap();
    world.fail("linear-eval --embeddings some.parquet --device cpu", 2, &["--device", "computed already"]);
    world.fail("linear-eval --embeddings no.parquet", 1, &["no.parquet"]);
    world.fail("linear-eval --embeddings missing.parquet", 1, &["missing.parquet"]);
    world.fail("linear-eval --embeddings one.parquet --size 32", 2, &["--size"]);
    world.fail("linear-eval --embeddings one.parquet --run runs/a", 2, &["--run"]);
    world.fail("linear-eval --epochs 3", 2, &["--epochs", "paper"]);
    world.fail("knn --embeddings one.parquet --temperature 0", 2, &["--temperature"]);
    world.fail("runs", 1, &["runs"]);
    world.fail("report", 1, &["runs"]);
}

#[test]
fn what_a_file_says_of_splits_is_kept_to() {
    let world = World::new();
    let rows = corners(60, 0.0);
    let label = |i: usize| Some(i as i64 % 3);
    let with = |name: &str, split: &dyn Fn(usize) -> &'static str| {
        write(&world.path(name), &rows, |i| info(label(i), split(i)), &[]);
    };
    with("odd.parquet", &|_| "Train");
    world.fail("knn --embeddings odd.parquet", 1, &["odd.parquet", "\"Train\"", "expected train and test"]);
    with("dev.parquet", &|i| if i % 2 == 0 { "train" } else { "dev" });
    let dev = world.succeed("knn --embeddings dev.parquet --json");
    assert!(dev.err.contains("30 of 60 rows are left out") && dev.err.contains("\"dev\""), "{}", dev.err);
    world.fail("linear-eval --embeddings dev.parquet", 1, &["names no rows to score on"]);
    write(&world.path("train.parquet"), &rows, |i| info(label(i), ""), &[]);
    write(&world.path("test.parquet"), &rows, |_| info(None, ""), &[]);
    let line = "knn --embeddings train.parquet --test-embeddings test.parquet";
    world.fail(line, 1, &["no row of the split \"test\" has a label"]);
    write(&world.path("one.parquet"), &corners(1, 0.0), |_| info(Some(0), ""), &[]);
    world.fail("knn --embeddings one.parquet", 1, &["no other"]);
    // Labels that repeat with the rows: each class is in both parts.
    let rows = corners(300, 0.0);
    write(
        &world.path("period.parquet"),
        &rows,
        |i| info(Some(i as i64 % 15 % 5 * 3 + i as i64 % 3), ""),
        &[],
    );
    let period = json(&world.succeed("linear-eval --embeddings period.parquet --json").out);
    assert!(period["per_class"].as_array().unwrap().iter().all(Value::is_f64), "{period}");
}
