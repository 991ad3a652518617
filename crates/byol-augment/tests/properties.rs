//! What holds for every picture, policy size and key.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use byol_augment::{
    Border, CropBox, CropFit, CropPolicy, JitterOp, OpParams, PixelShape, Pixels, Semantics, TwoViewPolicy,
    ViewKey, ViewParams, Workspace,
};
use proptest::prelude::*;

fn pixels_of(shape: PixelShape, seed: u64) -> Vec<u8> {
    (0..shape.width * shape.height * shape.channels)
        .map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed).to_le_bytes()[7])
        .collect()
}

/// Operations as somebody might write them into stored parameters.
fn any_op() -> impl Strategy<Value = OpParams> {
    let area = (0usize..70, 0usize..70, any::<usize>(), any::<usize>())
        .prop_map(|(x, y, width, height)| CropBox { x, y, width, height });
    let step = prop_oneof![
        any::<f32>().prop_map(JitterOp::Brightness),
        any::<f32>().prop_map(JitterOp::Contrast),
        any::<f32>().prop_map(JitterOp::Saturation),
        any::<f32>().prop_map(JitterOp::Hue),
    ];
    let border = prop_oneof![Just(Border::Zero), Just(Border::Reflect)];
    prop_oneof![
        Just(OpParams::HorizontalFlip),
        Just(OpParams::VerticalFlip),
        Just(OpParams::Grayscale),
        any::<u8>().prop_map(|quarter_turns| OpParams::RightAngle { quarter_turns }),
        (any::<f32>(), any::<f32>()).prop_map(|(degrees, fill)| OpParams::Rotate { degrees, fill }),
        proptest::collection::vec(step, 0..5)
            .prop_map(|steps| OpParams::ColorJitter { steps: steps.into_iter().collect() }),
        proptest::collection::vec(any::<[f32; 2]>(), 0..20)
            .prop_map(|gains| OpParams::ChannelGain { channels: gains.into_iter().collect() }),
        (any::<f32>(), 0usize..60, border).prop_map(|(sigma, radius, border)| OpParams::Blur {
            sigma,
            radius,
            border
        }),
        any::<f32>().prop_map(|threshold| OpParams::Solarize { threshold }),
        any::<u32>().prop_map(|bits| OpParams::Posterize { bits }),
        (any::<f32>(), any::<u64>()).prop_map(|(sigma, seed)| OpParams::Noise { sigma, seed }),
        (area, any::<f32>()).prop_map(|(area, value)| OpParams::Erase { area, value }),
    ]
}

proptest! {
    /// A result or an error, never a panic, whatever stands in stored parameters.
    #[test]
    fn no_parameters_panic(
        ops in proptest::collection::vec(any_op(), 0..6), torchvision: bool, colour: bool,
        x in 0usize..40, y in 0usize..40, width in 0usize..50, height in 0usize..50, size in 1usize..40,
    ) {
        let shape = PixelShape { width: 33, height: 27, channels: if colour { 3 } else { 1 } };
        let data = pixels_of(shape, 1);
        let pixels = Pixels::new(&data, 33, 27, shape.channels).unwrap();
        let mut policy = TwoViewPolicy::preset("small").unwrap().with_size(size);
        policy.semantics = if torchvision { Semantics::Torchvision } else { Semantics::Paper };
        let policy = policy.resolve(shape.channels).unwrap().view;
        let params = ViewParams { source: shape, crop: CropBox { x, y, width, height }, ops };
        let mut view = vec![0.0; policy.output_len(shape.channels)];
        let inside = width > 0 && height > 0 && x + width <= 33 && y + height <= 27;
        let result = policy.apply(&params, pixels, &mut Workspace::default(), &mut view);
        prop_assert!(inside || result.is_err());
    }

    #[test]
    fn crops_lie_inside_and_views_replay(
        width in 1usize..40, height in 1usize..40, colour: bool, size in 1usize..48,
        seed: u64, epoch in 0u64..1000, sample: u64, view in 0u64..2,
    ) {
        let channels = if colour { 3 } else { 1 };
        let shape = PixelShape { width, height, channels };
        let data = pixels_of(shape, seed);
        let pixels = Pixels::new(&data, width, height, channels).unwrap();
        let mut policy = TwoViewPolicy::preset("byol").unwrap().with_size(size);
        policy.normalize.mean = vec![0.0];
        policy.normalize.std = vec![1.0];
        let resolved = policy.resolve(channels).unwrap();
        let policy = if view == 0 { resolved.view } else { resolved.view_prime };
        let params = policy.sample(ViewKey { seed, epoch, sample, view }, shape).unwrap();
        let crop = params.crop;
        prop_assert!(crop.width >= 1 && crop.height >= 1);
        prop_assert!(crop.x + crop.width <= width && crop.y + crop.height <= height);

        let mut first = vec![f32::NAN; policy.output_len(channels)];
        let mut workspace = Workspace::default();
        policy.apply(&params, pixels, &mut workspace, &mut first).unwrap();
        prop_assert!(first.iter().all(|x| (-1e-6..=1.000_001).contains(x)), "out of range");
        // Printed, read back, applied again with a used workspace.
        let text = serde_json::to_string(&params).unwrap();
        let replayed: ViewParams = serde_json::from_str(&text).unwrap();
        let mut second = vec![0.0; first.len()];
        policy.apply(&replayed, pixels, &mut workspace, &mut second).unwrap();
        prop_assert_eq!(first, second);
    }

    #[test]
    fn the_identity_policy_gives_the_picture(side in 1usize..40, seed: u64) {
        let shape = PixelShape { width: side, height: side, channels: 3 };
        let data = pixels_of(shape, seed);
        let mut policy = TwoViewPolicy::preset("byol").unwrap().with_size(side);
        policy.ops.clear();
        policy.prime.clear();
        policy.crop = CropPolicy { area: [1.0, 1.0], aspect: [1.0, 1.0], fit: CropFit::Clamp };
        policy.normalize.mean = vec![0.0];
        policy.normalize.std = vec![1.0];
        let policy = policy.resolve(3).unwrap().view;
        let params = policy.sample(ViewKey { seed, epoch: 0, sample: 0, view: 0 }, shape).unwrap();
        let mut out = vec![0.0; policy.output_len(3)];
        let pixels = Pixels::new(&data, side, side, 3).unwrap();
        policy.apply(&params, pixels, &mut Workspace::default(), &mut out).unwrap();
        for (i, byte) in data.iter().enumerate() {
            let value = out[i % 3 * side * side + i / 3];
            prop_assert!((value - f32::from(*byte) / 255.0).abs() < 1e-6);
        }
    }

    #[test]
    fn removing_an_operation_changes_no_other_draw(seed: u64, sample: u64) {
        let shape = PixelShape { width: 30, height: 20, channels: 3 };
        let key = ViewKey { seed, epoch: 0, sample, view: 1 };
        let whole = TwoViewPolicy::preset("byol").unwrap();
        let whole_params = whole.resolve(3).unwrap().view_prime.sample(key, shape).unwrap();
        for removed in 0..whole.ops.len() {
            let mut less = whole.clone();
            let kind = less.ops.remove(removed).kind();
            less.prime.retain(|op| op.kind() != kind);
            let params = less.resolve(3).unwrap().view_prime.sample(key, shape).unwrap();
            prop_assert_eq!(params.crop, whole_params.crop);
            prop_assert!(params.ops.iter().all(|op| whole_params.ops.contains(op)));
        }
    }
}
