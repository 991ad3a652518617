//! Every path against the portable one, pixel by pixel, and no allocation once
//! the largest view has been made.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use byol_augment::{
    Filter, Op, Path, PixelShape, Pixels, Semantics, TwoViewPolicy, ViewKey, ViewParams, ViewPolicy,
    Workspace,
};
use proptest::prelude::*;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what a thread asks for.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one passes everything on")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn picture(shape: PixelShape, seed: u64, smooth: bool) -> Vec<u8> {
    let PixelShape { width, height, channels } = shape;
    (0..width * height * channels)
        .map(|i| {
            let mixed = (i as u64 + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7];
            let ramp = ((i / channels % width) * 255 / width) as u8;
            if smooth { ramp / 2 + mixed / 8 } else { mixed }
        })
        .collect()
}

/// Everything that a policy can hold, each likely.
fn full_policy(semantics: Semantics, filter: Filter, antialias: bool, size: usize) -> TwoViewPolicy {
    let mut policy = TwoViewPolicy::preset("byol").unwrap().with_size(size);
    policy.semantics = semantics;
    policy.resample.filter = filter;
    policy.resample.antialias = antialias;
    (policy.normalize.mean, policy.normalize.std) = (vec![0.0], vec![1.0]);
    policy.ops.extend([
        Op::VerticalFlip { p: 0.5 },
        Op::RightAngle { p: 0.3 },
        Op::ChannelGain { p: 0.5, gain: 0.3, offset: 0.1 },
        Op::Rotate { p: 0.3, degrees: [-180.0, 180.0], fill: 0.2 },
        Op::Noise { p: 0.3, sigma: [0.0, 0.1] },
        Op::Erase { p: 0.3, area: [0.02, 0.33], aspect: [0.3, 3.3], value: 0.5 },
    ]);
    policy
}

fn view(policy: &ViewPolicy, params: &ViewParams, pixels: Pixels<'_>, path: Path) -> Vec<f32> {
    let mut out = vec![f32::NAN; policy.output_len(pixels.shape().channels)];
    policy.apply(params, pixels, &mut Workspace::with_path(path).unwrap(), &mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_path_gives_the_portable_view(
        width in prop_oneof![1usize..40, Just(97), Just(211)],
        height in prop_oneof![1usize..40, Just(101), Just(180)],
        channels in prop_oneof![Just(1usize), Just(2), Just(3), Just(4), Just(7)],
        size in prop_oneof![1usize..50, Just(64), Just(75), Just(96)],
        paper: bool, bilinear: bool, antialias: bool, smooth_picture: bool,
        seed: u64, sample: u64, second: bool,
    ) {
        let semantics = if paper { Semantics::Paper } else { Semantics::Torchvision };
        let filter = if bilinear { Filter::Bilinear } else { Filter::Bicubic };
        let shape = PixelShape { width, height, channels };
        let data = picture(shape, seed, smooth_picture);
        let pixels = Pixels::new(&data, width, height, channels).unwrap();
        let resolved = full_policy(semantics, filter, antialias, size).resolve(channels).unwrap();
        let policy = if second { resolved.view_prime } else { resolved.view };
        let key = ViewKey { seed, epoch: 0, sample, view: u64::from(second) };
        let params = policy.sample(key, shape).unwrap();
        let reference = view(&policy, &params, pixels, Path::Portable);
        prop_assert!(reference.iter().all(|x| (-1e-6..=1.000_001).contains(x)), "out of range");
        let mut fast: Vec<Vec<f32>> = Vec::new();
        for path in [Path::Avx2, Path::Avx512].into_iter().filter(|path| path.is_available()) {
            let got = view(&policy, &params, pixels, path);
            let different = got.iter().zip(&reference).filter(|(a, b)| (**a - **b).abs() > 1e-5).count();
            // A value on the border of two levels may fall to either side.
            let may = if paper { 0 } else { 1 + got.len() / 50 };
            prop_assert!(different <= may, "{path:?}: {different} of {} values", got.len());
            for (i, (a, b)) in got.iter().zip(&reference).enumerate() {
                prop_assert!((a - b).abs() <= 1.001 / 255.0, "{path:?} value {i}: {a} against {b}");
            }
            fast.push(got);
        }
        // The fast ones agree to the bit.
        prop_assert!(fast.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn nothing_is_allocated_in_the_steady_state() {
    for name in TwoViewPolicy::presets() {
        let mut policy = TwoViewPolicy::preset(name).unwrap().with_size(96);
        let channels = if policy.normalize.mean.len() == 3 { 3 } else { 5 };
        if name == "small" {
            policy = policy.with_size(32);
        }
        let shape = PixelShape { width: 130, height: 90, channels };
        let data = picture(shape, 1, true);
        let pixels = Pixels::new(&data, 130, 90, channels).unwrap();
        let policy = policy.resolve(channels).unwrap();
        let (mut workspace, mut params) = (Workspace::default(), ViewParams::default());
        let mut out = vec![0.0; policy.view.output_len(channels)];
        let mut views = |samples: std::ops::Range<u64>| {
            for sample in samples {
                for (i, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
                    let key = ViewKey { seed: 3, epoch: 0, sample, view: i as u64 };
                    policy.sample_into(key, shape, &mut params).unwrap();
                    policy.apply(&params, pixels, &mut workspace, &mut out).unwrap();
                }
            }
        };
        views(0..200); // the largest crop and blur among these set the size
        let before = ALLOCATIONS.with(Cell::get);
        views(0..200);
        assert_eq!(ALLOCATIONS.with(Cell::get), before, "{name}");
    }
}
