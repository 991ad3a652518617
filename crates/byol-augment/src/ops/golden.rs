//! Every operation against a NumPy transcription of the paper's formulas
//! (tests/golden/augment).

use serde_json::Value;

use super::{blur, color, crop, flip, solarize};
use crate::{Border, CropBox, Filter, Pixels, Resample, Workspace};

fn number(case: &Value, key: &str) -> f32 {
    case[key].as_f64().unwrap() as f32
}

fn integer(case: &Value, key: &str) -> usize {
    case[key].as_u64().unwrap() as usize
}

fn close(case: &Value, got: &[f32]) {
    let expected: Vec<f64> =
        case["expected"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(got.len(), expected.len(), "{}", case["op"]);
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!(
            (f64::from(*got) - expected).abs() < 1e-5,
            "{} value {i}: {got} against {expected}",
            case["op"]
        );
    }
}

#[test]
fn operations_are_the_papers() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../tests/golden/augment/expected.json")).unwrap();
    let (width, height) = (integer(&golden, "width"), integer(&golden, "height"));
    let data: Vec<u8> =
        golden["data"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u8).collect();
    let pixels = Pixels::new(&data, width, height, 3).unwrap();
    let mut workspace = Workspace::default();
    let mut seen = 0;
    for case in golden["cases"].as_array().unwrap() {
        let op = case["op"].as_str().unwrap();
        let planes: Vec<f32> =
            (0..3).flat_map(|c| data.iter().skip(c).step_by(3).map(|&x| f32::from(x) / 255.0)).collect();
        match op {
            "resize" => {
                let crop = CropBox {
                    x: integer(case, "x"),
                    y: integer(case, "y"),
                    width: integer(case, "width"),
                    height: integer(case, "height"),
                };
                let size = integer(case, "out_width");
                if size != integer(case, "out_height") {
                    continue; // views are square
                }
                let antialias = case["antialias"].as_bool().unwrap();
                let resample = Resample { filter: Filter::Bicubic, antialias };
                let mut view = vec![0.0; 3 * size * size];
                crop::crop_resize(pixels, crop, resample, size, &mut workspace, &mut view);
                close(case, &view);
            }
            "flip" => {
                let mut view = planes.clone();
                flip::horizontal(&mut view, width);
                close(case, &view);
            }
            "blur" => {
                let border = match case["padding"].as_str().unwrap() {
                    "zero" => Border::Zero,
                    _ => Border::Reflect,
                };
                let (radius, sigma) = (integer(case, "radius"), number(case, "sigma"));
                let mut view = planes.clone();
                blur::gaussian_planes(&mut view, [width, height], radius, sigma, border, &mut workspace);
                close(case, &view);
            }
            _ => {
                let n = width * height;
                let mut view = planes.clone();
                let mut apply = |op: &str, value: f32| match op {
                    "brightness" => color::brightness(&mut view, value),
                    "contrast" => color::contrast(&mut view, n, value),
                    "saturation" => color::saturation(&mut view, n, value),
                    "hue" => color::hue(&mut view, n, value),
                    "grayscale" => color::grayscale(&mut view, n),
                    "solarize" => solarize::solarize(&mut view, value),
                    other => panic!("no operation is called {other}"),
                };
                match op {
                    "brightness" | "hue" => apply(op, number(case, "delta")),
                    "contrast" | "saturation" => apply(op, number(case, "factor")),
                    "solarize" => apply(op, number(case, "threshold")),
                    "grayscale" => apply(op, 0.0),
                    "jitter" => {
                        for step in case["order"].as_array().unwrap() {
                            let step = step.as_str().unwrap();
                            apply(step, number(case, step));
                        }
                    }
                    other => panic!("no case is called {other}"),
                }
                close(case, &view);
            }
        }
        seen += 1;
    }
    assert!(seen >= 18, "only {seen} cases were compared");
}
