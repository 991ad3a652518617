//! Colour operations, as in DeepMind's `byol/utils/augmentations.py`; each clips
//! to [0, 1].

const LUMA: [f32; 3] = [0.2989, 0.5870, 0.1140];

fn clip(x: f32) -> f32 {
    x.clamp(0.0, 1.0)
}

/// x + delta.
pub(crate) fn brightness(view: &mut [f32], delta: f32) {
    for x in view {
        *x = clip(*x + delta);
    }
}

/// (x − mean) · factor + mean, the mean of each channel by itself.
pub(crate) fn contrast(view: &mut [f32], n_pixels: usize, factor: f32) {
    for plane in view.chunks_exact_mut(n_pixels) {
        let sum: f64 = plane.iter().map(|&x| f64::from(x)).sum();
        let mean = (sum / plane.len() as f64) as f32;
        for x in plane {
            *x = clip((*x - mean) * factor + mean);
        }
    }
}

/// Luma (ITU-R BT.601) in all three channels.
pub(crate) fn grayscale(view: &mut [f32], n_pixels: usize) {
    for_each_rgb(view, n_pixels, |rgb| {
        let luma = clip(rgb[0] * LUMA[0] + rgb[1] * LUMA[1] + rgb[2] * LUMA[2]);
        [luma; 3]
    });
}

/// HSV saturation · factor, at most 1.
pub(crate) fn saturation(view: &mut [f32], n_pixels: usize, factor: f32) {
    for_each_rgb(view, n_pixels, |rgb| {
        let [h, s, v] = hsv_from_rgb(rgb);
        rgb_from_hsv([h, clip(s * factor), v])
    });
}

/// HSV hue + delta, modulo 1.
pub(crate) fn hue(view: &mut [f32], n_pixels: usize, delta: f32) {
    for_each_rgb(view, n_pixels, |rgb| {
        let [h, s, v] = hsv_from_rgb(rgb);
        rgb_from_hsv([(h + delta).rem_euclid(1.0), s, v])
    });
}

fn for_each_rgb(view: &mut [f32], n_pixels: usize, f: impl Fn([f32; 3]) -> [f32; 3]) {
    debug_assert_eq!(view.len(), 3 * n_pixels, "sampling refuses colour operations otherwise");
    let (red, rest) = view.split_at_mut(n_pixels);
    let (green, blue) = rest.split_at_mut(n_pixels);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = f([*r, *g, *b]).map(clip);
    }
}

/// Hue in turns, saturation and value in [0, 1].
fn hsv_from_rgb([r, g, b]: [f32; 3]) -> [f32; 3] {
    let max = r.max(g).max(b);
    let range = max - r.min(g).min(b);
    if range <= 0.0 {
        return [0.0, 0.0, max];
    }
    let sixth = if max == r {
        (g - b) / range
    } else if max == g {
        (b - r) / range + 2.0
    } else {
        (r - g) / range + 4.0
    };
    [(sixth / 6.0).rem_euclid(1.0), range / max, max]
}

fn rgb_from_hsv([h, s, v]: [f32; 3]) -> [f32; 3] {
    let channel = |n: f32| {
        let k = (n + h * 6.0).rem_euclid(6.0);
        v - v * s * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}
