//! Networks that learn further from few labels, and encoders on other sets.

use std::fs;

use serde_json::Value;

use crate::harness::World;
use crate::tiny::{TINY, json, pictures, timeless};

/// Two rates, one length.
const SHORT: &str = "--rates 0.01,0.1 --epochs 2";

#[test]
fn few_labels_are_drawn_written_down_and_learned_from() {
    let world = World::new();
    pictures(&world, "photos", 40, false);
    world.succeed("ingest photos --to set --val 0.25");
    world.succeed(&format!("pretrain --data set {TINY} --out runs/a"));
    let tuned = json(&world.succeed(&format!("finetune --labels 10%,all {SHORT} --json")).out);
    let results = tuned["results"].as_array().unwrap();
    assert_eq!((results.len(), &tuned["top1"]), (2, &results[0]["top1"]));
    for (result, name) in results.iter().zip(["10 %", "all"]) {
        assert_eq!(result["labels"], name);
        for key in ["top1", "top1_low", "top1_high", "top5", "mean_per_class"] {
            assert!(result[key].is_f64() && result["random_init"][key].is_f64(), "{result}");
            assert!(result["linear"][key].is_f64(), "{result}");
        }
        assert_eq!(result["details"]["choice"]["trials"].as_array().unwrap().len(), 2);
    }
    let n = results[1]["n_labels"].as_u64().unwrap();
    assert_eq!(n + tuned["n_test"].as_u64().unwrap(), 120);
    // A tenth, as many of each class, and the file that was written says which.
    let list = fs::read_to_string(world.path("runs/a/labels/10-percent-seed-0.csv")).unwrap();
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some("split,row,label,path"));
    let of = |label: &str| list.lines().filter(|line| line.split(',').nth(2) == Some(label)).count();
    assert!(of("0") == 3 && of("1") == 3 && of("2") == 3, "{list}");
    assert_eq!(results[0]["n_labels"], 9);
    assert_eq!(json(&fs::read_to_string(world.path("runs/a/scores/finetune.json")).unwrap()), tuned);

    // The list again, a list of names, one thread: the same network.
    let names: Vec<&str> = lines.map(|line| line.split(',').nth(3).unwrap()).collect();
    fs::write(world.path("names.txt"), names.join("\n")).unwrap();
    fs::write(world.path("list.csv"), format!("\u{feff}{list}")).unwrap(); // as Excel writes
    let again = format!("finetune --labels names.txt,list.csv {SHORT} --json --threads 1 --no-cache");
    for (result, file) in
        json(&world.succeed(&again).out)["results"].as_array().unwrap().iter().zip(["names.txt", "list.csv"])
    {
        let mut expected = results[0].clone();
        expected["labels"] = file.into();
        expected["labels_file"] = file.into();
        assert_eq!(*result, expected);
    }
    // A share that classes cannot give in full is said; a list with other names is of another set.
    fs::write(world.path("wrong.csv"), list.replace(".png", ".jpg")).unwrap();
    world.fail(&format!("finetune --labels wrong.csv {SHORT}"), 1, &["another set"]);
    let few = world.succeed(&format!("finetune --labels 0.1% {SHORT} --no-scratch"));
    assert!(few.err.contains("and 3 are shown"), "{}", few.err);
    // Another seed, other pictures; the same seed of another folder the same.
    world.succeed(&format!("finetune --labels 10% --seed 1 --labels-to elsewhere {SHORT} --no-scratch"));
    assert_ne!(fs::read_to_string(world.path("elsewhere/10-percent-seed-1.csv")).unwrap(), list);

    world.succeed("report");
    let page = fs::read_to_string(world.path("runs/a/report.html")).unwrap();
    assert!(
        page.contains("Learning from 9 labels (10 %)")
            && page.contains("cargo xtask finetune --labels 10% --seed 1")
    );
    let runs = json(&world.succeed("runs --json").out);
    assert!(runs["runs"][0]["scores"]["finetune"]["top1"].is_f64());

    for (flags, code, words) in [
        ("--labels 0%", 2, "above 0%"),
        ("--labels 101%", 2, "above 0%"),
        ("--labels 10", 2, "10%"),
        ("--labels nowhere.txt", 1, "nowhere.txt"),
        ("--labels set", 1, "no list"),
        ("--rates 0", 2, "positive"),
        ("--rates inf", 2, "positive"),
        ("--epochs 0", 2, "0"),
    ] {
        world.fail(&format!("finetune {flags}"), code, &[words]);
    }
    for (text, words) in [
        ("along-000.png\nalong-000.png\n", "twice"),
        ("no-such.png\n", "line 1: no training picture is called no-such.png"),
        ("\n", "lists no picture"),
        ("elsewhere/along-000.png\n", "no training picture is called elsewhere/"),
        ("split,row,label,path\ntrain,0,9,\n", "another set"),
        ("split,row,label,path\ntest,0,0,\n", "`test` is no split that is learned from"),
        ("split,row,label,path\ntrain,99999,0,\n", "another set"),
        ("split,row,label,path\ntrain\n", "line 2"),
    ] {
        // A name that the training split has.
        fs::write(world.path("list.txt"), text.replace("along-000.png", names[0])).unwrap();
        world.fail(&format!("finetune --labels list.txt {SHORT}"), 1, &[words]);
    }
}

/// What learns and chooses does not see the test set: other labels there change the score alone.
#[test]
fn test_labels_have_no_part_in_fine_tuning() {
    let world = World::new();
    for name in ["straight", "turned"] {
        pictures(&world, &format!("{name}/train"), 20, false);
        pictures(&world, &format!("{name}/test"), 8, false);
    }
    for (kind, called) in [("along", "aside"), ("across", "along"), ("spots", "across"), ("aside", "spots")] {
        fs::rename(world.path("turned/test").join(kind), world.path("turned/test").join(called)).unwrap();
    }
    world.succeed("ingest straight --to straight-set");
    world.succeed("ingest turned --to turned-set");
    world.succeed(&format!("pretrain --data straight-set {TINY} --out runs/a"));
    let of = |data: &str| {
        let line = format!("finetune --data {data} --labels all {SHORT} --no-scratch --json");
        json(&world.succeed(&line).out)
    };
    let (straight, turned) = (of("straight-set"), of("turned-set"));
    assert_eq!((&straight["n_labels"], &straight["n_test"]), (&60.into(), &24.into()));
    assert_eq!(straight["details"], turned["details"]);
    assert_eq!(straight["linear"]["details"], turned["linear"]["details"]);
    assert_ne!(straight["linear"]["top1"], turned["linear"]["top1"]);
}

#[test]
fn encoders_on_several_sets_beside_the_paper() {
    let world = World::new();
    pictures(&world, "photos", 30, false);
    world.succeed("ingest photos --to set --val 0.25");
    world.succeed("ingest photos --to other --val 0.5");
    // A set that the catalogue knows, though not as it was published.
    world.succeed("ingest photos --to datasets/pets --val 0.25");
    world.succeed(&format!("pretrain --data set {TINY} --out runs/a"));
    let told = json(&world.succeed("transfer set pets dtd=other --json").out);
    let results = told["results"].as_array().unwrap();
    let of = |i: usize, key: &str| results[i][key].clone();
    assert_eq!([of(0, "set"), of(1, "set"), of(2, "set")], ["set", "pets", "dtd"]);
    assert_eq!([of(0, "measure"), of(1, "measure"), of(2, "measure")], ["top1", "mean_per_class", "top1"]);
    assert_eq!(of(1, "score"), of(1, "mean_per_class"));
    assert_eq!(of(0, "why_not_comparable"), "not in the paper's Table 3");
    assert!(of(1, "why_not_comparable").as_str().unwrap().contains("3680 and 3669"));
    assert_eq!(
        (of(1, "paper")["byol"].as_f64(), &of(1, "paper")["comparable"]),
        (Some(0.904), &false.into())
    );
    assert!(results.iter().all(|result| result["random_init"]["score"].is_f64()));
    let mean = results.iter().map(|result| result["score"].as_f64().unwrap()).sum::<f64>() / 3.0;
    assert!((told["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    // It is what linear-eval says.
    let linear = json(&world.succeed("linear-eval --json").out);
    assert_eq!(linear["top1"], of(0, "top1"));
    assert_eq!(linear["details"], of(0, "details"));
    let written = json(&fs::read_to_string(world.path("runs/a/scores/transfer.json")).unwrap());
    assert_eq!(written["results"], told["results"]);
    world.succeed("report");
    let page = fs::read_to_string(world.path("runs/a/report.html")).unwrap();
    assert!(page.contains("Other data sets") && page.contains("90.40 %"));

    for name in ["train/a.png", "train/b.png", "test/a.png"] {
        fs::create_dir_all(world.path("rgb").join(name).with_extension("")).unwrap();
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb([200, 30, name.len() as u8]));
        picture.save(world.path("rgb").join(name).with_extension("").join("1.png")).unwrap();
    }
    world.succeed("ingest rgb --to colours");
    let table = world.succeed("transfer set pets --no-random");
    assert!(table.out.contains("mean per class") && table.out.contains("90.4 %"), "{}", table.out);
    let knn: Value = timeless(json(&world.succeed("transfer set pets --protocol knn --json").out));
    assert_eq!(knn["results"][1]["why_not_comparable"], "another protocol");
    for (line, code, words) in [
        ("transfer", 2, "required"),
        ("transfer nowhere", 2, "neither a folder nor a name"),
        ("transfer cifar10", 2, "cargo xtask download cifar10"),
        ("transfer set set", 2, "named twice"),
        ("transfer nosuch=set", 2, "nosuch"),
        ("transfer set photos", 1, "photos"),
        ("transfer set colours", 1, "3 channels"),
    ] {
        world.fail(line, code, &[words]);
    }
}
