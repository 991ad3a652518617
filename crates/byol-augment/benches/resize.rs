//! Crop and resize against `fast_image_resize`, the fastest kept crate: the same
//! antialiased bicubic crops of a 500x375 photograph to 224. Ours gives normalised
//! `f32` planes; theirs 8-bit interleaved pixels, which would have to become that.

#![allow(missing_docs, reason = "the macros of criterion")]
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use byol_augment::{CropBox, PixelShape, Pixels, TwoViewPolicy, ViewKey, ViewParams, Workspace};
use criterion::{Criterion, criterion_group, criterion_main};
use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

fn resize(c: &mut Criterion) {
    for (channels, kind) in [(3, PixelType::U8x3), (1, PixelType::U8)] {
        let (width, height, size) = (500usize, 375usize, 224usize);
        let data: Vec<u8> = (0..width * height * channels).map(|i| (i * i % 251) as u8).collect();
        let mut policy = TwoViewPolicy::preset("byol-torchvision").unwrap();
        (policy.ops, policy.prime) = (vec![], vec![]);
        (policy.normalize.mean, policy.normalize.std) = (vec![0.5], vec![0.25]);
        let policy = policy.resolve(channels).unwrap().view;
        let shape = PixelShape { width, height, channels };
        let crops: Vec<CropBox> = (0..64)
            .map(|sample| policy.sample(ViewKey { seed: 0, epoch: 0, sample, view: 0 }, shape).unwrap().crop)
            .collect();
        let mut group = c.benchmark_group(format!("500x375x{channels} to {size}"));
        let mut i = 0;
        group.bench_function("ours", |b| {
            let pixels = Pixels::new(&data, width, height, channels).unwrap();
            let (mut workspace, mut view) = (Workspace::default(), vec![0.0; policy.output_len(channels)]);
            let mut params = ViewParams { source: shape, ..ViewParams::default() };
            b.iter(|| {
                i = (i + 1) % crops.len();
                params.crop = crops[i];
                policy.apply(&params, pixels, &mut workspace, &mut view).unwrap();
            });
        });
        group.bench_function("fast_image_resize", |b| {
            let source = ImageRef::new(width as u32, height as u32, &data, kind).unwrap();
            let mut out = Image::new(size as u32, size as u32, kind);
            let (mut resizer, options) = (
                Resizer::new(),
                ResizeOptions::new()
                    .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
                    .use_alpha(false),
            );
            b.iter(|| {
                i = (i + 1) % crops.len();
                let CropBox { x, y, width, height } = crops[i];
                let cropped =
                    CroppedImage::new(&source, x as u32, y as u32, width as u32, height as u32).unwrap();
                resizer.resize(&cropped, &mut out, &options).unwrap();
            });
        });
        group.finish();
    }
}

criterion_group!(benches, resize);
criterion_main!(benches);
