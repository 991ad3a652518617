use crate::{Border, Workspace};

/// Separable Gaussian of 2 · radius + 1 taps, weights exp(−d² / 2σ²) scaled to
/// sum to 1. Values stay in [0, 1].
pub(crate) fn gaussian_planes(
    view: &mut [f32],
    [width, height]: [usize; 2],
    radius: usize,
    sigma: f32,
    border: Border,
    workspace: &mut Workspace,
) {
    if radius == 0 {
        return; // one tap of weight 1
    }
    let Workspace { kernel, plane: scratch, rows: padded, .. } = workspace;
    fill_kernel(kernel, radius, sigma);
    scratch.clear();
    scratch.resize(width * height, 0.0);
    padded.clear();
    padded.resize(width + 2 * radius, 0.0);
    for plane in view.chunks_exact_mut(width * height) {
        for (row, out) in plane.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
            padded[radius..radius + width].copy_from_slice(row);
            for d in 1..=radius {
                let (left, right) = match border {
                    Border::Zero => (0.0, 0.0),
                    Border::Reflect => {
                        (row[reflect(-(d as isize), width)], row[reflect((width - 1 + d) as isize, width)])
                    }
                };
                padded[radius - d] = left;
                padded[radius + width - 1 + d] = right;
            }
            out.fill(0.0);
            for (tap, &weight) in kernel.iter().enumerate() {
                for (o, x) in out.iter_mut().zip(&padded[tap..tap + width]) {
                    *o += weight * x;
                }
            }
        }
        for (y, out) in plane.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for (tap, &weight) in kernel.iter().enumerate() {
                let from = y as isize + tap as isize - radius as isize;
                let inside = (0..height as isize).contains(&from);
                let from = match border {
                    Border::Zero if !inside => continue,
                    Border::Zero => from as usize,
                    Border::Reflect => reflect(from, height),
                };
                for (o, x) in out.iter_mut().zip(&scratch[from * width..(from + 1) * width]) {
                    *o += weight * x;
                }
            }
        }
    }
}

fn fill_kernel(kernel: &mut Vec<f32>, radius: usize, sigma: f32) {
    kernel.clear();
    let falloff = -0.5 / (f64::from(sigma) * f64::from(sigma));
    let weight = |d: usize| {
        let d = d as f64 - radius as f64;
        (falloff * d * d).exp()
    };
    let total: f64 = (0..=2 * radius).map(weight).sum();
    kernel.extend((0..=2 * radius).map(|d| (weight(d) / total) as f32));
}

/// Mirrors an index about the edge pixels until it falls inside.
fn reflect(index: isize, size: usize) -> usize {
    if size == 1 {
        return 0;
    }
    let period = 2 * (size as isize - 1);
    let folded = index.rem_euclid(period);
    folded.min(period - folded) as usize
}
