//! One source, compiled once for each instruction set.
//!
//! The kernels are written over vectors ([`Isa`]); this module is the only place that
//! knows instruction sets, and `run` the only one that chooses. Every sum has one order
//! and every product-and-sum one rounding, so AVX2 and AVX-512 give the same bits of f32.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod scalar;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::Precision;
use crate::conv::bf16;
#[cfg(doc)]
use crate::conv::tile;
use crate::conv::tile::{Pixels, Reads, Sums, Writes};

/// Vectors of `LANES` values. Nothing here is checked: the pointers of `load` and `store`
/// must be valid for `LANES` values, those of `load_some` and `store_some` for `n`.
pub(crate) trait Isa: Sized {
    type V: Copy;
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, x: Self::V);
    /// The first `n` values, 0 behind them.
    unsafe fn load_some(from: *const f32, n: usize) -> Self::V;
    unsafe fn store_some(to: *mut f32, x: Self::V, n: usize);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// a · b + c, rounded once (portable: twice).
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The same of what the tiles multiply: of pairs of bf16 values, both products are added.
    #[inline(always)]
    unsafe fn add_product(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: passed on.
        unsafe { Self::mul_add(a, b, c) }
    }
    /// The larger; `b` where one is no number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The larger; no number where one is none.
    unsafe fn max_or_none(a: Self::V, b: Self::V) -> Self::V;
    /// 0 where `a` is 0 or below, else `x` (where `a` is no number, too).
    unsafe fn where_positive(a: Self::V, x: Self::V) -> Self::V;

    /// Asks for the line of the cache at `at`, which may be anything, to be read soon.
    #[inline(always)]
    unsafe fn fetch(_at: *const f32) {}

    /// The nearest bf16 values, as f32 ones.
    #[inline(always)]
    unsafe fn rounded(a: Self::V) -> Self::V {
        // SAFETY: passed on.
        unsafe { scalar::rounded::<Self>(a) }
    }

    /// The nearest bf16 values of `a`, and behind them those of `b`: two in the place of one f32.
    #[inline(always)]
    unsafe fn halves(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: passed on.
        unsafe { scalar::halves::<Self>(a, b) }
    }

    /// The nearest bf16 values of `a` beside those of `b`: two in the place of one f32.
    #[inline(always)]
    unsafe fn pairs(a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: passed on.
        unsafe { scalar::pairs::<Self>(a, b) }
    }

    /// [`tile::correlate`] as a function of its own: among other tiles the compiler would
    /// not keep its sums in registers.
    unsafe fn correlate<const P: usize, const C: usize>(reads: Reads, weights: *const f32, writes: Writes);

    /// [`tile::accumulate`] as a function of its own.
    unsafe fn accumulate<const P: usize, const C: usize, const SOME: bool>(pixels: Pixels, sums: Sums);
}

/// The first `n` values of a vector, 0 behind them.
///
/// # Safety
///
/// `from` is valid for `n` values, at most a vector.
#[inline(always)]
pub(crate) unsafe fn load<I: Isa>(from: *const f32, n: usize) -> I::V {
    // SAFETY: passed on.
    unsafe { if n == I::LANES { I::load(from) } else { I::load_some(from, n) } }
}

/// Writes the first `n` values of a vector.
///
/// # Safety
///
/// `to` is valid for `n` values, at most a vector.
#[inline(always)]
pub(crate) unsafe fn store<I: Isa>(to: *mut f32, x: I::V, n: usize) {
    // SAFETY: passed on.
    unsafe { if n == I::LANES { I::store(to, x) } else { I::store_some(to, x, n) } }
}

/// Something to be run with some instruction set.
pub(crate) trait Kernel {
    /// # Safety
    ///
    /// The processor has the instructions of `I`, and what the kernel says of itself holds.
    unsafe fn run<I: Isa>(self);
}

/// The instructions that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// What every processor of the target has: the reference.
    Portable,
    /// 256-bit vectors: AVX2 and FMA.
    Avx2,
    /// 512-bit vectors: AVX-512 F and VL.
    Avx512,
    /// The same, and products of pairs of bf16 values: AVX-512 BF16. What is f32 is computed as
    /// with `Avx512`.
    Avx512Bf16,
}

impl Path {
    /// All paths, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// `portable`, `avx2`, `avx512` or `avx512_bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512_bf16",
        }
    }

    /// Whether this processor has it; with feature `portable`, it is taken to have no other.
    pub fn is_available(self) -> bool {
        if cfg!(feature = "portable") {
            return self == Self::Portable;
        }
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                std::arch::is_x86_feature_detected!("avx512bf16")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && Self::Avx512.is_available()
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The path in use: the fastest that this processor has, or what [`force`](Self::force) said.
    pub fn current() -> Self {
        match FORCED.load(Ordering::Relaxed) {
            0 => Self::ALL.into_iter().rev().find(|path| path.is_available()).unwrap_or(Self::Portable),
            n => Self::ALL[usize::from(n - 1).min(3)],
        }
    }

    /// Uses this path from now on, in the whole process; `None` goes back to the fastest.
    /// For tests and benches. A path that the processor lacks is not taken.
    pub fn force(path: Option<Self>) {
        let n = match path {
            Some(path) if path.is_available() => 1 + path as u8,
            _ => 0,
        };
        FORCED.store(n, Ordering::Relaxed);
    }

    /// Values of a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 8,
            Self::Avx512 | Self::Avx512Bf16 => 16,
        }
    }
}

/// What the tiles multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Factors {
    /// f32 values.
    Whole,
    /// The bf16 values next to them, as f32 ones: every product is exact.
    Rounded,
    /// Two bf16 values in the 32 bits of every factor ([`Isa::add_product`]).
    Pairs,
}

/// A path, and what is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub path: Path,
    pub factors: Factors,
}

impl From<Path> for Way {
    fn from(path: Path) -> Self {
        Self { path, factors: Factors::Whole }
    }
}

impl Way {
    /// How this path multiplies in a precision: bf16 values in pairs where it can.
    pub fn of(path: Path, precision: Precision) -> Self {
        let factors = match precision {
            Precision::F32 | Precision::F16 => Factors::Whole,
            Precision::Bf16 if path == Path::Avx512Bf16 => Factors::Pairs,
            Precision::Bf16 => Factors::Rounded,
        };
        Self { path, factors }
    }

    /// Values of a vector.
    pub fn lanes(self) -> usize {
        self.path.lanes()
    }

    pub fn is_pairs(self) -> bool {
        self.factors == Factors::Pairs
    }

    /// Values of so many factors.
    pub fn values(self, factors: usize) -> usize {
        if self.is_pairs() { 2 * factors } else { factors }
    }

    /// Values as the kernels for any shape take them.
    pub fn operands(self, values: &[f32]) -> Cow<'_, [f32]> {
        if self.factors == Factors::Rounded { bf16::rounded(values).into() } else { values.into() }
    }

    /// Factors of so many values.
    pub fn depth(self, values: usize) -> usize {
        if self.is_pairs() { values.div_ceil(2) } else { values }
    }
}

/// 0: the fastest; else 1 + the path.
static FORCED: AtomicU8 = AtomicU8::new(0);

/// Runs a kernel.
///
/// # Safety
///
/// What the kernel says of itself must hold, and the path be available.
pub(crate) unsafe fn run(way: impl Into<Way>, kernel: impl Kernel) {
    let Way { path, factors } = way.into();
    let pairs = factors == Factors::Pairs;
    // SAFETY: `path` is available, so the processor has the instructions.
    unsafe {
        match (path, pairs) {
            #[cfg(target_arch = "x86_64")]
            (Path::Avx512Bf16, true) => avx512::run_pairs(kernel),
            (_, true) => kernel.run::<portable::Portable<true>>(),
            (Path::Portable, false) => kernel.run::<portable::Portable<false>>(),
            #[cfg(target_arch = "x86_64")]
            (Path::Avx2, false) => avx2::run(kernel),
            #[cfg(target_arch = "x86_64")]
            (Path::Avx512 | Path::Avx512Bf16, false) => avx512::run(kernel),
            #[cfg(not(target_arch = "x86_64"))]
            (_, false) => kernel.run::<portable::Portable<false>>(),
        }
    }
}
