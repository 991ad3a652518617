use std::io::Cursor;

use anyhow::{Context, Result};
use byol_augment::{Normalize, Pixels, ViewKey, ViewPolicy, Workspace};
use byol_data::{Decoded, Limits, decode, write_atomic};
use byol_train::set_channels;
use image::{ImageFormat, Rgb, RgbImage, imageops};
use serde_json::json;

use crate::cli::PreviewArgs;
use crate::compose::{Source, recipe};

/// Side of a picture in the grid.
const CELL: u32 = 112;
const GAP: u32 = 4;

/// Writes a PNG: a row a picture, with original, view and view′.
pub fn run(args: &PreviewArgs) -> Result<()> {
    let spec = recipe(&args.recipe, &[])?;
    let source = Source::from_flag(args.data.as_deref())?;
    let set = source.open("train")?;
    let channels = set_channels(&set)?;
    let policy = spec.policy.resolve(channels)?;
    for omission in &policy.omitted {
        crate::terminal::tell(&omission.to_string());
    }
    let rows = set.len().min(args.rows as usize);
    let mut grid =
        RgbImage::from_pixel(3 * (CELL + GAP) + GAP, rows as u32 * (CELL + GAP) + GAP, Rgb([32, 32, 32]));
    let mut workspace = Workspace::default();
    for row in 0..rows {
        let sample = set.sample(row);
        let picture =
            decode(sample.bytes, channels, Limits::STANDARD).map_err(|e| set.picture_error(row, &e))?;
        let pixels = Pixels::new(&picture.data, picture.width, picture.height, channels)?;
        let mut view = |policy: &ViewPolicy, view| -> Result<RgbImage> {
            let key = ViewKey { seed: spec.seed, epoch: 0, sample: sample.id, view };
            let params = policy.sample(key, pixels.shape())?;
            let mut values = vec![0.0; policy.output_len(channels)];
            policy.apply(&params, pixels, &mut workspace, &mut values)?;
            Ok(from_view(&values, policy.size, channels, &policy.normalize))
        };
        let cells = [from_pixels(&picture), view(&policy.view, 0)?, view(&policy.view_prime, 1)?];
        for (column, cell) in cells.iter().enumerate() {
            let scale = f64::from(CELL) / f64::from(cell.width().max(cell.height()));
            let side = |n: u32| ((f64::from(n) * scale) as u32).max(1);
            let filter = if scale > 1.0 { imageops::Nearest } else { imageops::Triangle };
            let shown = imageops::resize(cell, side(cell.width()), side(cell.height()), filter);
            let x = GAP + column as u32 * (CELL + GAP) + (CELL - shown.width()) / 2;
            let y = GAP + row as u32 * (CELL + GAP) + (CELL - shown.height()) / 2;
            imageops::overlay(&mut grid, &shown, x.into(), y.into());
        }
    }
    let mut png = Cursor::new(Vec::new());
    grid.write_to(&mut png, ImageFormat::Png).context("encoding the grid")?;
    write_atomic(&args.out, png.get_ref())?;
    if args.json {
        crate::terminal::say(&format!(
            "{}",
            json!({ "out": args.out, "rows": rows, "omitted": policy.omitted })
        ));
    } else {
        crate::terminal::say(&format!(
            "{}: {rows} pictures; left to right: original, view, view'",
            args.out.display()
        ));
    }
    Ok(())
}

fn from_pixels(picture: &Decoded) -> RgbImage {
    RgbImage::from_fn(picture.width as u32, picture.height as u32, |x, y| {
        let at = (y as usize * picture.width + x as usize) * picture.channels;
        let channel = |c: usize| picture.data[at + if picture.channels == 3 { c } else { 0 }];
        Rgb([channel(0), channel(1), channel(2)])
    })
}

fn from_view(values: &[f32], size: usize, channels: usize, normalize: &Normalize) -> RgbImage {
    RgbImage::from_fn(size as u32, size as u32, |x, y| {
        let channel = |c: usize| {
            let c = if channels == 3 { c } else { 0 };
            let (mean, std) = normalize.channel(c);
            let value = values[c * size * size + y as usize * size + x as usize];
            ((value * std + mean) * 255.0).round().clamp(0.0, 255.0) as u8
        };
        Rgb([channel(0), channel(1), channel(2)])
    })
}
