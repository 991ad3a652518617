//! Bits of a page.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, RgbImage, imageops};

/// Text that cannot be taken for markup.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Bytes as a source of an `<img>`.
pub fn data_uri(mime: &str, bytes: &[u8]) -> String {
    format!("data:{mime};base64,{}", STANDARD.encode(bytes))
}

/// A picture, no side longer than `side`, as an `<img>` source: PNG, since small pictures are
/// smallest in it.
pub fn thumbnail(picture: &RgbImage, side: u32) -> String {
    let mut png = Cursor::new(Vec::new());
    // Cannot fail: it is memory.
    let _ = DynamicImage::ImageRgb8(scaled(picture, side)).write_to(&mut png, ImageFormat::Png);
    data_uri("image/png", png.get_ref())
}

/// No side longer than `side`; smaller pictures stay as they are.
pub fn scaled(picture: &RgbImage, side: u32) -> RgbImage {
    let longest = picture.width().max(picture.height());
    if longest <= side {
        return picture.clone();
    }
    let of = |n: u32| (u64::from(n) * u64::from(side) / u64::from(longest)).max(1) as u32;
    imageops::resize(picture, of(picture.width()), of(picture.height()), imageops::Triangle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href=\"x\">'&'"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
    }
}
