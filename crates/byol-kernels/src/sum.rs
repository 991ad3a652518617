//! What optimisers and averages do, value by value.

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

/// A step of descent with momentum, see [`crate::momentum_step`]: w and m in their places. The same bits
/// as three weighted sums.
pub(crate) fn momentum_step(
    path: Path,
    mut w: Vec<f32>,
    mut m: Vec<f32>,
    g: &[f32],
    [weight_decay, momentum, lr]: [f32; 3],
) -> (Vec<f32>, Vec<f32>) {
    assert!(w.len() == g.len() && m.len() == g.len(), "sums of different lengths");
    let part = |w: &mut [f32], m: &mut [f32], g: &[f32]| {
        // SAFETY: as long as each other.
        unsafe { run(path, Momentum { w, m, g, weight_decay, momentum, lr }) };
    };
    if w.len() <= PART {
        part(&mut w, &mut m, g);
    } else {
        let both = w.par_chunks_mut(PART).zip(m.par_chunks_mut(PART));
        both.zip(g.par_chunks(PART)).for_each(|((w, m), g)| part(w, m, g));
    }
    (w, m)
}

struct Momentum<'a> {
    w: &'a mut [f32],
    m: &'a mut [f32],
    g: &'a [f32],
    weight_decay: f32,
    momentum: f32,
    lr: f32,
}

impl Kernel for Momentum<'_> {
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let len = self.w.len().min(self.m.len()).min(self.g.len());
        let (w, m, g) = (self.w.as_mut_ptr(), self.m.as_mut_ptr(), self.g.as_ptr());
        let mut at = 0;
        // SAFETY: at + n is at most the length of all.
        unsafe {
            let (weight_decay, momentum, lr) =
                (I::splat(self.weight_decay), I::splat(self.momentum), I::splat(-self.lr));
            let (one, zero) = (I::splat(1.0), I::splat(0.0));
            while at < len {
                let n = (len - at).min(I::LANES);
                let before = load::<I>(w.add(at), n);
                let mut d = load::<I>(g.add(at), n);
                if self.weight_decay != 0.0 {
                    d = I::mul_add(before, weight_decay, d);
                }
                let kept = I::mul_add(load::<I>(m.add(at), n), momentum, zero);
                let after = I::mul_add(d, one, kept);
                store::<I>(m.add(at), after, n);
                store::<I>(w.add(at), I::mul_add(after, lr, before), n);
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

        #[test]
        fn a_step_is_three_sums(
            len in prop_oneof![0usize..70, PART - 3..PART + 70],
            weight_decay in prop_oneof![Just(0f32), 0f32..0.1], momentum in 0f32..1.0, lr in 0f32..2.0,
        ) {
            let value = |i: usize, seed: usize| ((i * 7919 + seed) % 1009) as f32 / 500.0 - 1.0;
            let of = |seed| (0..len).map(|i| value(i, seed)).collect::<Vec<f32>>();
            let (mut w, m, g) = (of(3), of(5), of(7));
            if weight_decay == 0.0 && len > 0 {
                w[len / 2] = f32::INFINITY; // times 0 would be no number
            }
            for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
                let d = match weight_decay {
                    0.0 => g.clone(),
                    _ => weighted(path, g.clone(), 1.0, &w, weight_decay),
                };
                let next = weighted(path, m.clone(), momentum, &d, 1.0);
                let expected = weighted(path, w.clone(), 1.0, &next, -lr);
                let got = momentum_step(path, w.clone(), m.clone(), &g, [weight_decay, momentum, lr]);
                prop_assert_eq!(got, (expected, next));
            }
        }
    }
}
