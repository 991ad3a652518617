//! What a recipe promises.

use byol_model::{HeadConfig, Stem};

use crate::{Length, OptimizerKind, REFERENCE_BATCH, SpecBuilder, TauSchedule};

#[test]
fn every_preset_is_a_recipe() {
    for name in SpecBuilder::presets() {
        let spec = SpecBuilder::preset(name).unwrap().build().unwrap();
        assert_eq!(spec.preset, name);
        assert!(!spec.encoder.zero_gamma, "{name}: the paper's numbers are from gamma = 1");
    }
}

/// Rows of the papers' and the codes' own tables.
#[test]
fn presets_have_the_values_of_their_sources() {
    use OptimizerKind::{Lars, Sgd};
    use TauSchedule::{Constant, Cosine};
    // Batch, epochs and those of warm-up, peak learning rate, decay, tau, depth, hidden, output, pixels.
    #[rustfmt::skip]
    let rows = [
        ("paper-1000",      4096, 1000.0, 10.0, 3.2,  1.5e-6, 0.996,  Cosine,   Lars, 50, 4096, 256, 224),
        ("paper-300",       4096,  300.0, 10.0, 4.8,  1e-6,   0.99,   Cosine,   Lars, 50, 4096, 256, 224),
        ("paper-100",       4096,  100.0, 10.0, 7.2,  1e-6,   0.99,   Cosine,   Lars, 50, 4096, 256, 224),
        ("paper-40",        4096,   40.0, 10.0, 7.2,  1e-6,   0.97,   Cosine,   Lars, 50, 4096, 256, 224),
        ("paper-batch-512",  512, 1000.0, 10.0, 0.8,  1.5e-6, 0.9995, Cosine,   Lars, 50, 4096, 256, 224),
        ("imagenette",       256, 1000.0, 10.0, 2.0,  1e-6,   0.996,  Cosine,   Lars, 18, 4096, 256, 128),
        ("cifar10",          512,  800.0,  0.0, 0.24, 5e-4,   0.99,   Constant, Sgd,  18, 1024, 256,  32),
        ("stl10",             64,   80.0,  0.0, 0.03, 4e-4,   0.996,  Constant, Sgd,  18,  512, 128,  96),
    ];
    for (name, batch, epochs, warmup, peak, decay, tau, schedule, kind, depth, hidden, output, size) in rows {
        let spec = SpecBuilder::preset(name).unwrap().build().unwrap();
        let warmup = if warmup == 0.0 { Length::Steps(0) } else { Length::Epochs(warmup) };
        assert_eq!((spec.batch, spec.length, spec.warmup), (batch, Length::Epochs(epochs), warmup), "{name}");
        assert!((spec.base_lr * batch as f64 / REFERENCE_BATCH - peak).abs() < 1e-12, "{name}");
        assert_eq!((spec.tau_base, spec.tau_schedule), (tau, schedule), "{name}");
        let optimizer = spec.optimizer;
        assert_eq!(
            (optimizer.kind, optimizer.weight_decay, optimizer.momentum),
            (kind, decay, 0.9),
            "{name}"
        );
        assert_eq!((optimizer.trust, optimizer.nesterov), (1e-3, false), "{name}");
        assert_eq!((spec.encoder.depth, spec.encoder.width, spec.policy.size), (depth, 64, size), "{name}");
        let head = HeadConfig { layers: 2, hidden, output };
        assert_eq!((spec.projector, spec.predictor), (head, head), "{name}");
    }
    assert_eq!(SpecBuilder::presets().count(), rows.len() + 3); // `quick`, `fashion` and `photographs` are our own
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
