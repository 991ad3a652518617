//! Two views of a file that the `image` crate opens, written beside each other.
//!
//!     cargo run --release --package byol-augment --example image_crate -- PHOTO.jpg views.png

use byol_augment::{Pixels, TwoViewPolicy, ViewKey, Workspace};
use image::{Rgb, RgbImage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let photo = match words.next() {
        Some(path) => image::open(path)?.into_rgb8(),
        // Without a file: a picture that is made here.
        None => {
            RgbImage::from_fn(320, 240, |x, y| Rgb([(x % 256) as u8, (y % 256) as u8, (x * y % 251) as u8]))
        }
    };
    let out = words.next().unwrap_or_else(|| std::env::temp_dir().join("views.png").display().to_string());

    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let pixels = Pixels::new(photo.as_raw(), width, height, 3)?;
    let policy = TwoViewPolicy::preset("byol")?.resolve(3)?;
    let (size, mut workspace) = (policy.view.size, Workspace::default());
    let mut canvas = RgbImage::new(2 * size as u32, size as u32);
    for (i, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
        let key = ViewKey { seed: 0, epoch: 0, sample: 0, view: i as u64 };
        let params = policy.sample(key, pixels.shape())?;
        let mut values = vec![0.0; policy.output_len(3)];
        policy.apply(&params, pixels, &mut workspace, &mut values)?;
        for y in 0..size {
            for x in 0..size {
                let channel = |c: usize| {
                    let (mean, std) = policy.normalize.channel(c);
                    let value = values[(c * size + y) * size + x] * std + mean;
                    (value * 255.0).round().clamp(0.0, 255.0) as u8
                };
                canvas.put_pixel((i * size + x) as u32, y as u32, Rgb([channel(0), channel(1), channel(2)]));
            }
        }
    }
    canvas.save(&out)?;
    println!("{out}: view and view'");
    Ok(())
}
