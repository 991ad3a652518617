use serde_json::Value;

use super::*;
use crate::every_nth;

fn integers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

fn first(ranked: &Ranked) -> Vec<usize> {
    ranked.iter().map(|classes| classes[0]).collect()
}

#[test]
fn the_optimum_is_scikit_learns() {
    let text = include_str!("../../../../tests/golden/eval/expected.json");
    let golden: Value = serde_json::from_str(text).unwrap();
    let golden = &golden["logistic"];
    let rows = golden["x"].as_array().unwrap();
    let values = rows.iter().flat_map(|r| r.as_array().unwrap()).map(|x| x.as_f64().unwrap() as f32);
    let x = Features::new(rows[0].as_array().unwrap().len(), values.collect()).unwrap();
    let y = integers(&golden["y"]);
    let solutions = golden["solutions"].as_array().unwrap();
    assert_eq!(solutions.len(), 3);
    for case in solutions {
        let penalty = case["lambda"].as_f64().unwrap();
        let n_classes = golden["classes"].as_u64().unwrap() as usize;
        let probe = Probe::fit(&x, &y, n_classes, penalty).unwrap();
        let expected = case["objective"].as_f64().unwrap();
        assert!((probe.objective - expected).abs() < 1e-6 * expected, "{penalty}: {}", probe.objective);
        assert_eq!(first(&probe.predict(&x).unwrap()), integers(&case["predicted"]));
    }
}

/// Features that are whole numbers over 64 times powers of two.
fn features(case: &Value) -> Features {
    let powers: Vec<i32> =
        case["powers"].as_array().unwrap().iter().map(|p| p.as_i64().unwrap() as i32).collect();
    let rows = case["grid"].as_array().unwrap().iter().map(|row| row.as_array().unwrap());
    let values = rows.flat_map(|row| {
        row.iter().zip(&powers).map(|(x, p)| x.as_i64().unwrap() as f32 / 64.0 * 2f32.powi(*p))
    });
    Features::new(powers.len(), values.collect()).unwrap()
}

#[test]
fn so_it_is_at_any_scale_and_with_more_features_than_rows() {
    let text = include_str!("../../../../tests/golden/eval/probes.json");
    let golden: Value = serde_json::from_str(text).unwrap();
    let cases = golden.as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let (x, y) = (features(case), integers(&case["y"]));
        let n_classes = case["classes"].as_u64().unwrap() as usize;
        let solutions = case["solutions"].as_array().unwrap();
        let penalties: Vec<f64> = solutions.iter().map(|s| s["penalty"].as_f64().unwrap()).collect();
        let path = Probe::path(&x, &y, n_classes, &penalties, 1e-7).unwrap();
        for (solution, on_path) in solutions.iter().zip(&path) {
            let (penalty, expected) =
                (solution["penalty"].as_f64().unwrap(), solution["objective"].as_f64().unwrap());
            let what = format!("{} at {penalty}", case["name"]);
            let probe = Probe::fit(&x, &y, n_classes, penalty).unwrap();
            let off = (probe.objective - expected) / expected;
            assert!(off.abs() < 1e-6, "{what}: off by {off:.1e} after {} steps", probe.iterations);
            let predicted = first(&probe.predict(&x).unwrap());
            let (known, decided) = (integers(&solution["predicted"]), integers(&solution["decided"]));
            for (row, (a, b)) in predicted.iter().zip(&known).enumerate() {
                assert!(a == b || decided[row] == 0, "{what}: row {row} is {a}, not {b}");
            }
            let off = (on_path.objective - expected) / expected;
            assert!(off.abs() < 1e-5, "{what}, from the penalty before: off by {off:.1e}");
        }
    }
}

/// Rows of three classes in a little noise.
fn noisy(n: usize) -> (Features, Vec<usize>) {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let labels: Vec<usize> = (0..n).map(|i| i % 3).collect();
    let rows = labels.iter().flat_map(|&l| [l as f32 + 2.0 * noise(), noise(), noise()]).collect();
    (Features::new(3, rows).unwrap(), labels)
}

#[test]
fn the_penalty_is_chosen_and_all_rows_are_fitted_with_it() {
    let (train, labels) = noisy(200);
    let (probe, report) = logistic_probe(&train, &labels, &every_nth(200, 10), 3, &penalties()).unwrap();
    assert_eq!((report.penalties.len(), report.n_held_out), (45, 20));
    assert!(report.excess <= TOLERANCE, "{report:?}");
    let best = report.held_out_top1.iter().copied().fold(0.0, f64::max);
    // Among equals the one that is surest of what is right.
    let equals = (0..45).filter(|i| report.held_out_top1[*i] == best);
    let surest = equals.min_by(|a, b| report.held_out_loss[*a].total_cmp(&report.held_out_loss[*b])).unwrap();
    assert_eq!(report.penalty, report.penalties[surest]);
    assert!((report.held_out_loss[0] - 3f64.ln()).abs() < 0.01, "the strongest penalty knows nothing");
    // The same as a fit of standardised rows with that penalty.
    let rows = crate::Standardize::fit(&train).apply(&train);
    let again = Probe::fit(&rows, &labels, 3, report.penalty).unwrap();
    assert_eq!(probe.predict(&train).unwrap(), again.predict(&rows).unwrap());
}

#[test]
fn the_held_out_rows_do_not_teach_while_penalties_are_compared() {
    let (train, labels) = noisy(200);
    let held_out = every_nth(200, 10);
    let of = |labels: &[usize]| {
        logistic_probe(&train, labels, &held_out, 3, &[0.1, 0.001]).unwrap().1.held_out_top1
    };
    // With the labels of held-out rows turned, what was right is wrong.
    let turned: Vec<usize> = labels
        .iter()
        .zip(&held_out)
        .map(|(label, held)| if *held { (label + 1) % 3 } else { *label })
        .collect();
    assert!(of(&labels)[1] > 0.6 && of(&turned)[1] < 0.4, "{:?}, {:?}", of(&labels), of(&turned));
}

#[test]
fn threads_change_no_bit() {
    let (train, labels) = noisy(5000);
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Probe::fit(&train, &labels, 3, 1e-4).unwrap())
    };
    let (one, three) = (fit(1), fit(3));
    assert_eq!((one.weights, one.bias), (three.weights, three.bias));
}

#[test]
fn edges_are_answers_or_errors() {
    let (train, labels) = noisy(30);
    // One class, and a class that no row has.
    let probe = Probe::fit(&train, &[0; 30], 1, 1e-3).unwrap();
    assert_eq!(first(&probe.predict(&train).unwrap()), [0; 30]);
    assert!(Probe::fit(&train, &labels, 4, 1e-3).unwrap().predict(&train).is_ok());
    // Features without variance.
    let flat = Features::new(2, vec![1.0; 60]).unwrap();
    assert!(Probe::fit(&flat, &labels, 3, 1e-3).unwrap().objective - 3f64.ln() < 1e-9);
    assert!(Probe::fit(&train, &labels, 2, 1e-3).is_err());
    assert!(Probe::fit(&train, &labels[1..], 3, 1e-3).is_err());
    for penalty in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Probe::fit(&train, &labels, 3, penalty).is_err());
    }
    for held_out in [vec![false; 30], vec![true; 30], vec![true; 3]] {
        assert!(logistic_probe(&train, &labels, &held_out, 3, &penalties()).is_err());
    }
}
