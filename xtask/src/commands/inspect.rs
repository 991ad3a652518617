//! `inspect`: what is in a set.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use byol_data::{Columns, ImageDataset, Limits, OpenOptions, Rules, Summary, decode_native, write_atomic};
use image::imageops::FilterType;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use super::preview::canvas;
use crate::cli::InspectArgs;
use crate::compose::{Source, set_threads};
use crate::terminal::{Progress, say, tell};

/// Pictures on a sheet, and in a row of it.
const ON_A_SHEET: usize = 48;
const IN_A_ROW: usize = 8;
/// Pixels of a picture on a sheet, and around it.
const THUMB: u32 = 96;
const GAP: u32 = 4;
/// Classes that get a sheet of their own.
const MAX_SHEETS: usize = 1000;
/// Lines of lists that people see.
const SHOWN: usize = 12;

/// Counts, sizes, moments, faults; and sheets.
pub fn run(args: &InspectArgs) -> Result<()> {
    set_threads(args.threads)?;
    let source = Source::from_flag(args.data.as_deref())?;
    let columns = Columns { image: args.image_column.clone(), label: args.label_column.clone() };
    let options = OpenOptions { columns, ..OpenOptions::default() };
    let names = match &args.split {
        Some(split) => vec![split.clone()],
        None => source.split_names()?,
    };
    let sets = names.iter().map(|split| source.open_with(split, &options)).collect::<Result<Vec<_>>>()?;
    let total: u64 = sets.iter().map(|set| set.len() as u64).sum();
    let bar = Progress::bar(total, "looking");
    let summary = Summary::of(&sets, Limits::STANDARD, |done| bar.set(done))?;
    bar.finish();
    let sheets = if args.no_sheets { Vec::new() } else { draw_sheets(&sets, &args.sheets)? };
    let made = source.ingest_report();
    if args.json {
        say(&to_json(&sets, &summary, &sheets, made.as_ref()).to_string());
    } else {
        to_people(&source.describe(), &sets, &summary, made.as_ref());
        if let Some(first) = sheets.first() {
            say(&format!("{} contact sheet(s): {} …", sheets.len(), first.display()));
        }
    }
    Ok(())
}

fn to_json(sets: &[ImageDataset], summary: &Summary, sheets: &[PathBuf], made: Option<&Value>) -> Value {
    let classes: Vec<Value> =
        summary.classes.iter().map(|(name, count)| json!({ "name": name, "count": count })).collect();
    let sizes: Vec<Value> = summary
        .sizes
        .iter()
        .map(|((width, height), count)| json!({ "width": width, "height": height, "count": count }))
        .collect();
    let splits: BTreeMap<&str, usize> = sets.iter().map(|set| (set.split(), set.len())).collect();
    json!({
        "samples": summary.samples,
        "splits": splits,
        "bytes": summary.bytes,
        "channels": summary.channels,
        "classes": classes,
        "unlabelled": summary.unlabelled,
        "mean": summary.mean,
        "std": summary.std,
        "sizes": sizes,
        "faults": summary.faults.len(),
        "fault_list": summary.faults,
        "duplicates": summary.duplicates,
        "duplicates_across_splits": summary.across,
        "in_memory": sets.iter().all(ImageDataset::in_memory),
        "fingerprints": sets.iter().map(|set| (set.split(), set.fingerprint())).collect::<BTreeMap<_, _>>(),
        "ingest": made,
        "sheets": sheets,
    })
}

fn to_people(name: &str, sets: &[ImageDataset], summary: &Summary, made: Option<&Value>) {
    let splits: Vec<String> = sets.iter().map(|set| format!("{} {}", set.split(), set.len())).collect();
    let each = summary.bytes as f64 / summary.samples.max(1) as f64 / 1e3;
    say(&format!("{name}: {} pictures ({}), {each:.1} kB each", summary.samples, splits.join(", ")));
    if let Some(((narrow, wide), (low, high))) = summary.extent() {
        say(&format!("sizes      {narrow} to {wide} wide, {low} to {high} high"));
        let most = summary.sizes.first().map_or(1, |(_, n)| *n);
        for ((width, height), n) in summary.sizes.iter().take(SHOWN) {
            say(&format!("  {:>11} {n:>8} {}", format!("{width}x{height}"), bar(*n, most)));
        }
        if summary.sizes.len() > SHOWN {
            say(&format!("  and {} other sizes", summary.sizes.len() - SHOWN));
        }
    }
    let moments: Vec<String> =
        summary.mean.iter().zip(&summary.std).map(|(mean, std)| format!("{mean:.4} ± {std:.4}")).collect();
    say(&format!("channels   {}: mean ± std {}", summary.channels, moments.join(", ")));
    match summary.classes.len() {
        0 => say("classes    none: the pictures have no labels"),
        n => {
            say(&format!("classes    {n}"));
            let most = summary.classes.iter().map(|(_, n)| *n).max().unwrap_or(1);
            for (name, n) in summary.classes.iter().take(SHOWN) {
                say(&format!("  {name:>20} {n:>8} {}", bar(*n, most)));
            }
            if n > SHOWN {
                say(&format!("  and {} other classes (--json has all)", n - SHOWN));
            }
        }
    }
    if summary.unlabelled > 0 && !summary.classes.is_empty() {
        say(&format!("unlabelled {}", summary.unlabelled));
    }
    say(&format!(
        "duplicates {} repeat another picture, {} of them in another split",
        summary.duplicates, summary.across
    ));
    say(&format!("faults     {} pictures cannot be decoded", summary.faults.len()));
    for fault in summary.faults.iter().take(SHOWN) {
        say(&format!("  {fault}"));
    }
    if let Some(n) = made.and_then(|made| made["faults"].as_u64()).filter(|&n| n > 0) {
        say(&format!("           and {n} files could not be read when the set was made: see its faults.csv"));
    }
    if summary.across > 0 {
        tell("warning: pictures stand in more than one split; scores on them are too good");
    }
}

fn bar(n: u64, most: u64) -> String {
    "█".repeat(((n * 30).div_ceil(most.max(1))) as usize)
}

/// A PNG for each class, `all.png` where there are none.
fn draw_sheets(sets: &[ImageDataset], folder: &Path) -> Result<Vec<PathBuf>> {
    let mut by_class: BTreeMap<(usize, String), Vec<(usize, usize)>> = BTreeMap::new();
    for (number, set) in sets.iter().enumerate() {
        for (index, label) in set.known_labels()?.into_iter().enumerate() {
            let label = label.and_then(|label| usize::try_from(label).ok());
            let name =
                label.map(|label| set.classes().get(label).cloned().unwrap_or_else(|| label.to_string()));
            let class = (label.unwrap_or(usize::MAX), name.unwrap_or_else(|| "unlabelled".into()));
            let places = by_class.entry(class).or_default();
            if places.len() < ON_A_SHEET {
                places.push((number, index));
            }
        }
    }
    let only_unlabelled = by_class.len() == 1 && by_class.keys().all(|(label, _)| *label == usize::MAX);
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let progress = Progress::bar(by_class.len().min(MAX_SHEETS) as u64, "drawing sheets");
    let mut written = Vec::new();
    for ((label, name), places) in by_class.into_iter().take(MAX_SHEETS) {
        let plain: String =
            name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
        let file = match () {
            () if only_unlabelled => "all.png".to_owned(),
            () if label == usize::MAX => "unlabelled.png".to_owned(),
            () => format!("{label:03}-{}.png", plain.chars().take(60).collect::<String>()),
        };
        let path = folder.join(file);
        let mut png = Cursor::new(Vec::new());
        sheet(sets, &places)?.write_to(&mut png, ImageFormat::Png).context("encoding a sheet")?;
        write_atomic(&path, png.get_ref())?;
        written.push(path);
        progress.advance(1);
    }
    progress.finish();
    Ok(written)
}

fn sheet(sets: &[ImageDataset], places: &[(usize, usize)]) -> Result<RgbImage> {
    let columns = places.len().min(IN_A_ROW) as u32;
    let rows = places.len().div_ceil(IN_A_ROW) as u32;
    let (width, height) = (columns * (THUMB + GAP) + GAP, rows * (THUMB + GAP) + GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    for (i, &(set, index)) in places.iter().enumerate() {
        let sample = sets[set].sample(index)?;
        // What cannot be decoded is a gap; it is told of as a fault.
        let Ok(picture) = decode_native(sample.bytes(), Rules::STANDARD, Limits::STANDARD) else { continue };
        let picture = canvas::from_pixels(&picture);
        let side = picture.width().max(picture.height());
        let scaled = |n: u32| (u64::from(n) * u64::from(THUMB) / u64::from(side)).max(1) as u32;
        let small = image::imageops::resize(
            &picture,
            scaled(picture.width()),
            scaled(picture.height()),
            if side > THUMB { FilterType::Triangle } else { FilterType::Nearest },
        );
        let (column, row) = (i as u32 % IN_A_ROW as u32, i as u32 / IN_A_ROW as u32);
        let x = GAP + column * (THUMB + GAP) + (THUMB - small.width()) / 2;
        let y = GAP + row * (THUMB + GAP) + (THUMB - small.height()) / 2;
        image::imageops::replace(&mut sheet, &small, x.into(), y.into());
    }
    Ok(sheet)
}
