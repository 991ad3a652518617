//! α · a + β · b, value by value.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel, Path, load, run, store};

/// Values of a part.
const PART: usize = 32 * 1024;

/// α · a + β · b in the place of a; the product with β and the sum are rounded once.
pub(crate) fn weighted(path: Path, mut a: Vec<f32>, alpha: f32, b: &[f32], beta: f32) -> Vec<f32> {
    assert!(a.len() == b.len(), "sums of different lengths");
    let part = |a: &mut [f32], b: &[f32]| {
        // SAFETY: as long as each other.
        unsafe { run(path, Weighted { a, alpha, b, beta }) };
    };
    if a.len() <= PART {
        part(&mut a, b);
    } else {
        a.par_chunks_mut(PART).zip(b.par_chunks(PART)).for_each(|(a, b)| part(a, b));
    }
    a
}

struct Weighted<'a> {
    a: &'a mut [f32],
    alpha: f32,
    b: &'a [f32],
    beta: f32,
}

impl Kernel for Weighted<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self { a, alpha, b, beta } = self;
        let len = a.len().min(b.len());
        let (a, b) = (a.as_mut_ptr(), b.as_ptr());
        let mut at = 0;
        // SAFETY: at + n is at most the length of both.
        unsafe {
            let (alpha, beta, zero) = (I::splat(alpha), I::splat(beta), I::splat(0.0));
            while at < len {
                let n = (len - at).min(I::LANES);
                let scaled = I::mul_add(load::<I>(a.add(at), n), alpha, zero);
                store::<I>(a.add(at), I::mul_add(load::<I>(b.add(at), n), beta, scaled), n);
                at += n;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sums_are_their_definition(
            len in prop_oneof![0usize..70, PART - 3..PART + 70], alpha in -2f32..2.0, beta in -2f32..2.0,
        ) {
            let value = |i: usize, seed: usize| ((i * 7919 + seed) % 1009) as f32 / 500.0 - 1.0;
            let a: Vec<f32> = (0..len).map(|i| value(i, 3)).collect();
            let b: Vec<f32> = (0..len).map(|i| value(i, 5)).collect();
            let vectors = [Path::Avx2, Path::Avx512].into_iter().filter(|path| path.is_available());
            let mut bits: Option<Vec<f32>> = None;
            for path in std::iter::once(Path::Portable).chain(vectors) {
                let got = weighted(path, a.clone(), alpha, &b, beta);
                for i in 0..len {
                    let exact = f64::from(alpha) * f64::from(a[i]) + f64::from(beta) * f64::from(b[i]);
                    prop_assert!((f64::from(got[i]) - exact).abs() < 1e-6, "{}: {} and {exact}", i, got[i]);
                }
                if path != Path::Portable {
                    prop_assert_eq!(bits.get_or_insert_with(|| got.clone()), &got);
                }
            }
        }
    }
}
