//! Every operation and whole policies against torchvision on 8-bit tensors, with
//! the same parameters (tests/golden/torchvision).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use byol_augment::{
    CropBox, CropFit, CropPolicy, Filter, Normalize, OpParams, Path, PixelShape, Pixels, Resample, Semantics,
    ViewParams, ViewPolicy, Workspace,
};
use serde_json::Value;

const CASES: &str = include_str!("../../../tests/golden/torchvision/cases.json");
const EXPECTED: &[u8] = include_bytes!("../../../tests/golden/torchvision/expected.bin");
const PHOTO: &[u8] = include_bytes!("../../../tests/golden/torchvision/photo.bin");
const PHOTO_224: &[u8] = include_bytes!("../../../tests/golden/torchvision/photo_224.bin");

/// The script's noise.
fn noise(width: usize, height: usize) -> Vec<u8> {
    (0..(width * height * 3) as u64)
        .map(|i| {
            let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            (mixed ^ (mixed >> 13)) as u8
        })
        .collect()
}

struct Picture {
    data: Vec<u8>,
    shape: PixelShape,
}

fn picture(name: &str, golden: &Value) -> Picture {
    let side = |key: &str, i: usize| golden[key][i].as_u64().unwrap() as usize;
    let (base, gray) = name.strip_suffix("_gray").map_or((name, false), |base| (base, true));
    let (data, width, height) = match base {
        "photo" => (PHOTO.to_vec(), side("photo", 0), side("photo", 1)),
        "noise" => (noise(side("noise", 0), side("noise", 1)), side("noise", 0), side("noise", 1)),
        "photo_224" => (PHOTO_224.to_vec(), 224, 224),
        "noise_224" => (noise(224, 224), 224, 224),
        other => panic!("no picture is called {other}"),
    };
    if gray {
        let data = data.iter().skip(1).step_by(3).copied().collect(); // green
        return Picture { data, shape: PixelShape { width, height, channels: 1 } };
    }
    Picture { data, shape: PixelShape { width, height, channels: 3 } }
}

/// Differences of a case, in levels.
fn differences(case: &Value, golden: &Value, expected: &[u8], path: Path) -> Vec<f64> {
    let picture = picture(case["picture"].as_str().unwrap(), golden);
    let size = case["size"].as_u64().unwrap() as usize;
    let filter = if case["filter"] == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
    let policy = ViewPolicy {
        semantics: Semantics::Torchvision,
        size,
        resample: Resample { filter, antialias: true },
        crop: CropPolicy { area: [1.0, 1.0], aspect: [1.0, 1.0], fit: CropFit::Retry },
        ops: vec![],
        normalize: Normalize { mean: vec![0.0], std: vec![1.0] },
    };
    let crop: CropBox = serde_json::from_value(case["crop"].clone()).unwrap();
    let ops: Vec<OpParams> = serde_json::from_value(case["ops"].clone()).unwrap();
    let params = ViewParams { source: picture.shape, crop, ops };
    let PixelShape { width, height, channels } = picture.shape;
    let pixels = Pixels::new(&picture.data, width, height, channels).unwrap();
    let mut view = vec![0.0; policy.output_len(channels)];
    policy.apply(&params, pixels, &mut Workspace::with_path(path).unwrap(), &mut view).unwrap();
    let stride = case["stride"].as_u64().unwrap() as usize;
    let kept = view.iter().step_by(stride);
    assert_eq!(kept.len(), expected.len());
    kept.zip(expected).map(|(ours, theirs)| (f64::from(*ours) * 255.0 - f64::from(*theirs)).abs()).collect()
}

/// The share of values that may differ at all, by at most a level or two: where a
/// value lies on the border between two levels. Elsewhere equality.
fn may_differ(case: &Value) -> f64 {
    let op = &case["ops"][0];
    match (case["kind"].as_str().unwrap(), op["op"].as_str().unwrap_or_default()) {
        ("resize", _) => 0.05,
        ("policy", _) => 0.03,
        (_, "blur") => 0.015,
        (_, "rotate") => 0.002,
        (_, "color_jitter") if op["steps"][0].get("saturation").is_some() => 0.015,
        (_, "color_jitter") if op["steps"][0].get("hue").is_some() => 0.002,
        _ => 0.0,
    }
}

#[test]
fn operations_and_policies_are_torchvisions() {
    let golden: Value = serde_json::from_str(CASES).unwrap();
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        let (mut at, mut seen) = (0, [0; 3]);
        let mut of_policies = Vec::new();
        for (i, case) in golden["cases"].as_array().unwrap().iter().enumerate() {
            let n = case["values"].as_u64().unwrap() as usize;
            let found = differences(case, &golden, &EXPECTED[at..at + n], path);
            at += n;
            let largest = found.iter().copied().fold(0.0, f64::max);
            let what = format!("{} case {i}: {} {}", path.name(), case["picture"], case["ops"]);
            let unequal = found.iter().filter(|d| **d > 0.01).count() as f64 / found.len() as f64;
            assert!(unequal <= may_differ(case), "{what}: {unequal} of the values differ");
            match case["kind"].as_str().unwrap() {
                "operation" => {
                    seen[0] += 1;
                    assert!(largest <= 1.001, "{what}: {largest}");
                }
                "resize" => {
                    seen[1] += 1;
                    assert!(largest <= 2.001, "{what}: {} {largest}", case["crop"]);
                }
                _ => {
                    seen[2] += 1;
                    assert!(largest <= 6.001, "{what}: {largest}");
                    let mean = found.iter().sum::<f64>() / found.len() as f64;
                    assert!(mean <= 0.5, "{what}: mean {mean}");
                    of_policies.extend(found);
                }
            }
        }
        assert_eq!(at, EXPECTED.len());
        assert!(seen[0] > 100 && seen[1] > 80 && seen[2] > 70, "{seen:?}");
        of_policies.sort_by(f64::total_cmp);
        let quantile = of_policies[of_policies.len() * 999 / 1000];
        assert!(quantile <= 2.001, "99.9 % of the values of policies are within {quantile}");
    }
}
