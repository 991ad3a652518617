//! What a policy promises.

use crate::{Normalize, Op, OpKind, TwoViewPolicy};

#[test]
fn byol_is_table_6() {
    let policy = TwoViewPolicy::preset("byol").unwrap();
    assert_eq!(policy.crop.area, [0.08, 1.0]);
    let resolved = policy.resolve(3).unwrap();
    assert!(resolved.omitted.is_empty());
    let p = |ops: &[Op]| ops.iter().map(Op::probability).collect::<Vec<_>>();
    assert_eq!(p(&resolved.view.ops), [0.5, 0.8, 0.2, 1.0, 0.0]);
    assert_eq!(p(&resolved.view_prime.ops), [0.5, 0.8, 0.2, 0.1, 0.2]);
}

#[test]
fn grey_pictures_lose_colour_operations_by_rule() {
    let mut policy = TwoViewPolicy::preset("byol").unwrap();
    policy.normalize = Normalize { mean: vec![0.5], std: vec![0.25] };
    let resolved = policy.resolve(1).unwrap();
    assert_eq!(resolved.omitted.len(), 2);
    assert!(!resolved.view.ops.iter().any(|op| op.kind() == OpKind::Grayscale));
    for ops in [&resolved.view.ops, &resolved.view_prime.ops] {
        assert!(ops.iter().any(|op| matches!(
            op,
            Op::ColorJitter { saturation, hue, brightness, .. }
                if *saturation == 0.0 && *hue == 0.0 && *brightness > 0.0
        )));
    }
}

#[test]
fn unknown_keys_and_bad_values_are_refused() {
    let text = TwoViewPolicy::preset_toml("byol").unwrap();
    let err = TwoViewPolicy::from_toml(&format!("sizes = 3\n{text}")).unwrap_err();
    assert!(err.to_string().contains("sizes"), "{err}");
    let mut policy = TwoViewPolicy::preset("byol").unwrap();
    policy.ops.push(Op::Grayscale { p: 0.1 });
    assert!(policy.resolve(3).unwrap_err().to_string().contains("at most once"));
    let mut policy = TwoViewPolicy::preset("byol").unwrap();
    policy.ops[0] = Op::HorizontalFlip { p: 1.5 };
    assert!(policy.resolve(3).unwrap_err().to_string().contains("horizontal_flip.p"));
    let mut policy = TwoViewPolicy::preset("byol").unwrap();
    policy.normalize.mean = vec![0.1, 0.2];
    assert!(policy.resolve(3).unwrap_err().to_string().contains("normalize.mean"));
}

#[test]
fn every_policy_that_ships_resolves() {
    for name in TwoViewPolicy::presets() {
        let mut policy = TwoViewPolicy::preset(name).unwrap();
        policy.resolve(if policy.normalize.mean.len() == 3 { 3 } else { 5 }).unwrap();
        policy.normalize = Normalize { mean: vec![0.5], std: vec![0.25] };
        for channels in [1, 2, 3, 13] {
            let resolved = policy.resolve(channels).unwrap();
            let names_rgb = resolved.omitted.iter().all(|o| o.to_string().contains("red, green and blue"));
            assert!(names_rgb && (channels != 3 || resolved.omitted.is_empty()), "{name}");
        }
    }
}
