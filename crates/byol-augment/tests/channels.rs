//! Pictures of any number of channels: each channel is treated as it would be alone.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use byol_augment::{
    Border, ChannelGains, CropBox, CropFit, CropPolicy, Filter, JitterOp, Normalize, OpParams, Path,
    PixelShape, Pixels, Resample, Semantics, ViewParams, ViewPolicy, Workspace,
};

const WIDTH: usize = 53;
const HEIGHT: usize = 41;

fn policy(semantics: Semantics, size: usize) -> ViewPolicy {
    ViewPolicy {
        semantics,
        size,
        resample: Resample { filter: Filter::Bicubic, antialias: true },
        crop: CropPolicy { area: [1.0, 1.0], aspect: [1.0, 1.0], fit: CropFit::Clamp },
        ops: vec![],
        normalize: Normalize { mean: vec![0.0], std: vec![1.0] },
    }
}

fn view(policy: &ViewPolicy, data: &[u8], channels: usize, ops: Vec<OpParams>, path: Path) -> Vec<f32> {
    let source = PixelShape { width: WIDTH, height: HEIGHT, channels };
    let params = ViewParams { source, crop: CropBox { x: 3, y: 2, width: 45, height: 36 }, ops };
    let pixels = Pixels::new(data, WIDTH, HEIGHT, channels).unwrap();
    let mut out = vec![0.0; policy.output_len(channels)];
    policy.apply(&params, pixels, &mut Workspace::with_path(path).unwrap(), &mut out).unwrap();
    out
}

fn ops(gains: ChannelGains) -> Vec<OpParams> {
    let steps = [JitterOp::Contrast(1.3), JitterOp::Brightness(0.9)];
    vec![
        OpParams::VerticalFlip,
        OpParams::ColorJitter { steps: steps.into_iter().collect() },
        OpParams::ChannelGain { channels: gains },
        OpParams::Blur { sigma: 0.8, radius: 2, border: Border::Reflect },
        OpParams::RightAngle { quarter_turns: 1 },
        OpParams::Rotate { degrees: 12.0, fill: 0.3 },
        OpParams::Posterize { bits: 4 },
        OpParams::Solarize { threshold: 0.6 },
        OpParams::Erase { area: CropBox { x: 4, y: 5, width: 6, height: 7 }, value: 0.1 },
        OpParams::HorizontalFlip,
    ]
}

#[test]
fn channels_do_not_touch_each_other() {
    for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
        for channels in [1, 2, 3, 4, 7, 20] {
            // The paper's contrast is about each channel's own mean.
            let policy = policy(Semantics::Paper, 33);
            let data: Vec<u8> =
                (0..WIDTH * HEIGHT * channels).map(|i| ((i * i + 37 * (i % channels)) % 251) as u8).collect();
            let gain = |c: usize| [1.0 + 0.02 * c as f32, 0.01 * c as f32];
            let together = view(&policy, &data, channels, ops((0..channels).map(gain).collect()), path);
            for (c, plane) in together.chunks_exact(33 * 33).enumerate() {
                let alone: Vec<u8> = data.iter().skip(c).step_by(channels).copied().collect();
                let alone = view(&policy, &alone, 1, ops(std::iter::once(gain(c)).collect()), path);
                assert!(plane == alone, "{path:?}, channel {c} of {channels}");
            }
        }
    }
}

#[test]
fn noise_has_the_stated_deviation() {
    for (semantics, sigma) in [(Semantics::Paper, 0.05f32), (Semantics::Torchvision, 0.1)] {
        let policy = policy(semantics, 128);
        let grey = vec![128u8; WIDTH * HEIGHT * 2];
        let noisy = |seed: u64| view(&policy, &grey, 2, vec![OpParams::Noise { sigma, seed }], Path::best());
        let (a, b) = (noisy(1), noisy(2));
        assert_eq!(a, noisy(1));
        assert_ne!(a, b);
        let n = a.len() as f64;
        let offset = |x: &f32| f64::from(*x) - 128.0 / 255.0;
        let mean = a.iter().map(offset).sum::<f64>() / n;
        let deviation = (a.iter().map(|x| offset(x).powi(2)).sum::<f64>() / n).sqrt();
        let sigma = f64::from(sigma);
        assert!(mean.abs() < 4.0 * sigma / n.sqrt(), "mean {mean}");
        // Noise cut to whole levels towards 0 is a little smaller.
        let cut = if semantics == Semantics::Torchvision { 0.5 / 255.0 } else { 0.0 };
        assert!((deviation - sigma).abs() < 4.0 * sigma / (2.0 * n).sqrt() + cut, "deviation {deviation}");
        assert!(a[..128 * 128] != a[128 * 128..], "channels have noise of their own");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let pixels = [0u8; 4];
    let source = PixelShape { width: 1, height: 1, channels: 4 };
    let params = ViewParams { source, crop: CropBox { x: 0, y: 0, width: 1, height: 1 }, ops: vec![] };
    let pixels = Pixels::new(&pixels, 1, 1, 4).unwrap();
    let apply = |policy: &ViewPolicy, n: usize| {
        policy.apply(&params, pixels, &mut Workspace::default(), &mut vec![0.0; n]).map_err(|e| e.to_string())
    };
    let mut wrong = policy(Semantics::Paper, 2);
    apply(&wrong, 16).unwrap();
    wrong.normalize = Normalize { mean: vec![0.5; 3], std: vec![0.2; 3] };
    assert!(apply(&wrong, 16).unwrap_err().contains("normalize.mean"));
    wrong.normalize = Normalize { mean: vec![], std: vec![1.0] };
    assert!(apply(&wrong, 16).unwrap_err().contains("normalize.mean"));
    for size in [0, 1 << 32, usize::MAX] {
        assert!(apply(&ViewPolicy { size, ..policy(Semantics::Paper, 2) }, 0).unwrap_err().contains("size"));
    }
    let key = byol_augment::ViewKey { seed: 0, epoch: 0, sample: 0, view: 0 };
    let empty = PixelShape { width: 0, height: 3, channels: 1 };
    assert!(policy(Semantics::Paper, 2).sample(key, empty).unwrap_err().to_string().contains("no pixels"));
}
