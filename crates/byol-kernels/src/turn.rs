//! Planes of channels, as Burn has images, into pixels of channels, as the kernels read them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Pixels that one task turns.
const TASK: usize = 1024;
/// Channels and pixels that change places together: a line of the cache of each. They go through a copy,
/// for planes of a multiple of 4 KiB share one set of a core's first-level cache.
const SIDE: usize = 16;

/// Images of `c` planes of so many pixels, as pixels of `c` channels.
pub(crate) fn turned(planes: &[f32], c: usize, pixels: usize) -> Vec<f32> {
    let image = (c * pixels).max(1);
    assert!(planes.len().is_multiple_of(image), "images are shorter than their shape");
    let mut to = Vec::with_capacity(planes.len());
    let spare = &mut to.spare_capacity_mut()[..planes.len()];
    spare.par_chunks_mut(image).zip(planes.par_chunks(image)).for_each(|(to, planes)| {
        to.par_chunks_mut(c * TASK).enumerate().for_each(|(task, to)| {
            for (nth, to) in to.chunks_mut(c * SIDE).enumerate() {
                turn(&planes[task * TASK + nth * SIDE..], c, pixels, to);
            }
        });
    });
    // SAFETY: every pixel of every image was written.
    unsafe { to.set_len(planes.len()) };
    to
}

/// A few pixels, from the first of `planes` on.
fn turn(planes: &[f32], c: usize, pixels: usize, to: &mut [MaybeUninit<f32>]) {
    let n = to.len() / c;
    let mut square = [[0f32; SIDE]; SIDE];
    for first in (0..c).step_by(SIDE) {
        let channels = (c - first).min(SIDE);
        for (nth, line) in square[..channels].iter_mut().enumerate() {
            let plane = &planes[(first + nth) * pixels..][..n];
            match plane.first_chunk::<SIDE>() {
                Some(whole) => *line = *whole,
                None => line[..n].copy_from_slice(plane),
            }
        }
        for (pixel, to) in to.chunks_exact_mut(c).enumerate() {
            for (line, to) in square.iter().zip(&mut to[first..first + channels]) {
                to.write(line[pixel]);
            }
        }
    }
}
