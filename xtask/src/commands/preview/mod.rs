//! `preview`: what the encoder will see, to look at before training.

pub mod canvas;
mod strip;
mod words;

use std::io::Cursor;

use anyhow::{Context, Result};
use byol_augment::{
    CropBox, Omission, PixelShape, Pixels, ResolvedPolicy, TwoViewPolicy, ViewKey, ViewParams, ViewPolicy,
    Workspace,
};
use byol_data::{Decoded, ImageDataset, Limits, decode, write_atomic};
use byol_train::set_channels;
use image::{ImageFormat, RgbImage};
use serde_json::json;

use crate::cli::PreviewArgs;
use crate::compose::{Source, recipe};
use crate::out::check_out;

use self::canvas::Cell;

/// Writes a PNG: a row a picture, with original, view and view′, or one operation
/// over its range.
pub fn run(args: &PreviewArgs) -> Result<()> {
    let spec = recipe(&args.recipe, &[])?;
    let source = Source::from_flags(args.data.as_deref(), args.recipe.config.as_deref())?;
    check_out(&args.out, [&source])?;
    let set = source.open("train")?;
    let channels = set_channels(&set)?;
    let policy = match &args.policy {
        Some(name) => policy_of_that_name(name, spec.policy.size, channels)?,
        None => spec.policy,
    };
    let policy = policy.resolve(channels)?;
    for omission in &policy.omitted {
        crate::terminal::tell(&omission.to_string());
    }
    let rows = set.len().min(args.rows as usize);
    let mut workspace = Workspace::default();
    let mut cells = Vec::new();
    for row in 0..rows {
        let sample = set.sample(row)?;
        let picture = picture(&set, row, channels)?;
        let shape = PixelShape { width: picture.width, height: picture.height, channels };
        let caption = vec![format!("{}x{} {}", shape.width, shape.height, sample.path())];
        let mut line = vec![Cell { picture: canvas::from_pixels(&picture), lines: caption }];
        match &args.op {
            Some(name) => {
                for ops in strip::columns(name, &policy.view, channels)? {
                    let lines = ops.iter().map(|op| words::of_op(op, policy.view.semantics)).collect();
                    let params = ViewParams { source: shape, crop: whole(shape), ops };
                    line.push(Cell {
                        picture: shown(&policy.view, &params, &picture, &mut workspace)?,
                        lines,
                    });
                }
            }
            None => line.extend(views(&policy, spec.seed, sample.id, &picture, &mut workspace)?),
        }
        cells.push(line);
    }
    let mut png = Cursor::new(Vec::new());
    canvas::grid(&cells).write_to(&mut png, ImageFormat::Png).context("encoding the grid")?;
    write_atomic(&args.out, png.get_ref())?;
    report(args, rows, &policy.omitted);
    Ok(())
}

/// View and view′ of a picture in the first epoch.
fn views(
    policy: &ResolvedPolicy,
    seed: u64,
    sample: u64,
    picture: &Decoded,
    workspace: &mut Workspace,
) -> Result<Vec<Cell>> {
    let shape = PixelShape { width: picture.width, height: picture.height, channels: picture.channels };
    let mut cells = Vec::new();
    for (i, policy) in [&policy.view, &policy.view_prime].into_iter().enumerate() {
        let params = policy.sample(ViewKey { seed, epoch: 0, sample, view: i as u64 }, shape)?;
        let lines = words::of_view(&params, policy.semantics);
        cells.push(Cell { picture: shown(policy, &params, picture, workspace)?, lines });
    }
    Ok(cells)
}

/// The first pictures of a set with their views, as a PNG and its width and height.
pub fn views_png(
    set: &ImageDataset,
    policy: &ResolvedPolicy,
    seed: u64,
    channels: usize,
    rows: usize,
) -> Result<([u32; 2], Vec<u8>)> {
    let mut workspace = Workspace::default();
    let mut cells = Vec::new();
    for row in 0..set.len().min(rows) {
        let (sample, picture) = (set.sample(row)?, picture(set, row, channels)?);
        let original = Cell { picture: canvas::from_pixels(&picture), lines: vec![sample.path().to_owned()] };
        let views = views(policy, seed, sample.id, &picture, &mut workspace)?;
        cells.push(std::iter::once(original).chain(views).collect());
    }
    let grid = canvas::grid(&cells);
    let mut png = Cursor::new(Vec::new());
    grid.write_to(&mut png, ImageFormat::Png).context("encoding the grid")?;
    Ok(([grid.width(), grid.height()], png.into_inner()))
}

fn report(args: &PreviewArgs, rows: usize, omitted: &[Omission]) {
    let out = args.out.display();
    let rows_shown = if rows == 1 { "1 picture".into() } else { format!("{rows} pictures") };
    let line = match &args.op {
        _ if args.json => json!({ "out": args.out, "rows": rows, "omitted": omitted }).to_string(),
        Some(name) => format!("{out}: {rows_shown}; left to right: original, then {name} over its range"),
        None => format!("{out}: {rows_shown}; left to right: original, view, view'"),
    };
    crate::terminal::say(&line);
}

/// A policy that ships, for these pictures: its size as the recipe's, and one
/// normalisation for all channels where it was written for others.
fn policy_of_that_name(name: &str, size: usize, channels: usize) -> Result<TwoViewPolicy> {
    let mut policy = TwoViewPolicy::preset(name)?.with_size(size);
    if policy.normalize.mean.len() != channels {
        (policy.normalize.mean, policy.normalize.std) = (vec![0.5], vec![0.25]);
    }
    Ok(policy)
}

fn picture(set: &ImageDataset, row: usize, channels: usize) -> Result<Decoded> {
    let decoded = decode(set.sample(row)?.bytes(), channels, Limits::STANDARD);
    Ok(decoded.map_err(|e| set.picture_error(row, &e))?)
}

/// The largest central square.
fn whole(shape: PixelShape) -> CropBox {
    let side = shape.width.min(shape.height);
    CropBox { x: (shape.width - side) / 2, y: (shape.height - side) / 2, width: side, height: side }
}

fn shown(
    policy: &ViewPolicy,
    params: &ViewParams,
    picture: &Decoded,
    workspace: &mut Workspace,
) -> Result<RgbImage> {
    let pixels = Pixels::new(&picture.data, picture.width, picture.height, picture.channels)?;
    let mut values = vec![0.0; policy.output_len(picture.channels)];
    policy.apply(params, pixels, workspace, &mut values)?;
    Ok(canvas::from_view(&values, policy.size, picture.channels, &policy.normalize))
}
