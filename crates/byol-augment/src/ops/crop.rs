//! Crop and resize in one: separable, columns first as torchvision and Pillow,
//! a few rows at a time.
//!
//! Sixteen source rows are turned so that the same column of all sixteen lies
//! together, and are resampled side by side; they are turned back into a window of
//! rows, from which output rows are weighed together. Nothing is kept for the
//! whole picture, and rows that no output needs are never touched.

#![allow(
    clippy::needless_range_loop,
    reason = "plain loops over lanes and taps stay within the instruction set"
)]

use super::taps::Taps;
use super::{lanes, lanes_mut};
use crate::kernels::{Buffer, ByteRows, Isa, LANES};
use crate::{CropBox, Pixels, Resample};

/// Rows that the window holds beyond those that one output row needs.
const SPARE_ROWS: usize = 64;

/// What resampling keeps from view to view.
#[derive(Debug, Default)]
pub(crate) struct CropBuffers {
    taps_x: Taps,
    taps_y: Taps,
    turned: Buffer,
    window: Buffer,
}

/// How a crop becomes a square view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CropTask<'a> {
    pub pixels: Pixels<'a>,
    pub crop: CropBox,
    pub resample: Resample,
    pub size: usize,
    pub mirror_x: bool,
    pub mirror_y: bool,
}

/// Gives the output rows in order.
///
/// The window of rows is kept as strips of sixteen columns, each strip's rows one
/// behind the other, so that what is weighed together lies together.
pub(crate) struct Resizer<'a> {
    task: CropTask<'a>,
    buffers: &'a mut CropBuffers,
    channels: usize,
    /// Strips of a channel.
    n_strips: usize,
    /// Values of a strip: its rows and a bit, lest strips share a place in the cache.
    strip_len: usize,
    /// Rows of a strip.
    capacity: usize,
    /// Source rows resampled so far, and which of them is the window's first.
    made: usize,
    origin: usize,
    /// The output row whose needs are being met, and the next source row.
    asking: usize,
    next: usize,
}

/// Calls a method with the number of taps as a constant where it is a usual one,
/// so that its loop over taps is unrolled; 0 stands for any number.
macro_rules! by_taps {
    ($n:expr, $self:ident.$method:ident::<$($generic:tt),*>($($argument:expr),*)) => {
        match $n {
            4 => $self.$method::<$($generic,)* 4>($($argument),*),
            5 => $self.$method::<$($generic,)* 5>($($argument),*),
            6 => $self.$method::<$($generic,)* 6>($($argument),*),
            7 => $self.$method::<$($generic,)* 7>($($argument),*),
            8 => $self.$method::<$($generic,)* 8>($($argument),*),
            _ => $self.$method::<$($generic,)* 0>($($argument),*),
        }
    };
}

impl<'a> Resizer<'a> {
    #[inline(always)]
    pub fn new<const TV: bool>(task: CropTask<'a>, buffers: &'a mut CropBuffers) -> Self {
        let CropTask { crop, size, resample, .. } = task;
        let gain = if TV { 1.0 } else { 1.0 / 255.0 };
        buffers.taps_x.fill(crop.width, size, resample, task.mirror_x, gain);
        buffers.taps_y.fill(crop.height, size, resample, false, 1.0);
        buffers.taps_y.number(size);
        let channels = task.pixels.shape().channels;
        let capacity = buffers.taps_y.n + SPARE_ROWS;
        let (n_strips, strip_len) = (size.div_ceil(LANES), (capacity + 1) * LANES);
        buffers.window.grow(channels * n_strips * strip_len);
        buffers.turned.grow(crop.width * channels * LANES);
        Self {
            task,
            buffers,
            channels,
            n_strips,
            strip_len,
            capacity,
            made: 0,
            origin: 0,
            asking: 0,
            next: 0,
        }
    }

    /// Output row `y` into the planes, `stride` values apart. Up to fifteen values
    /// behind the row are overwritten; rows come in order, so the next one mends it.
    #[inline(always)]
    pub fn row<I: Isa, const TV: bool>(&mut self, y: usize, planes: &mut [f32], stride: usize) {
        let (n, first) = (self.buffers.taps_y.n, self.buffers.taps_y.ordinals[y]);
        while self.made < first + n {
            self.make_rows::<I, TV>(first);
        }
        by_taps!(n, self.weigh_rows::<I, TV>(y, first - self.origin, planes, stride));
    }

    #[inline(always)]
    fn weigh_rows<I: Isa, const TV: bool, const N: usize>(
        &self,
        y: usize,
        at: usize,
        planes: &mut [f32],
        stride: usize,
    ) {
        let n = if N == 0 { self.buffers.taps_y.n } else { N };
        let weights = &self.buffers.taps_y.of(y)[..n];
        // A few weights stay in registers.
        let mut held = [I::splat(0.0); N];
        for t in 0..N {
            held[t] = I::splat(weights[t]);
        }
        let window = &self.buffers.window[..];
        for c in 0..self.channels {
            let out = &mut planes[c * stride + y * self.task.size..][..self.n_strips * LANES];
            for (g, out) in out.chunks_exact_mut(LANES).enumerate() {
                let from = (c * self.n_strips + g) * self.strip_len + at * LANES;
                let rows = &window[from..][..n * LANES];
                let mut sum = I::splat(0.0);
                for t in 0..n {
                    let weight = if N == 0 { I::splat(weights[t]) } else { held[t] };
                    sum = I::mul_add(weight, I::load(lanes(rows, t * LANES)), sum);
                }
                I::store(I::finish::<TV>(sum), lanes_mut(out, 0));
            }
        }
    }

    /// The next source row that some output row needs.
    #[inline(always)]
    fn next_needed(&mut self) -> Option<usize> {
        let taps = &self.buffers.taps_y;
        while self.asking < self.task.size {
            let start = taps.starts[self.asking];
            self.next = self.next.max(start);
            if self.next < start + taps.n {
                self.next += 1;
                return Some(self.next - 1);
            }
            self.asking += 1;
        }
        None
    }

    /// Resamples the next sixteen rows into the window, of which those before
    /// `first` are not needed any more.
    #[inline(always)]
    fn make_rows<I: Isa, const TV: bool>(&mut self, first: usize) {
        if self.made - self.origin + LANES > self.capacity {
            let kept = (first - self.origin) * LANES..(self.made - self.origin) * LANES;
            for strip in
                self.buffers.window.chunks_exact_mut(self.strip_len).take(self.channels * self.n_strips)
            {
                strip.copy_within(kept.clone(), 0);
            }
            self.origin = first;
        }
        let (shape, crop) = (self.task.pixels.shape(), self.task.crop);
        let len = crop.width * self.channels;
        let mut rows: [&[u8]; LANES] = [&[]; LANES];
        let mut count = 0;
        while count < LANES {
            let Some(y) = self.next_needed() else { break };
            let y = if self.task.mirror_y { crop.height - 1 - y } else { y };
            let start = ((crop.y + y) * shape.width + crop.x) * self.channels;
            rows[count] = &self.task.pixels.data()[start..start + len];
            count += 1;
        }
        for i in count..LANES {
            rows[i] = rows[count.saturating_sub(1)];
        }
        turn::<I>(&ByteRows::new(rows), &mut self.buffers.turned[..len * LANES]);
        let n = self.buffers.taps_x.n;
        match self.channels {
            1 => by_taps!(n, self.weigh_columns::<I, TV, 1>(0)),
            3 => by_taps!(n, self.weigh_columns::<I, TV, 3>(0)),
            channels => {
                for c in 0..channels {
                    self.weigh_columns::<I, TV, 1, 0>(c);
                }
            }
        }
        self.made += count.max(1); // 0 is not reached: needed rows are asked for only
    }

    /// `C` channels from `channel` of the turned rows into the window.
    #[inline(always)]
    fn weigh_columns<I: Isa, const TV: bool, const C: usize, const N: usize>(&mut self, channel: usize) {
        let n = if N == 0 { self.buffers.taps_x.n } else { N };
        // Channels between a column and the next: all of them are taken together, or
        // one by one.
        let channels = if N == 0 { self.channels } else { C };
        let CropBuffers { taps_x, turned, window, .. } = &mut *self.buffers;
        let (turned, window) = (&turned[..], &mut window[..]);
        let row = (self.made - self.origin) * LANES;
        for g in 0..self.n_strips {
            let mut sums = [[I::splat(0.0); LANES]; C];
            for k in 0..LANES {
                let x = g * LANES + k;
                let start = (taps_x.starts[x] * channels + channel) * LANES;
                // The last column of a window ends within its own C channels.
                let columns = &turned[start..][..((n - 1) * channels + C) * LANES];
                let weights = &taps_x.of(x)[..n];
                let mut sum = [I::splat(0.0); C];
                for t in 0..n {
                    let weight = I::splat(weights[t]);
                    for c in 0..C {
                        let column = lanes(columns, (t * channels + c) * LANES);
                        sum[c] = I::mul_add(weight, I::load(column), sum[c]);
                    }
                }
                for c in 0..C {
                    // torchvision rounds between the two axes.
                    sums[c][k] = if TV { I::finish::<TV>(sum[c]) } else { sum[c] };
                }
            }
            for c in 0..C {
                let at = ((channel + c) * self.n_strips + g) * self.strip_len + row;
                let to = &mut window[at..][..LANES * LANES];
                for (to, &values) in to.chunks_exact_mut(LANES).zip(&I::transpose(&sums[c])) {
                    I::store(values, lanes_mut(to, 0));
                }
            }
        }
    }
}

/// Column `j` of all rows to `turned[j · LANES ..]`.
#[inline(always)]
fn turn<I: Isa>(rows: &ByteRows<'_>, turned: &mut [f32]) {
    let len = rows.len();
    if len < LANES {
        for (j, column) in turned.chunks_exact_mut(LANES).enumerate() {
            for (value, row) in column.iter_mut().zip(rows.rows()) {
                *value = f32::from(row[j]);
            }
        }
        return;
    }
    let mut j = 0;
    loop {
        if let Some(to) = turned[j * LANES..].first_chunk_mut() {
            I::columns(rows, j, to); // always: j + 16 <= len
        }
        if j + LANES == len {
            return;
        }
        j = (j + LANES).min(len - LANES); // the last block overlaps the one before
    }
}
