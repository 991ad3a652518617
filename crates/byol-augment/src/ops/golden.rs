//! Every operation against a NumPy transcription of the paper's formulas
//! (tests/golden/augment).

use serde_json::Value;

use super::{blur, pointwise, whole};
use crate::apply::Job;
use crate::kernels::LANES;
use crate::kernels::portable::Portable;
use crate::{
    Border, CropBox, CropFit, CropPolicy, Filter, Normalize, OpParams, Pixels, Resample, Semantics,
    ViewParams, ViewPolicy, Workspace,
};

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
    // A blur leaves out taps that weigh less than 3e-5 together.
    let blurs = case["op"] == "blur" || case["op"] == "policy";
    let tolerance = if blurs { 5e-5 } else { 1e-5 };
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!(
            (f64::from(*got) - expected).abs() < tolerance,
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
                let (ops, normalize) = (&[], &Normalize { mean: vec![0.0], std: vec![1.0] });
                let (semantics, workspace, view_out) = (Semantics::Paper, &mut workspace, &mut view[..]);
                Job { semantics, crop, resample, size, ops, normalize, pixels, workspace, view: view_out }
                    .run()
                    .unwrap();
                close(case, &view);
            }
            "policy" => {
                let ops: Vec<OpParams> = serde_json::from_value(case["ops"].clone()).unwrap();
                let crop = serde_json::from_value(case["crop"].clone()).unwrap();
                let size = integer(case, "size");
                let policy = ViewPolicy {
                    semantics: Semantics::Paper,
                    size,
                    resample: Resample { filter: Filter::Bicubic, antialias: false },
                    crop: CropPolicy { area: [1.0, 1.0], aspect: [1.0, 1.0], fit: CropFit::Clamp },
                    ops: vec![],
                    normalize: Normalize { mean: vec![0.0], std: vec![1.0] },
                };
                let mut view = vec![0.0; 3 * size * size];
                let params = ViewParams { source: pixels.shape(), crop, ops };
                policy.apply(&params, pixels, &mut workspace, &mut view).unwrap();
                close(case, &view);
            }
            "flip" => {
                let mut view = planes.clone();
                whole::mirror_x(&mut view, width);
                close(case, &view);
            }
            "blur" => {
                let border = match case["padding"].as_str().unwrap() {
                    "zero" => Border::Zero,
                    _ => Border::Reflect,
                };
                let (radius, sigma) = (integer(case, "radius"), number(case, "sigma"));
                let mut view = planes.clone();
                let mut buffers = blur::BlurBuffers::default();
                let shape = [width, height];
                let mut blurrer = blur::Blurrer::new::<false>(&mut buffers, shape, 3, radius, sigma, border);
                (0..height).for_each(|y| blurrer.row::<Portable, false>(y, &mut view, width * height));
                close(case, &view);
            }
            _ => {
                let n = width * height;
                // Planes of whole vectors.
                let stride = n.next_multiple_of(LANES);
                let mut view = vec![0.0; 3 * stride];
                for (to, from) in view.chunks_exact_mut(stride).zip(planes.chunks_exact(n)) {
                    to[..n].copy_from_slice(from);
                }
                let mut apply = |op: &str, value: f32| {
                    let (red, rest) = view.split_at_mut(stride);
                    let (green, blue) = rest.split_at_mut(stride);
                    match op {
                        "saturation" => pointwise::saturation::<Portable, false>([red, green, blue], value),
                        "hue" => pointwise::hue::<Portable, false>([red, green, blue], value),
                        "grayscale" => pointwise::grayscale::<Portable, false>([red, green, blue]),
                        _ => view.chunks_exact_mut(stride).for_each(|plane| match op {
                            "brightness" => pointwise::brightness::<Portable, false>(plane, value),
                            "contrast" => {
                                let mean = (pointwise::sum::<Portable>(&plane[..n]) / n as f64) as f32;
                                pointwise::contrast::<Portable, false>(plane, value, mean);
                            }
                            "solarize" => pointwise::solarize::<Portable, false>(plane, value),
                            other => panic!("no operation is called {other}"),
                        }),
                    }
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
                let got: Vec<f32> = view.chunks_exact(stride).flat_map(|plane| plane[..n].to_vec()).collect();
                close(case, &got);
            }
        }
        seen += 1;
    }
    assert!(seen >= 30, "only {seen} cases were compared");
}
