//! Over 100,000 draws every parameter has the distribution that is stated, and
//! accepted crops are those of the reference's own code.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use byol_augment::{
    CropFit, JitterOp, Op, OpParams, PixelShape, Semantics, TwoViewPolicy, ViewKey, ViewParams, ViewPolicy,
};
use serde_json::Value;

const N: u64 = 100_000;
const SHAPE: PixelShape = PixelShape { width: 4000, height: 3000, channels: 3 };

fn key(sample: u64, view: u64) -> ViewKey {
    ViewKey { seed: 1, epoch: 5, sample, view }
}

fn policy(semantics: Semantics) -> TwoViewPolicy {
    let mut policy = TwoViewPolicy::preset("byol").unwrap();
    policy.semantics = semantics;
    policy
}

fn draws(policy: &ViewPolicy, shape: PixelShape) -> Vec<ViewParams> {
    (0..N).map(|sample| policy.sample(key(sample, 0), shape).unwrap()).collect()
}

/// Kolmogorov and Smirnov's distance of `values` from the uniform distribution.
fn is_uniform(what: &str, mut values: Vec<f64>, [low, high]: [f64; 2]) {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = values.iter().enumerate().fold(0.0f64, |distance, (i, x)| {
        let expected = (x - low) / (high - low);
        distance.max((expected - i as f64 / n).abs()).max((expected - (i + 1) as f64 / n).abs())
    });
    // 1.95 / √n is passed by chance once in a thousand.
    assert!(distance < 1.95 / n.sqrt(), "{what}: distance {distance} over {n} draws");
}

fn is_frequency(what: &str, hits: usize, n: usize, p: f64) {
    let error = (p * (1.0 - p) / n as f64).sqrt();
    let share = hits as f64 / n as f64;
    assert!((share - p).abs() <= 3.0 * error, "{what}: {share} instead of {p}");
}

/// The two-sample distance of Kolmogorov and Smirnov.
fn are_alike(what: &str, mut a: Vec<f64>, mut b: Vec<f64>) {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |values: &[f64], x: f64| values.partition_point(|v| *v <= x) as f64 / values.len() as f64;
    let distance = a.iter().chain(&b).fold(0.0f64, |d, &x| d.max((below(&a, x) - below(&b, x)).abs()));
    let (n, m) = (a.len() as f64, b.len() as f64);
    assert!(distance < 1.95 * ((n + m) / (n * m)).sqrt(), "{what}: distance {distance}");
}

fn jitters(all: &[ViewParams]) -> Vec<Vec<JitterOp>> {
    let steps = |op: &OpParams| match op {
        OpParams::ColorJitter { steps } => Some(steps.iter().collect()),
        _ => None,
    };
    all.iter().filter_map(|params| params.ops.iter().find_map(steps)).collect()
}

#[test]
fn parameters_have_their_distributions() {
    for semantics in [Semantics::Paper, Semantics::Torchvision] {
        let resolved = policy(semantics).resolve(3).unwrap();
        let all = draws(&resolved.view, SHAPE);
        let n = all.len();
        let count = |wanted: fn(&OpParams) -> bool| all.iter().filter(|p| p.ops.iter().any(wanted)).count();
        is_frequency("flip", count(|op| matches!(op, OpParams::HorizontalFlip)), n, 0.5);
        is_frequency("jitter", count(|op| matches!(op, OpParams::ColorJitter { .. })), n, 0.8);
        is_frequency("grey", count(|op| matches!(op, OpParams::Grayscale)), n, 0.2);
        assert_eq!(count(|op| matches!(op, OpParams::Blur { .. })), n);
        assert_eq!(count(|op| matches!(op, OpParams::Solarize { .. })), 0);
        let prime = draws(&resolved.view_prime, SHAPE);
        let hits = |wanted: fn(&OpParams) -> bool| prime.iter().filter(|p| p.ops.iter().any(wanted)).count();
        is_frequency("blur of T'", hits(|op| matches!(op, OpParams::Blur { .. })), n, 0.1);
        is_frequency("solarize of T'", hits(|op| matches!(op, OpParams::Solarize { .. })), n, 0.2);

        let sigma = |op: &OpParams| match op {
            OpParams::Blur { sigma, .. } => Some(f64::from(*sigma)),
            _ => None,
        };
        is_uniform("sigma", all.iter().filter_map(|p| p.ops.iter().find_map(sigma)).collect(), [0.1, 2.0]);
        let jitters = jitters(&all);
        let values = |pick: fn(&JitterOp) -> Option<f32>| {
            jitters.iter().filter_map(|steps| steps.iter().find_map(pick)).map(f64::from).collect::<Vec<_>>()
        };
        let brightness = if semantics == Semantics::Paper { [-0.4, 0.4] } else { [0.6, 1.4] };
        let pick = |op: &JitterOp| if let JitterOp::Brightness(x) = op { Some(*x) } else { None };
        is_uniform("brightness", values(pick), brightness);
        let pick = |op: &JitterOp| if let JitterOp::Contrast(x) = op { Some(*x) } else { None };
        is_uniform("contrast", values(pick), [0.6, 1.4]);
        let pick = |op: &JitterOp| if let JitterOp::Saturation(x) = op { Some(*x) } else { None };
        is_uniform("saturation", values(pick), [0.8, 1.2]);
        let pick = |op: &JitterOp| if let JitterOp::Hue(x) = op { Some(*x) } else { None };
        is_uniform("hue", values(pick), [-0.1, 0.1]);

        let mut orders = std::collections::BTreeMap::<Vec<usize>, usize>::new();
        for steps in &jitters {
            let kinds = steps.iter().map(|step| match step {
                JitterOp::Brightness(_) => 0,
                JitterOp::Contrast(_) => 1,
                JitterOp::Saturation(_) => 2,
                JitterOp::Hue(_) => 3,
            });
            *orders.entry(kinds.collect()).or_default() += 1;
        }
        assert_eq!(orders.len(), 24);
        // χ² over the 24 orders, 23 degrees of freedom: 49.7 is passed once in a thousand.
        let expected = jitters.len() as f64 / 24.0;
        let chi2: f64 = orders.values().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
        assert!(chi2 < 49.7, "orders: χ² = {chi2}");
    }
}

#[test]
fn crops_have_the_stated_area_aspect_and_place() {
    // Small enough that no crop is cut to the picture.
    let mut policy = policy(Semantics::Paper);
    policy.crop.area = [0.08, 0.5];
    let all = draws(&policy.resolve(3).unwrap().view, SHAPE);
    let pixels = (SHAPE.width * SHAPE.height) as f64;
    let of = |f: fn(&ViewParams) -> f64| all.iter().map(f).collect::<Vec<_>>();
    let area = of(|p| (p.crop.width * p.crop.height) as f64);
    is_uniform("area", area.iter().map(|a| a / pixels).collect(), [0.08, 0.5]);
    let aspect = of(|p| (p.crop.width as f64 / p.crop.height as f64).ln());
    is_uniform("aspect", aspect, [0.75f64.ln(), (4.0f64 / 3.0).ln()]);
    // A place on the grid, spread over the room that it stands for.
    let place = |free: usize, at: usize, i: usize| {
        (at as f64 + (i as f64 * 0.618_033_988_7).fract()) / (free + 1) as f64
    };
    let x = all.iter().enumerate().map(|(i, p)| place(SHAPE.width - p.crop.width, p.crop.x, i)).collect();
    is_uniform("x", x, [0.0, 1.0]);
    let y = all.iter().enumerate().map(|(i, p)| place(SHAPE.height - p.crop.height, p.crop.y, i)).collect();
    is_uniform("y", y, [0.0, 1.0]);
}

#[test]
fn accepted_crops_are_torchvisions() {
    let text = include_str!("../../../tests/golden/torchvision/crops.json");
    let golden: Value = serde_json::from_str(text).unwrap();
    let mut policy = policy(Semantics::Torchvision);
    policy.crop.fit = CropFit::Retry;
    let policy = policy.resolve(3).unwrap().view;
    for set in golden.as_array().unwrap() {
        let side = |key: &str| set[key].as_u64().unwrap() as usize;
        let shape = PixelShape { width: side("width"), height: side("height"), channels: 3 };
        let ours = draws(&policy, shape);
        for (i, what) in ["x", "y", "width", "height"].into_iter().enumerate() {
            let theirs: Vec<f64> =
                set["crops"].as_array().unwrap().iter().map(|c| c[i].as_f64().unwrap()).collect();
            let ours = ours.iter().map(|p| [p.crop.x, p.crop.y, p.crop.width, p.crop.height][i] as f64);
            are_alike(&format!("{what} in {shape}"), ours.collect(), theirs);
        }
    }
}

#[test]
fn crops_that_do_not_fit_are_cut_as_in_deepminds_code() {
    // `_decode_and_random_crop` of byol/utils/dataset.py: one draw, each side at
    // most the picture's.
    let policy = policy(Semantics::Paper).resolve(3).unwrap().view;
    let shape = PixelShape { width: 300, height: 60, channels: 3 };
    let cut = draws(&policy, shape).iter().filter(|p| p.crop.height == 60).count();
    // round(sqrt(area · 18000 / aspect)) >= 60, over area and ln aspect, by integration.
    let (steps, mut share) = (2000, 0.0);
    for i in 0..steps {
        let ln_aspect = 0.75f64.ln() + (i as f64 + 0.5) / f64::from(steps) * (16.0f64 / 9.0).ln();
        let least = 59.5f64.powi(2) * ln_aspect.exp() / 18_000.0;
        share += ((1.0 - least.max(0.08)) / 0.92).max(0.0) / f64::from(steps);
    }
    is_frequency("cut to the height", cut, N as usize, share);
}

#[test]
fn the_other_operations_have_their_distributions() {
    let mut policy = policy(Semantics::Paper);
    policy.ops = vec![
        Op::VerticalFlip { p: 0.3 },
        Op::RightAngle { p: 0.6 },
        Op::Rotate { p: 1.0, degrees: [-30.0, 50.0], fill: 0.0 },
        Op::ChannelGain { p: 1.0, gain: 0.3, offset: 0.1 },
        Op::Posterize { p: 0.25, bits: 4 },
        Op::Noise { p: 1.0, sigma: [0.01, 0.05] },
        Op::Erase { p: 0.7, area: [0.02, 0.2], aspect: [0.5, 2.0], value: 0.0 },
    ];
    policy.prime = vec![];
    let all = draws(&policy.resolve(3).unwrap().view, SHAPE);
    let ops = |pick: fn(&OpParams) -> Option<f64>| {
        all.iter().filter_map(|p| p.ops.iter().find_map(pick)).collect::<Vec<f64>>()
    };
    let n = all.len();
    let flips = ops(|op| matches!(op, OpParams::VerticalFlip).then_some(1.0)).len();
    is_frequency("vertical flip", flips, n, 0.3);
    is_frequency(
        "posterize",
        ops(|op| matches!(op, OpParams::Posterize { .. }).then_some(1.0)).len(),
        n,
        0.25,
    );
    let turns = ops(|op| {
        if let OpParams::RightAngle { quarter_turns } = op { Some((*quarter_turns).into()) } else { None }
    });
    is_frequency("right angle", turns.len(), n, 0.6);
    for turn in 1..=3 {
        let hits = turns.iter().filter(|t| **t == f64::from(turn)).count();
        is_frequency("quarter turns", hits, turns.len(), 1.0 / 3.0);
    }
    let degrees =
        ops(|op| if let OpParams::Rotate { degrees, .. } = op { Some((*degrees).into()) } else { None });
    is_uniform("degrees", degrees, [-30.0, 50.0]);
    let sigma = ops(|op| if let OpParams::Noise { sigma, .. } = op { Some((*sigma).into()) } else { None });
    is_uniform("noise", sigma, [0.01, 0.05]);
    for channel in 0..3 {
        let pick = |p: &ViewParams| {
            p.ops.iter().find_map(|op| match op {
                OpParams::ChannelGain { channels } => Some(channels.of(channel).into()),
                _ => None,
            })
        };
        let (gains, offsets): (Vec<f64>, Vec<f64>) =
            all.iter().filter_map(pick).map(|(g, o)| (f64::from(g), f64::from(o))).unzip();
        is_uniform("gain", gains, [0.7, 1.3]);
        is_uniform("offset", offsets, [-0.1, 0.1]);
    }
    let erased: Vec<_> = all
        .iter()
        .filter_map(|p| {
            p.ops.iter().find_map(|op| if let OpParams::Erase { area, .. } = op { Some(*area) } else { None })
        })
        .collect();
    is_frequency("erase", erased.len(), n, 0.7);
    let area: Vec<f64> = erased.iter().map(|a| (a.width * a.height) as f64 / (224.0 * 224.0)).collect();
    let mean = area.iter().sum::<f64>() / area.len() as f64;
    assert!((mean - 0.11).abs() < 3.0 * (0.18 / 12f64.sqrt()) / (area.len() as f64).sqrt() + 2e-4, "{mean}"); // + whole pixels
    assert!(erased.iter().all(|a| a.x + a.width <= 224 && a.y + a.height <= 224));
}

#[test]
fn views_of_a_picture_are_independent() {
    let policy = policy(Semantics::Paper).resolve(3).unwrap().view;
    let x = |view: u64| (0..N).map(move |s| key(s, view));
    let centre = |key| {
        let crop = policy.sample(key, SHAPE).unwrap().crop;
        (crop.width * crop.height) as f64
    };
    let (a, b): (Vec<f64>, Vec<f64>) = (x(0).map(centre).collect(), x(1).map(centre).collect());
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(&a), mean(&b));
    let product = |p: &[f64], mp: f64, q: &[f64], mq: f64| {
        p.iter().zip(q).map(|(x, y)| (x - mp) * (y - mq)).sum::<f64>()
    };
    let correlation = product(&a, ma, &b, mb) / (product(&a, ma, &a, ma) * product(&b, mb, &b, mb)).sqrt();
    assert!(correlation.abs() < 3.3 / (N as f64).sqrt(), "correlation {correlation}");
}
