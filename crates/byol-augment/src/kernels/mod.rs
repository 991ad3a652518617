//! One pipeline, compiled once for each instruction set.
//!
//! The operations are written once, over vectors of sixteen values, and this
//! module is the only place that knows instruction sets: `Portable` is the
//! reference, `Avx2` and `Avx512` are the same source with wider registers. Sums
//! have one order and roundings one place, so `Avx2` and `Avx512` give the same
//! bits.

#![allow(unsafe_code, reason = "calls across instruction sets, each guarded by detection; see SAFETY")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod buffer;
pub(crate) mod portable;

use serde::{Deserialize, Serialize};

pub(crate) use self::buffer::Buffer;
use self::portable::Portable;
use crate::apply::{Job, run};
use crate::ops::top;

/// Values of a vector.
pub(crate) const LANES: usize = 16;

/// Vectors of [`LANES`] values, and what else the inner loops need.
pub(crate) trait Isa {
    /// Sixteen values.
    type V: Copy;
    fn splat(x: f32) -> Self::V;
    fn load(from: &[f32; LANES]) -> Self::V;
    fn store(x: Self::V, to: &mut [f32; LANES]);
    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    fn div(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once.
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a where it is smaller, else b.
    fn min(a: Self::V, b: Self::V) -> Self::V;
    /// a where it is larger, else b.
    fn max(a: Self::V, b: Self::V) -> Self::V;
    fn abs(x: Self::V) -> Self::V;
    fn floor(x: Self::V) -> Self::V;
    /// To the nearest whole number, ties to the even one.
    fn round(x: Self::V) -> Self::V;
    /// `x` where a >= b, else `y`.
    fn where_ge(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Rows become columns.
    fn transpose(rows: &[Self::V; LANES]) -> [Self::V; LANES];
    /// Sixteen bytes of sixteen rows, from `at` on, become sixteen columns.
    fn columns(rows: &ByteRows<'_>, at: usize, to: &mut [f32; LANES * LANES]);

    /// Into the range of values and to whole levels: see `ops`.
    #[inline(always)]
    fn finish<const TV: bool>(x: Self::V) -> Self::V {
        let x = Self::min(Self::max(x, Self::splat(0.0)), Self::splat(top::<TV>()));
        if TV { Self::round(x) } else { x }
    }
}

/// Sixteen rows of bytes of one length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByteRows<'a> {
    rows: [&'a [u8]; LANES],
    len: usize,
}

impl<'a> ByteRows<'a> {
    /// All rows cut to the length of the shortest.
    #[inline(always)]
    pub fn new(rows: [&'a [u8]; LANES]) -> Self {
        let len = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        Self { rows: rows.map(|row| &row[..len]), len }
    }

    /// Bytes of a row.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The rows.
    #[inline(always)]
    pub fn rows(&self) -> &[&'a [u8]; LANES] {
        &self.rows
    }
}

/// The instructions that make views. The two fast ones give the same bits. The
/// portable one differs, where it does, in the last place before rounding, so that
/// under torchvision's semantics a rare value is a level apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// What every processor of the target has: the reference.
    Portable,
    /// 256-bit vectors: AVX2 and FMA (x86-64 since 2013).
    Avx2,
    /// 512-bit vectors (AVX-512 F, BW, DQ and VL).
    Avx512,
}

impl Path {
    /// All paths, the slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|path| path.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// Runs a job on a path. A path that the processor lacks is replaced by the
/// portable one; [`Workspace`](crate::Workspace) makes no such path.
pub(crate) fn dispatch(path: Path, job: Job<'_>) {
    match path {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX2, as just asked.
        Path::Avx2 if path.is_available() => unsafe { avx2::run(job) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the AVX-512 subsets, as just asked.
        Path::Avx512 if path.is_available() => unsafe { avx512::run(job) },
        _ => run::<Portable>(job),
    }
}
