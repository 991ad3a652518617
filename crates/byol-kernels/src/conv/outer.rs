//! Sums of products of every input channel with every result channel over some samples (pixels,
//! or tiles of a transform): what a weight gradient is made of.
//!
//! Samples are packed first, a cache line of input channels and a panel of result channels each
//! one sample after the other: read where they lie, those of wide layers would share a few
//! sets of the cache.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::Shared;
use super::tile::{Pixels, Sums, accumulating};
use super::window::tiles;
use crate::isa::{Isa, Kernel, Path, load, run, store};

/// Samples of a block: their lines of a few channels stay in a core's first-level cache.
pub(super) const SAMPLES: usize = 128;
/// Input channels that lie side by side: a line of the cache.
pub(super) const LINE: usize = 16;

/// Places in packed samples: channels `wide` side by side, then the next of `len` samples, then
/// the next channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    len: usize,
    wide: usize,
    /// `wide` as a power of two, for a division takes as long as some vectors do.
    shift: u32,
}

impl Packing {
    /// Of so many samples and a power of two of channels.
    pub fn new(len: usize, wide: usize) -> Self {
        debug_assert!(wide.is_power_of_two(), "{wide} channels side by side");
        Self { len, wide, shift: wide.trailing_zeros() }
    }

    /// All `channels` of a sample side by side.
    pub fn whole(channels: usize) -> Self {
        Self { len: 0, wide: channels, shift: usize::BITS - 1 }
    }

    /// Floats of `channels`.
    pub fn floats(self, channels: usize) -> usize {
        channels.next_multiple_of(self.wide) * self.len
    }

    /// Of a channel of a sample.
    #[inline(always)]
    pub fn at(self, sample: usize, channel: usize) -> usize {
        let nth = channel >> self.shift;
        (nth * self.len + sample) * self.wide + (channel - (nth << self.shift))
    }
}

/// Copies `c` channels of a sample.
///
/// # Safety
///
/// `from` is readable for `c` values, `to` writable as `packing` says.
#[inline(always)]
pub(super) unsafe fn pack<I: Isa>(from: *const f32, c: usize, to: *mut f32, packing: Packing, sample: usize) {
    let mut at = 0;
    while at < c {
        let n = (c - at).min(I::LANES);
        // SAFETY: at + n is at most c.
        unsafe { store::<I>(to.wrapping_add(packing.at(sample, at)), load::<I>(from.add(at), n), n) };
        at += n;
    }
}

/// Two samples in the place of one, as pairs of bf16 values.
///
/// # Safety
///
/// As [`pack`], of both.
#[inline(always)]
pub(super) unsafe fn pack_pairs<I: Isa>(
    [first, second]: [*const f32; 2],
    c: usize,
    to: *mut f32,
    packing: Packing,
    sample: usize,
) {
    let mut at = 0;
    while at < c {
        let n = (c - at).min(I::LANES);
        // SAFETY: at + n is at most c.
        unsafe {
            let pairs = I::pairs(load::<I>(first.add(at), n), load::<I>(second.add(at), n));
            store::<I>(to.wrapping_add(packing.at(sample, at)), pairs, n);
        }
        at += n;
    }
}

/// Packed samples and where their products are summed.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a> {
    /// Samples.
    pub len: usize,
    pub in_c: usize,
    pub out_c: usize,
    /// Result channels of a panel.
    pub width: usize,
    /// Panels that are wanted.
    pub panels: (usize, usize),
    /// Parts of a line of input channels, by size of the last: see [`parts`].
    pub parts: &'a [Vec<(usize, usize)>],
    pub pixels: *const f32,
    pub gradients: *const f32,
    /// `[panel][input channel][result channel of the panel]`, of all panels.
    pub to: *mut f32,
}

/// How lines of up to 1 to `LINE` channels are cut into tiles of at most `most`.
pub(super) fn parts(most: usize) -> Vec<Vec<(usize, usize)>> {
    (1..=LINE).map(|n| tiles(n, most)).collect()
}

impl Outer<'_> {
    /// Adds the products of all samples.
    ///
    /// # Safety
    ///
    /// Samples are readable and sums writable as the fields say.
    #[inline(always)]
    pub unsafe fn add<I: Isa, const C: usize>(self) {
        let Self { len, in_c, out_c, width, panels, parts, pixels, gradients, to } = self;
        let samples = Pixels { images: 1, ys: 1, xs: len, x: [0, 0, LINE], dy: [0, 0, width] };
        for panel in panels.0..panels.1 {
            let cols = (out_c - panel * width).min(width);
            let dy = gradients.wrapping_add(panel * len * width);
            for first in (0..in_c).step_by(LINE) {
                for &(k, size) in &parts[(in_c - first).min(LINE) - 1] {
                    let x = pixels.wrapping_add(first * len + k);
                    let to = to.wrapping_add((panel * in_c + first + k) * width);
                    let sums = Sums { x, dy, cols, to };
                    // SAFETY: passed on.
                    unsafe {
                        if cols == width {
                            (accumulating::<I, C, false>(size))(samples, sums);
                        } else {
                            (accumulating::<I, C, true>(size))(samples, sums);
                        }
                    }
                }
            }
        }
    }
}

/// How the sums of a weight gradient are shared out: `groups` of blocks, each with sums of its
/// own, and `splits` of the panels. By the shape alone, so that every path adds the same parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub groups: usize,
    pub splits: usize,
    panels: usize,
    panels_each: usize,
    blocks: usize,
}

/// Floats of partial sums at most.
const PARTIALS: usize = 4 << 20;
/// Result channels of the widest panel.
const WIDEST: usize = 32;
/// Tasks that it is cut into at least, where it can be.
const TASKS: usize = 32;

impl Shares {
    /// `sums` values of each pair of channels; each group is `apart` tasks anyway.
    pub fn new(sums: usize, [in_c, out_c]: [usize; 2], width: usize, blocks: usize, apart: usize) -> Self {
        let padded = sums * in_c * out_c.next_multiple_of(WIDEST);
        let groups = (PARTIALS / padded.max(1)).clamp(1, TASKS.min(blocks.max(1)));
        let panels = out_c.div_ceil(width);
        let panels_each = panels.div_ceil(TASKS.div_ceil(apart * groups)).max(1);
        Self { groups, splits: panels.div_ceil(panels_each), panels, panels_each, blocks }
    }

    /// Blocks of a group.
    pub fn blocks(&self, group: usize) -> Range<usize> {
        group * self.blocks / self.groups..(group + 1) * self.blocks / self.groups
    }

    /// Panels of a split: from, to.
    pub fn panels(&self, split: usize) -> (usize, usize) {
        (split * self.panels_each, ((split + 1) * self.panels_each).min(self.panels))
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls with `len` floats from the start of a cache line on, of any values.
pub(super) fn with_scratch<R>(len: usize, with: impl FnOnce(*mut f32) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len + LINE {
            scratch.resize(len + LINE, 0.0);
        }
        let from = scratch.as_mut_ptr();
        with(from.wrapping_add(from.align_offset(4 * LINE).min(LINE)))
    })
}

/// Sums of the groups, each of which a task clears before it adds to its own: memory that is
/// written where it is used.
pub(super) struct Partials {
    values: Vec<f32>,
    groups: usize,
    len: usize,
}

impl Partials {
    pub fn new(groups: usize, len: usize) -> Self {
        Self { values: Vec::with_capacity(groups * len), groups, len }
    }

    pub fn shared(&mut self) -> Shared {
        Shared(self.values.as_mut_ptr())
    }

    /// The groups' sums, added in their order.
    ///
    /// # Safety
    ///
    /// All of them were written.
    pub unsafe fn total(&mut self, path: Path) -> &[f32] {
        // SAFETY: as many were asked for, and written.
        unsafe { self.values.set_len(self.groups * self.len) };
        let (sum, rest) = self.values.split_at_mut(self.len);
        if !rest.is_empty() {
            sum.par_chunks_mut(SUMS).enumerate().for_each(|(i, sum)| {
                // SAFETY: the lengths are checked there.
                unsafe { run(path, Total { sum, rest, len: self.len, at: i * SUMS }) };
            });
        }
        sum
    }
}

/// Sums that are added by one task.
const SUMS: usize = 4096;

/// Some of the sums of the groups behind the first, `len` each, added to the first's.
struct Total<'a> {
    sum: &'a mut [f32],
    rest: &'a [f32],
    len: usize,
    at: usize,
}

impl Kernel for Total<'_> {
    /// Plain loops, which the compiler makes vectors of.
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        for part in self.rest.chunks_exact(self.len) {
            let part = &part[self.at..self.at + self.sum.len()];
            for i in 0..part.len() {
                self.sum[i] += part[i];
            }
        }
    }
}

/// Zeros in panels `from` to `to` of `len` values each.
///
/// # Safety
///
/// They are writable.
pub(super) unsafe fn clear(at: *mut f32, (from, to): (usize, usize), len: usize) {
    // SAFETY: passed on.
    unsafe { at.wrapping_add(from * len).write_bytes(0, (to - from) * len) };
}
