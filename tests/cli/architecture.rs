//! The arrows of ARCHITECTURE.md.

use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, of ours and of Burn.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("byol-kernels", &["burn"]),
    ("byol-augment", &[]),
    ("byol-data", &[]),
    ("byol-model", &["burn", "byol-kernels"]),
    ("byol-train", &["burn", "byol-augment", "byol-data", "byol-model"]),
    ("byol-eval", &["burn", "byol-augment", "byol-data", "byol-model"]),
];

#[test]
fn dependencies_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    for (name, allowed) in ALLOWED {
        let package = packages.iter().find(|p| p["name"] == name).unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if dependency["kind"] == "dev" || !(on.starts_with("byol-") || on.starts_with("burn")) {
                continue;
            }
            assert!(allowed.contains(&on), "{name} must not depend on {on}");
            let backends = dependency["features"].as_array().unwrap();
            assert!(!backends.iter().any(|f| f == "flex"), "{name} must not choose a back end");
            if name == "byol-eval" {
                assert_eq!(dependency["optional"], true, "the core of byol-eval needs no {on}");
            }
        }
    }
}

/// What a GPU or MPI needs is in a build that asks for it, and in no other.
#[test]
fn features_that_are_not_asked_for_bring_nothing() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "xtask", "--edges", "normal", "--prefix", "none", "--offline"])
        .args(["--format", "{p}"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"burn-flex"), "{text}");
    for name in ["wgpu", "cubecl", "burn-wgpu", "burn-cuda", "burn-cubecl", "burn-fusion", "mpi"] {
        assert!(!names.contains(&name), "{name} is in every build");
    }
}
