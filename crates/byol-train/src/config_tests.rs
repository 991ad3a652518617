//! What a recipe promises.

use byol_model::Stem;

use crate::{Length, OptimizerKind, SpecBuilder};

#[test]
fn every_preset_is_a_recipe() {
    for name in SpecBuilder::presets() {
        let spec = SpecBuilder::preset(name).unwrap().build().unwrap();
        assert_eq!(spec.preset, name);
        assert!(!spec.encoder.zero_gamma, "{name}: the paper's numbers are from gamma = 1");
    }
}

#[test]
fn the_paper_presets_have_the_papers_values() {
    let spec = SpecBuilder::preset("paper-1000").unwrap().build().unwrap();
    assert_eq!((spec.batch, spec.base_lr, spec.tau_base), (4096, 0.2, 0.996));
    assert_eq!(spec.length, Length::Epochs(1000.0));
    assert_eq!(spec.warmup, Length::Epochs(10.0));
    assert_eq!(spec.optimizer.weight_decay, 1.5e-6);
    assert_eq!((spec.optimizer.momentum, spec.optimizer.trust), (0.9, 1e-3));
    assert_eq!((spec.projector.hidden, spec.projector.output), (4096, 256));
    assert_eq!((spec.encoder.depth, spec.encoder.width), (50, 64));
    let spec = SpecBuilder::preset("paper-300").unwrap().build().unwrap();
    assert_eq!((spec.base_lr, spec.tau_base, spec.optimizer.weight_decay), (0.3, 0.99, 1e-6));
    assert_eq!(spec.length, Length::Epochs(300.0));
}

#[test]
fn a_value_is_set_at_any_depth() {
    let builder = SpecBuilder::preset("paper-1000").unwrap();
    let spec = builder
        .set("policy.ops.blur.p=0.25")
        .and_then(|b| b.set("policy.crop.area=[0.2, 1.0]"))
        .and_then(|b| b.set("encoder.stem=small"))
        .and_then(|b| b.set("length.steps=12"))
        .and_then(|b| b.set("optimizer.kind = sgd"))
        .and_then(SpecBuilder::build)
        .unwrap();
    assert!(spec.policy.ops.iter().any(|op| matches!(op, byol_augment::Op::Blur { p, .. } if *p == 0.25)));
    assert_eq!(spec.policy.crop.area, [0.2, 1.0]);
    assert_eq!(spec.encoder.stem, Stem::Small);
    assert_eq!(spec.length, Length::Steps(12));
    assert_eq!(spec.optimizer.kind, OptimizerKind::Sgd);
}

#[test]
fn a_misspelt_key_names_the_nearest() {
    let preset = || SpecBuilder::preset("quick").unwrap();
    for (assignment, nearest) in [
        ("bas_lr=1", "base_lr"),
        ("encoder.widht=3", "encoder.width"),
        ("policy.ops.solarise.p=0", "policy.ops.solarize"),
        ("policy.crop.aera=[0.1,1]", "policy.crop.area"),
    ] {
        let error = preset().set(assignment).unwrap_err().to_string();
        assert!(error.contains(&format!("did you mean `{nearest}`?")), "{error}");
    }
    let error = preset().file("[optimizer]\nmomentun = 0.9", "a.toml").unwrap_err().to_string();
    assert!(error.contains("a.toml") && error.contains("`optimizer.momentum`"), "{error}");
    let error = SpecBuilder::preset("quik").unwrap_err().to_string();
    assert!(error.contains("did you mean `quick`?"), "{error}");
    assert!(preset().set("seed").is_err());
    assert!(preset().set("seed.x=3").is_err());
    assert!(preset().set("batch=-4").unwrap().build().is_err());
}
