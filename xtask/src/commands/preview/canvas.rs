//! Pictures with a few lines of text beneath, in a grid.

use byol_augment::Normalize;
use byol_data::Decoded;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};

/// Side of a picture in the grid.
pub const CELL: u32 = 168;
const GAP: u32 = 6;
const LINE: u32 = 10;
/// Characters that fit beneath a picture.
const COLUMNS: usize = CELL as usize / 8;
const BACK: Rgb<u8> = Rgb([28, 28, 30]);
const INK: Rgb<u8> = Rgb([205, 205, 210]);

/// A picture and what is written beneath it.
#[derive(Debug)]
pub struct Cell {
    pub picture: RgbImage,
    pub lines: Vec<String>,
}

/// Rows of cells, each row as high as its longest text.
pub fn grid(rows: &[Vec<Cell>]) -> RgbImage {
    let wrapped: Vec<Vec<Vec<String>>> =
        rows.iter().map(|row| row.iter().map(|cell| wrap(&cell.lines)).collect()).collect();
    let heights: Vec<u32> = wrapped
        .iter()
        .map(|row| CELL + 3 + LINE * row.iter().map(Vec::len).max().unwrap_or(0) as u32)
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let height = GAP + heights.iter().map(|h| h + GAP).sum::<u32>();
    let mut canvas = RgbImage::from_pixel(GAP + columns * (CELL + GAP), height, BACK);
    let mut top = GAP;
    for ((row, texts), row_height) in rows.iter().zip(&wrapped).zip(&heights) {
        for (column, (cell, lines)) in row.iter().zip(texts).enumerate() {
            let left = GAP + column as u32 * (CELL + GAP);
            let shown = fit(&cell.picture);
            let (x, y) = (left + (CELL - shown.width()) / 2, top + (CELL - shown.height()) / 2);
            imageops::overlay(&mut canvas, &shown, x.into(), y.into());
            for (i, line) in lines.iter().enumerate() {
                write(&mut canvas, left, top + CELL + 3 + i as u32 * LINE, line);
            }
        }
        top += row_height + GAP;
    }
    canvas
}

/// As large as a cell: enlarged pixels stay visible.
fn fit(picture: &RgbImage) -> RgbImage {
    let scale = f64::from(CELL) / f64::from(picture.width().max(picture.height()));
    let side = |n: u32| ((f64::from(n) * scale) as u32).clamp(1, CELL);
    let filter = if scale > 1.0 { imageops::Nearest } else { imageops::Triangle };
    imageops::resize(picture, side(picture.width()), side(picture.height()), filter)
}

/// Lines no longer than a cell is wide, broken between words.
fn wrap(lines: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in lines {
        let mut current = String::new();
        for word in line.split(' ') {
            if !current.is_empty() && current.len() + 1 + word.len() > COLUMNS {
                out.push(current.chars().take(COLUMNS).collect());
                current.clear();
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        out.push(current.chars().take(COLUMNS).collect());
    }
    out
}

fn write(canvas: &mut RgbImage, left: u32, top: u32, line: &str) {
    for (i, letter) in line.chars().enumerate() {
        let Some(rows) = BASIC_FONTS.get(letter) else { continue };
        for (y, bits) in rows.iter().enumerate() {
            for x in (0..8u32).filter(|x| bits >> x & 1 == 1) {
                let at = (left + 8 * i as u32 + x, top + y as u32);
                if at.0 < canvas.width() && at.1 < canvas.height() {
                    canvas.put_pixel(at.0, at.1, INK);
                }
            }
        }
    }
}

/// A decoded picture.
pub fn from_pixels(picture: &Decoded) -> RgbImage {
    RgbImage::from_fn(picture.width as u32, picture.height as u32, |x, y| {
        let at = (y as usize * picture.width + x as usize) * picture.channels;
        let channel = |c: usize| picture.data[at + if picture.channels >= 3 { c } else { 0 }];
        Rgb([channel(0), channel(1), channel(2)])
    })
}

/// A view, its normalisation undone.
pub fn from_view(values: &[f32], size: usize, channels: usize, normalize: &Normalize) -> RgbImage {
    RgbImage::from_fn(size as u32, size as u32, |x, y| {
        let channel = |c: usize| {
            let c = if channels >= 3 { c } else { 0 };
            let (mean, std) = normalize.channel(c);
            let value = values[c * size * size + y as usize * size + x as usize];
            ((value * std + mean) * 255.0).round().clamp(0.0, 255.0) as u8
        };
        Rgb([channel(0), channel(1), channel(2)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let lines = wrap(&["brightness +0.12 contrast 1.30".into(), "flip".into()]);
        assert_eq!(lines, ["brightness +0.12", "contrast 1.30", "flip"]);
        assert!(lines.iter().all(|line| line.len() <= COLUMNS));
    }

    #[test]
    fn letters_are_drawn() {
        let cell = |text: &str| Cell { picture: RgbImage::new(4, 4), lines: vec![text.into()] };
        let (blank, written) = (grid(&[vec![cell("")]]), grid(&[vec![cell("flip")]]));
        assert_eq!(blank.dimensions(), written.dimensions());
        assert!(written.pixels().filter(|p| **p == INK).count() > 30);
        assert_eq!(blank.pixels().filter(|p| **p == INK).count(), 0);
    }
}
